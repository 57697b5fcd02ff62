-- batches: list the ends of batches in a range of positions, and the chains there.
select last_position, chain from log.batches where last_position > $1 and last_position <= $2 order by last_position;

-- continued: find the hash that each of these versions has to continue: that of the version before it, up to a position.
-- It is null if that one is not there. Where the version itself is there already, there is no row.
select s.stream, s.version, case when s.version = 1 then decode(repeat('00', 32), 'hex') else before.hash end as hash
from unnest($1::text[], $2::int[]) as s(stream, version)
left join lateral (
    select hash from log.events where stream = s.stream and version = s.version - 1 and position <= $3 limit 1
) as before on true
where not exists (select from log.events where stream = s.stream and version = s.version and position <= $3);

-- heads: find the last event of each of these streams, up to a position.
select s.stream, e.version, e.hash
from unnest($1::text[]) as s(stream), lateral (
    select version, hash from log.events where stream = s.stream and position <= $2 order by version desc limit 1
) as e;

-- commands: list the commands of a range of positions that the store does not have as they made its events. The events
-- of a command are in one batch; a store that was restored from its topic may have noted two batches there.
with made as (
    select coalesce(nullif(command_id, ''), causation_id) as id, stream, min(version) - 1 as first, count(*) as count,
        min(position) as position
    from log.events where position > $1 and position <= $2 group by 1, 2)
select m.position, m.id, m.stream, m.first, m.count,
    c.stream as kept_stream, c.first as kept_first, c.count as kept_count
from made m
left join lateral (select stream, first, count from log.commands where id = m.id limit 1) as c on true
where c.count is null
    or c.stream <> m.stream or m.first < c.first or m.first + m.count > c.first + c.count
    or (m.count <> c.count and c.count <> (
        select count(*) from log.events e
        where e.stream = c.stream and e.version > c.first and e.version <= c.first + c.count
            and coalesce(nullif(e.command_id, ''), e.causation_id) = m.id))
order by m.position;

-- at_positions: read what the topic's records are compared with, at these positions.
select position, hash, command_id from log.events where position = any($1::bigint[]);
