-- ends: read the head and, as of the same moment, the last event and the end of the last batch.
select position, chain, (select coalesce(max(position), 0) from log.events) as event,
    (select coalesce(max(last_position), 0) from log.batches) as batch
from log.head;

-- next_end: find the end of the first batch that reaches a position, before the last one.
select last_position, chain from log.batches where last_position >= $1 and last_position < $2
order by last_position limit 1;

-- chain_at: read the chain at a position where a batch ends.
select chain from log.batches where last_position = $1;

-- chains_at: read the chains at those of these positions where a batch ends.
select last_position, chain from log.batches where last_position = any($1::bigint[]);

-- outside: list events at positions that no log has.
select position, stream, version from log.events where position < 1 order by position;

-- unmade: list the commands that are recorded as having made events, though the first of these does not name them.
select c.id, null::bigint as position, null::text as stream, null::int as first, null::int as count,
    c.stream as kept_stream, c.first as kept_first, c.count as kept_count
from log.commands c
left join log.events e on e.stream = c.stream and e.version = c.first + 1
where c.count > 0 and coalesce(nullif(e.command_id, ''), e.causation_id) is distinct from c.id
order by c.id;
