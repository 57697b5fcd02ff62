-- outcomes: read the newest outcome of each of these records of publishers, or of another record of the same event.
select w.n, o.status, o.rule, o.reason, o.remedy, o.time
from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bigint[])
    with ordinality as w (source, id, topic, partition, "offset", n)
cross join lateral (
    select * from engine.outcomes e
    where (e.source = w.source and e.id = w.id)
        or (e.topic = w.topic and e.partition = w.partition and e."offset" = w."offset")
    order by e.n desc limit 1
) o;
