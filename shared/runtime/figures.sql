-- parked: count the records that consumers have parked, by reason, with the age of the oldest.
select consumer, reason, count(*)::int as records,
    extract(epoch from clock_timestamp() - min(time))::float8 as oldest_s
from engine.parked group by consumer, reason order by consumer, reason;

-- log: the log's head, whether it is fenced, the last published position, the number of events that are not published
-- yet with the age of the oldest, and the database's size.
select h.position as head, h.fenced is not null as fenced, coalesce(r.position, 0) as published,
    greatest(0, h.position - coalesce(r.position, 0))::bigint as events, coalesce((
        select extract(epoch from clock_timestamp() - min(b.time))::float8
        from log.batches b where b.last_position > coalesce(r.position, 0)
    ), 0)::float8 as seconds, pg_database_size(current_database()) as size_bytes
from log.head h left join engine.leases r on r.name = $1;

-- outcomes: count the outcomes of publishers' records that are not published yet, with the age of the oldest.
select count(*)::int as waiting, coalesce(extract(epoch from clock_timestamp() - min(time)), 0)::float8 as oldest_s
from engine.outcomes where not sent;

-- timers: count the timers that are due by the real clock, with how long the earliest has been so. Those that are due
-- only by a sandbox's moved clock are left out.
select count(*)::int as due, coalesce(extract(epoch from clock_timestamp() - min(due)), 0)::float8 as late_s
from engine.timers where due <= clock_timestamp();
