-- A digest of the whole record (key, headers, value) by which the event was dealt with: the event's hash does not cover
-- its position, its command and headers of others. Null: noted before digests were kept; the hash alone is compared.
alter table engine.hashes add column record bytea;
