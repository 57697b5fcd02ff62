-- chosen: read the events between two positions that have one of the types $3, if it is not empty, and match the
-- parameters that are not null.
select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
    prevhash, hash, command_id, data::text
from log.events
where position between $1 and $2 and (cardinality($3::text[]) = 0 or type = any($3))
    and ($4::text is null or stream = $4) and ($5::text is null or tenant = $5)
    and ($6::timestamptz is null or time >= $6) and ($7::timestamptz is null or time <= $7)
order by position;
