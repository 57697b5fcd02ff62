-- stand: where a consumer stands. Locks its checkpoints, so that a zombie's transaction waits and then finds them
-- moved. A partition is doubtful once it had a record that can't be read, even one that was given up: the version
-- that it hid never comes.
select topic, partition, "offset", exists (
    select from engine.parked p
    where p.consumer = c.consumer and p.topic = c.topic and p.partition = c.partition
    and p.reason in ('unreadable', 'unparsable')
) or exists (
    select from engine.settled s
    where s.consumer = c.consumer and s.topic = c.topic and s.partition = c.partition
    and s.reason in ('unreadable', 'unparsable') and s.stream is null
) as doubtful
from engine.checkpoints c
where consumer = $1 and (topic, partition) in (select * from unnest($2::text[], $3::int[]))
order by topic, partition
for update;

-- stand_unlocked: where a consumer stands, as `stand` tells, for whoever only looks.
select topic, partition, "offset", exists (
    select from engine.parked p
    where p.consumer = c.consumer and p.topic = c.topic and p.partition = c.partition
    and p.reason in ('unreadable', 'unparsable')
) or exists (
    select from engine.settled s
    where s.consumer = c.consumer and s.topic = c.topic and s.partition = c.partition
    and s.reason in ('unreadable', 'unparsable') and s.stream is null
) as doubtful
from engine.checkpoints c
where consumer = $1 and (topic, partition) in (select * from unnest($2::text[], $3::int[]))
order by topic, partition;

-- seen: the last version of each of these streams that the consumer has dealt with, whether the stream is held, and
-- whether its very next version is what is parked. A gap's later versions don't keep the missing one from coming.
select s.stream, v.version, v.hash, exists (
    select from engine.parked p where p.consumer = $1 and p.stream = s.stream and p.holds_stream
) as held, exists (
    select from engine.parked p
    where p.consumer = $1 and p.stream = s.stream and p.holds_stream and p.reason <> 'gap'
    and p.version <= coalesce(v.version, 0) + 1
) as blocked
from unnest($2::text[]) as s(stream)
left join engine.seen v on v.consumer = $1 and v.stream = s.stream;

-- stored: which of these versions the service's own log has.
select r.stream, r.version, e.hash, e.position, e.command_id, null::bytea as record
from unnest($1::text[], $2::int[]) as r(stream, version)
cross join lateral (
    select hash, position, command_id from log.events e where e.stream = r.stream and e.version = r.version limit 1
) as e;

-- known: which of these versions of other services' streams a consumer of this service has dealt with.
select r.stream, r.version, e.hash, null::bigint as position, null::text as command_id, e.record
from unnest($1::text[], $2::int[]) as r(stream, version)
cross join lateral (
    select hash, record from engine.hashes h where h.stream = r.stream and h.version = r.version limit 1
) as e;

-- head: how far the service's own log goes, and why nothing may be appended, if so.
select position, fenced from log.head;

-- advance: notes the versions and offsets that a batch has reached. The transaction doesn't wait for the disk: should
-- the server die in the next moment, effects and checkpoint are gone together, and the consumer sees that and goes
-- back.
with versions as (
    insert into engine.seen as s (consumer, stream, version, hash, tenant)
    select $1, * from unnest($2::text[], $3::int[], $4::bytea[], $5::text[])
    on conflict (consumer, stream) do update set version = excluded.version, hash = excluded.hash,
        tenant = coalesce(excluded.tenant, s.tenant)
), hashes as (
    insert into engine.hashes (stream, version, hash, record)
    select * from unnest($9::text[], $10::int[], $11::bytea[], $12::bytea[])
    on conflict (stream, version) do nothing
)
update engine.checkpoints c set "offset" = o."offset", time = clock_timestamp()
from unnest($6::text[], $7::int[], $8::bigint[]) as o(topic, partition, "offset")
where c.consumer = $1 and c.topic = o.topic and c.partition = o.partition
    and set_config('synchronous_commit', 'off', true) is not null;

-- assign: the checkpoints of partitions that a consumer was given, made where there are none.
with made as (
    insert into engine.checkpoints (consumer, topic, partition, "offset")
    select $1, t, p, -1 from unnest($2::text[], $3::int[]) as a(t, p)
    on conflict do nothing
    returning topic, partition, "offset"
)
select topic, partition, "offset" from made
union all
select c.topic, c.partition, c."offset" from engine.checkpoints c
join unnest($2::text[], $3::int[]) as a(t, p) on c.topic = a.t and c.partition = a.p
where c.consumer = $1;
