-- list: list how far consumers have processed their partitions, and how many records of each are parked.
select consumer, topic, partition, "offset", time, (
    select count(*) from engine.parked p
    where p.consumer = c.consumer and p.topic = c.topic and p.partition = c.partition
) as parked
from engine.checkpoints c where ($1::text is null or consumer = $1)
order by consumer, topic, partition;

-- lock: lock one checkpoint, so that the consumer's own transactions wait.
select "offset" from engine.checkpoints where consumer = $1 and topic = $2 and partition = $3 for update;

-- move: set the last offset that is processed.
update engine.checkpoints set "offset" = $4, time = clock_timestamp()
where consumer = $1 and topic = $2 and partition = $3;

-- hold: lock all of a consumer's checkpoints, so that none of its transactions comes between.
select 1 from engine.checkpoints where consumer = $1 order by topic, partition for update;

-- seen: read the last version of a stream that the consumer has processed.
select version, hash from engine.seen where consumer = $1 and stream = $2;

-- own: read the hash of a version of one of the service's own streams.
select hash from log.events where stream = $1 and version = $2;

-- see: set the last version of the stream that the consumer has processed. Without a hash the next event is accepted
-- without a comparison.
insert into engine.seen (consumer, stream, version, hash) values ($1, $2, $3, $4)
on conflict (consumer, stream) do update set version = excluded.version, hash = excluded.hash;

-- forget: delete the known hashes of the later versions of another service's stream, and count them.
with gone as (delete from engine.hashes where stream = $1 and version > $2 returning 1) select count(*) from gone;

-- restart: move a checkpoint back to the beginning of its partition.
update engine.checkpoints set "offset" = -1 where consumer = $1 and topic = $2 and partition = $3;

-- set_aside: give the parked records of a partition a partition number of their own below 0, because the replaced topic
-- has other records at their offsets.
update engine.parked set partition = (
    select least(min(partition), -1) - 1 from engine.parked where consumer = $1 and topic = $2
)
where consumer = $1 and topic = $2 and partition = $3 and partition >= 0;

-- skip: park a record that the consumer skips.
insert into engine.parked (consumer, topic, partition, "offset", reason, detail, holds_stream, key, headers, value)
values ($1, $2, $3, $4, 'skipped', $5, false, $6, $7::jsonb, $8) on conflict do nothing;

-- wait: limit the wait for others' locks.
set local lock_timeout = '20s';
