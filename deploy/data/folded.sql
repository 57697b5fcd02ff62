-- dealt_with: the partitions of a topic that a consumer has not read up to these offsets yet.
select n.partition
from unnest($3::int[], $4::bigint[]) as n(partition, "offset")
left join engine.checkpoints c on c.consumer = $1 and c.topic = $2 and c.partition = n.partition
where coalesce(c."offset", -1) < n."offset";

-- behind: the streams of a category of which a projection has not folded all that the log has.
select e.stream
from log.events e
left join engine.seen s on s.consumer = $1 and s.stream = e.stream
where starts_with(e.stream, $2)
group by e.stream, s.version
having max(e.version) > coalesce(s.version, 0);
