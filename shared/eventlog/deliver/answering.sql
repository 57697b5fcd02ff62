-- topics: list the topics with records whose outcomes are not published yet.
with recursive found as (
    (select topic from engine.outcomes where not sent order by topic limit 1)
    union all
    select (select o.topic from engine.outcomes o where not o.sent and o.topic > f.topic order by o.topic limit 1)
    from found f where f.topic is not null
)
select topic from found where topic is not null;

-- unsent: read a topic's outcomes that are not published yet, in the order in which they were noted.
select n, source, id, type, topic, partition, "offset", status, rule, reason, remedy, because, events, time
from engine.outcomes where topic = $1 and not sent order by n limit $2;

-- sent: note that outcomes are published.
update engine.outcomes set sent = true where n = any($1::bigint[]);
