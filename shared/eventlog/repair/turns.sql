-- reached: the last version of a stream that the consumer has dealt with, and its hash.
select version, hash from engine.seen where consumer = $1 and stream = $2;

-- reach: notes that the consumer has dealt with this version.
insert into engine.seen as s (consumer, stream, version, hash, tenant) values ($1, $2, $3, $4, $5)
on conflict (consumer, stream) do update set version = excluded.version, hash = excluded.hash,
    tenant = coalesce(excluded.tenant, s.tenant);

-- known: notes which event of another service is this version of its stream.
insert into engine.hashes (stream, version, hash, record) values ($1, $2, $3, $4) on conflict (stream, version) do nothing;
