-- keep: write a stream's snapshot instead of an earlier one.
insert into engine.snapshots (stream, version, hash, tenant, definition, state, digest)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (stream) do update set version = excluded.version, hash = excluded.hash, tenant = excluded.tenant,
    definition = excluded.definition, state = excluded.state, digest = excluded.digest, time = clock_timestamp();

-- all: list every snapshot, for `verify`.
select stream, version, hash, tenant, definition, state, digest from engine.snapshots order by stream;
