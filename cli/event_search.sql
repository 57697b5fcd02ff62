-- stream: read a stream's events.
select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
    prevhash, hash, command_id, data::text
from log.events where stream = $1 order by version;

-- head: read the position of the last event.
select position from log.head;

-- time: read the time of the event at a position.
select time from log.events where position = $1;

-- event: find an event by its id between two positions.
select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
    prevhash, hash, command_id, data::text
from log.events where position between $1 and $2 and id = $3;

-- caused_by: read the direct effects of an event, up to a position.
select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
    prevhash, hash, command_id, data::text
from log.events where position <= $1 and causation_id = $2 order by position limit $3;

-- related: read the events between two positions that belong to these correlations, have the id of one, or have this
-- cause.
select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
    prevhash, hash, command_id, data::text
from log.events
where position between $1 and $2 and (correlation_id = any($3) or id::text = any($3) or causation_id = $4)
order by position limit $5;
