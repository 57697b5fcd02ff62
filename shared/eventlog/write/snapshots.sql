-- keep: write a stream's snapshot instead of an earlier one.
insert into engine.snapshots (stream, version, hash, tenant, definition, state, digest)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (stream) do update set version = excluded.version, hash = excluded.hash, tenant = excluded.tenant,
    definition = excluded.definition, state = excluded.state, digest = excluded.digest, time = clock_timestamp();

-- all: list every snapshot, for `verify`; without those at events up to a position, unless that is 0.
select s.stream, s.version, s.hash, s.tenant, s.definition, s.state, s.digest from engine.snapshots s
where $1::bigint = 0 or not exists (
    select from log.events e where e.stream = s.stream and e.version = s.version and e.position <= $1)
order by s.stream;
