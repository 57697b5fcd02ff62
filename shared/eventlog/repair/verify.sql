-- commands: list the commands that are not those that made the store's events.
with made as (
    select coalesce(nullif(command_id, ''), causation_id) as id, stream, min(version) - 1 as first,
        count(*) as count, min(position) as position
    from log.events group by 1, 2)
select m.position, coalesce(m.id, c.id) as id, coalesce(m.stream, c.stream) as stream, m.first, m.count,
    c.stream as kept_stream, c.first as kept_first, c.count as kept_count
from made m full join log.commands c on c.id = m.id
where c.id is null or case when m.id is null then c.count > 0
    else (m.stream, m.first, m.count) is distinct from (c.stream, c.first, c.count) end
order by m.position;

-- relayed: read how far a relay is.
select coalesce(max(position), 0) from engine.leases where name = $1;

-- head: read the last position, and the chain there.
select position, chain from log.head;

-- batches: list the ends of batches and the chains there.
select last_position, chain from log.batches order by last_position;
