-- parked: count the records that consumers have parked, by reason, with the age of the oldest.
select consumer, reason, count(*)::int as records,
    extract(epoch from clock_timestamp() - min(time))::float8 as oldest_s
from engine.parked group by consumer, reason order by consumer, reason;

-- relay: count the events that are not published yet, with the age of the oldest.
select greatest(0, h.position - coalesce(r.position, 0))::bigint as events, coalesce((
    select extract(epoch from clock_timestamp() - min(b.time))::float8
    from log.batches b where b.last_position > coalesce(r.position, 0)
), 0)::float8 as seconds
from log.head h left join engine.leases r on r.name = $1;
