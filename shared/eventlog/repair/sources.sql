-- between: read the events after a position ($2), up to another one ($3); data only of these types ($1).
select e.position, e.stream, e.version, e.id, e.type, e.schema, e.time, e.correlation_id, e.causation_id, e.actor,
    e.tenant, e.traceparent, e.prevhash, e.hash, case when e.type = any($1::text[]) then e.data::text end
from log.events e
where position > $2 and position <= $3
order by position;

-- behind: read the events that a consumer ($2) has processed and a schema lacks; data only of these types ($1).
select e.position, e.stream, e.version, e.id, e.type, e.schema, e.time, e.correlation_id, e.causation_id, e.actor,
    e.tenant, e.traceparent, e.prevhash, e.hash, case when e.type = any($1::text[]) then e.data::text end
from engine.seen l
left join {schema}._seen s using (stream)
join log.events e on e.stream = l.stream and e.version > coalesce(s.version, 0) and e.version <= l.version
where l.consumer = $2 and l.version > coalesce(s.version, 0)
order by e.position limit $3;
