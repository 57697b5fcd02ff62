-- reached: of each of these streams ($1) and versions ($2): whether the tables have it, and the last version that the
-- service itself has written. The tables of an own stream are those of the projections $3, all of them; of another
-- service's stream, those that follow it.
select w.stream, w.version as wanted, own.version as written, case
    when own.version is null then coalesce(
        (select bool_and(s.version >= w.version) from engine.seen s where s.stream = w.stream), false)
    else (
        select count(*) = cardinality($3::text[]) from engine.seen s
        where s.stream = w.stream and s.version >= w.version and s.consumer = any($3)
    )
end as reached
from unnest($1::text[], $2::int[]) as w (stream, version)
left join lateral (select max(e.version) as version from log.events e where e.stream = w.stream) own on true;
