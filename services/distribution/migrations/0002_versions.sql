alter table updates add column component text not null default '';
-- A key that orders versions; null until the table is folded anew, and nothing supersedes such an update.
alter table updates add column precedence text collate "C";
create index on updates (publisher, product, component, platform, kind, precedence) where withdrawn is null;
