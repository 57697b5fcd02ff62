-- facts: lock checkpoints, and read what a batch is judged by. See `log_0012.sql` among the migrations.
select * from engine.facts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- facts_without_waiting: the same. From then on, the transaction waits for others' locks for less time than
-- `deadlock_timeout`.
select f.* from engine.facts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as f
cross join set_config('lock_timeout', '250ms', true);

-- advance: store the versions and offsets that consumers have reached in a batch. The transaction does not wait for the
-- disk. If the server crashes before it is written, the effects and the checkpoints are lost together, and the consumers
-- go back to the earlier checkpoints.
with versions as (
    insert into engine.seen as s (consumer, stream, version, hash, tenant)
    select * from unnest($1::text[], $2::text[], $3::int[], $4::bytea[], $5::text[])
    on conflict (consumer, stream) do update set version = excluded.version, hash = excluded.hash,
        tenant = coalesce(excluded.tenant, s.tenant)
), hashes as (
    insert into engine.hashes (stream, version, hash, record)
    select * from unnest($10::text[], $11::int[], $12::bytea[], $13::bytea[])
    on conflict (stream, version) do nothing
)
update engine.checkpoints c set "offset" = o."offset", time = clock_timestamp()
from unnest($6::text[], $7::text[], $8::int[], $9::bigint[]) as o(consumer, topic, partition, "offset")
where c.consumer = o.consumer and c.topic = o.topic and c.partition = o.partition
    and set_config('synchronous_commit', 'off', true) is not null;

-- assign: read the checkpoints of a consumer's partitions, and insert those that do not exist.
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

-- park: store records whole. The same record may be parked already, unchanged or edited. If another record is parked at
-- its offset, the statement fails.
insert into engine.parked as p (consumer, topic, partition, "offset", stream, version, reason, detail, holds_stream,
    key, headers, value)
select $1, r.topic, r.partition, r."offset", r.stream, r.version, r.reason, r.detail, r.holds_stream, r.key,
    r.headers::jsonb, r.value
from unnest(
    $2::text[], $3::int[], $4::bigint[], $5::text[], $6::int[], $7::text[], $8::text[], $9::boolean[], $10::bytea[],
    $11::text[], $12::bytea[]
) as r(topic, partition, "offset", stream, version, reason, detail, holds_stream, key, headers, value)
on conflict (consumer, topic, partition, "offset") do update set detail = case
    when (p.key, p.headers, p.value) is not distinct from (excluded.key, excluded.headers, excluded.value)
    or exists (
        select from engine.settled s
        where (s.consumer, s.topic, s.partition, s."offset") = (p.consumer, p.topic, p.partition, p."offset")
        and (s.key, s.headers, s.value) is not distinct from (excluded.key, excluded.headers, excluded.value)
    ) then p.detail
    else engine.refused(format(
        '%s has parked another record of %s at partition %s, offset %s. The topic seems to have been created again: '
        '`tenure restore topic` moves what was parked aside', p.consumer, p.topic, p.partition, p."offset"
    )) end;

-- claim: record the contents of these publishers' events, unless contents are recorded for their identities, and return
-- the recorded content of each. An identity is the digest of an event's source and id.
with asked as (
    select * from unnest($2::bytea[], $3::bytea[]) with ordinality as a(identity, content, n)
), new as (
    insert into engine.inbound (consumer, identity, content)
    select distinct on (identity) $1, identity, content from asked order by identity, n
    on conflict do nothing
    returning identity, content
)
select identity, content from new
union all
select i.identity, i.content from engine.inbound i where i.consumer = $1 and i.identity = any($2::bytea[])
and not exists (select from new n where n.identity = i.identity);

-- unclaim: delete the recorded contents of events that took no effect.
delete from engine.inbound i using unnest($2::bytea[], $3::bytea[]) as f(identity, content)
where i.consumer = $1 and i.identity = f.identity and i.content = f.content;

-- content: read the recorded content of an event.
select content from engine.inbound where consumer = $1 and identity = $2;

-- answer: note what became of publishers' records, each once.
insert into engine.outcomes (topic, partition, "offset", source, id, type, status, rule, reason, remedy, because, events)
select topic, partition, "offset", source, id, type, status, rule, reason, remedy, because::json, events::json
from unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::text[], $11::text[], $12::text[])
    as o(topic, partition, "offset", source, id, type, status, rule, reason, remedy, because, events)
on conflict (topic, partition, "offset", status) do nothing;
