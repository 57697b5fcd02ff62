-- reached: read the last version of a stream that the consumer has processed, and its hash.
select version, hash from engine.seen where consumer = $1 and stream = $2;

-- reach: note that the consumer has processed this version.
insert into engine.seen as s (consumer, stream, version, hash, tenant) values ($1, $2, $3, $4, $5)
on conflict (consumer, stream) do update set version = excluded.version, hash = excluded.hash,
    tenant = coalesce(excluded.tenant, s.tenant);

-- known: note the hash and the record's digest of a version of another service's stream.
insert into engine.hashes (stream, version, hash, record) values ($1, $2, $3, $4) on conflict (stream, version) do nothing;
