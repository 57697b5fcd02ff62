-- Reads what consumers judge a batch by, in one round trip: their progress in the partitions $2 to $4 and in the streams
-- $5 and $6; which of the versions $7 and $8 are in the service's own log; which of the versions $9 and $10 of other
-- services' streams a consumer of this service has processed; the end of the own log.
--
-- lock: 'none'; 'wait' to lock the checkpoints first, so that the transaction of a former member of the group waits and
-- then finds them moved; or 'skip' to lock those that no other transaction has locked, and leave the others out.
--
-- Answers rows of these kinds, and leaves out partitions without a checkpoint and versions that are not known:
--   partition  a consumer's last processed offset (position) in a partition (name, number), and whether a record that
--              could not be read is parked or was given up there (unreadable): the version in it never comes
--   stream     a consumer's last processed version (number) of a stream (name), or null, with its hash; whether a parked
--              record holds the stream (held), and whether its next version, or an earlier one, is parked (blocked):
--              versions that are parked after a gap do not block the missing one
--   own        an event of the own log: stream (name), version (number), hash, position, command's id (noted)
--   other      a version of another service's stream, its hash, and the digest of its record
--   head       the position of the own log's last event, and why the store is fenced (noted)
--
-- plpgsql and not one statement: the second statement has a snapshot of its own, taken after the checkpoints were locked.
-- A single statement would read streams as they were before it waited for the lock.
-- Plans are made once and not for each batch, which takes longer than the rest. So that a plan made while the tables were
-- empty does not read them whole for ever, sequential scans, hash joins and merge joins are off, and each row is looked
-- up by a subquery with a limit, which is never turned round or into a hash table (as `exists` is).
create function engine.facts(
    lock text, consumers text[], topics text[], partitions integer[], readers text[], streams text[],
    own_streams text[], own_versions integer[], other_streams text[], other_versions integer[]
) returns table (kind text, consumer text, name text, number integer, "position" bigint, hash bytea, noted text,
                 record bytea, unreadable boolean, held boolean, blocked boolean)
language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    locked bigint[];
begin
    if lock = 'wait' then
        perform from (select * from unnest(consumers, topics, partitions) order by 1, 2, 3) as a(consumer, topic, partition)
        cross join lateral (
            select from engine.checkpoints c
            where c.consumer = a.consumer and c.topic = a.topic and c.partition = a.partition limit 1
            for update
        ) as c;
    elsif lock = 'skip' then
        locked := array(
            select a.n from (
                select * from unnest(consumers, topics, partitions) with ordinality order by 1, 2, 3
            ) as a(consumer, topic, partition, n)
            cross join lateral (
                select from engine.checkpoints c
                where c.consumer = a.consumer and c.topic = a.topic and c.partition = a.partition limit 1
                for update skip locked
            ) as c
        );
    end if;

    return query
    select 'partition', c.consumer, c.topic, c.partition, c."offset", null::bytea, null::text, null::bytea,
        coalesce((
            select true from engine.parked p
            where p.consumer = c.consumer and p.topic = c.topic and p.partition = c.partition
            and p.reason in ('unreadable', 'unparsable') limit 1
        ), (
            select true from engine.settled s
            where s.consumer = c.consumer and s.topic = c.topic and s.partition = c.partition
            and s.reason in ('unreadable', 'unparsable') and s.stream is null limit 1
        ), false), null::boolean, null::boolean
    from unnest(consumers, topics, partitions) with ordinality as a(consumer, topic, partition, n)
    cross join lateral (
        select * from engine.checkpoints c
        where c.consumer = a.consumer and c.topic = a.topic and c.partition = a.partition limit 1
    ) as c
    where locked is null or a.n = any(locked)
    union all
    select 'stream', a.consumer, a.stream, v.version, null, v.hash, null, null, null,
        coalesce((
            select true from engine.parked p
            where p.consumer = a.consumer and p.stream = a.stream and p.holds_stream limit 1
        ), false),
        coalesce((
            select true from engine.parked p
            where p.consumer = a.consumer and p.stream = a.stream and p.holds_stream
            and p.version <= coalesce(v.version, 0) + 1 and p.reason <> 'gap' limit 1
        ), false)
    from unnest(readers, streams) as a(consumer, stream)
    left join lateral (
        select version, hash from engine.seen v where v.consumer = a.consumer and v.stream = a.stream limit 1
    ) as v on true
    union all
    select 'own', null, a.stream, a.version, e.position, e.hash, e.command_id, null, null, null, null
    from unnest(own_streams, own_versions) as a(stream, version)
    cross join lateral (
        select position, hash, command_id from log.events e where e.stream = a.stream and e.version = a.version limit 1
    ) as e
    union all
    select 'other', null, a.stream, a.version, null, h.hash, null, h.record, null, null, null
    from unnest(other_streams, other_versions) as a(stream, version)
    cross join lateral (
        select hash, record from engine.hashes h where h.stream = a.stream and h.version = a.version limit 1
    ) as h
    union all
    select 'head', null, null, null, h.position, null, h.fenced, null, null, null, null from log.head h where h.one;
end
$$;
