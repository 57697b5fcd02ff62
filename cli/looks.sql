-- service: where a service's log stands, how far its relay is, and what waits.
select h.position as head, r.position as relayed, r.owner, r.until > clock_timestamp() as led,
    extract(epoch from clock_timestamp() - (select time from log.events where position = r.position + 1))::float8
        as relay_behind_s,
    (select count(*) from log.parked) as parked,
    (select count(*) from log.timers) as timers,
    (select count(*) from log.timers t left join log.clocks c on c.organisation_id = t.customer
     where t.due <= clock_timestamp() + coalesce(c.ahead_s, 0) * interval '1 s') as due,
    pg_database_size(current_database()) as bytes
from log.head h left join log.leases r on r.name like 'relay:%';

-- checkpoints: how far each consumer is in each partition, and how many records it has parked.
select consumer, topic, partition, "offset", time,
    (select count(*) from log.parked p where p.consumer = c.consumer) as parked
from log.checkpoints c order by consumer, topic, partition;

-- timers: what is due when, soonest first, in the time of whom it is about.
select t.name, t.key, t.due, t.customer, t.set_by, t.correlation_id, coalesce(c.ahead_s, 0) as ahead_s,
    t.due - coalesce(c.ahead_s, 0) * interval '1 s' as due_real
from log.timers t left join log.clocks c on c.organisation_id = t.customer
where ($1::text is null or t.customer = $1) and ($2::text is null or t.name = $2 or t.name like $2 || ':%')
  and (not $3 or t.due <= clock_timestamp() + coalesce(c.ahead_s, 0) * interval '1 s')
order by due_real, t.name, t.key limit $4;

-- clocks: the organisations whose clock was moved.
select organisation_id, ahead_s from log.clocks order by organisation_id;
