-- between: read the events after a position ($2), up to another one ($3); of those of other types than these ($1) only
-- which they are.
select e.position, e.stream, e.version, e.time, f.id, f.type, f.schema, f.correlation_id, f.causation_id, f.actor,
    f.tenant, f.traceparent, f.prevhash, f.hash, f.data
from log.events e
left join lateral (
    select e.id::text, e.type, e.schema, e.correlation_id, e.causation_id, e.actor, e.tenant, e.traceparent, e.prevhash,
        e.hash, e.data::text
    where e.type = any($1::text[])
) as f on true
where e.position > $2 and e.position <= $3
order by e.position;

-- behind: read the events that a consumer ($2) has processed and a schema lacks; of those of other types than these ($1)
-- only which they are.
select e.position, e.stream, e.version, e.time, f.id, f.type, f.schema, f.correlation_id, f.causation_id, f.actor,
    f.tenant, f.traceparent, f.prevhash, f.hash, f.data
from engine.seen l
left join {schema}._seen s using (stream)
join log.events e on e.stream = l.stream and e.version > coalesce(s.version, 0) and e.version <= l.version
left join lateral (
    select e.id::text, e.type, e.schema, e.correlation_id, e.causation_id, e.actor, e.tenant, e.traceparent, e.prevhash,
        e.hash, e.data::text
    where e.type = any($1::text[])
) as f on true
where l.consumer = $2 and l.version > coalesce(s.version, 0)
order by e.position limit $3;
