-- list: how far consumers have dealt with their partitions, and how many records of each are parked.
select consumer, topic, partition, "offset", time, (
    select count(*) from engine.parked p
    where p.consumer = c.consumer and p.topic = c.topic and p.partition = c.partition
) as parked
from engine.checkpoints c where ($1::text is null or consumer = $1)
order by consumer, topic, partition;

-- lock: one checkpoint; the consumer's own transactions wait.
select "offset" from engine.checkpoints where consumer = $1 and topic = $2 and partition = $3 for update;

-- move: the last offset that is dealt with.
update engine.checkpoints set "offset" = $4, time = clock_timestamp()
where consumer = $1 and topic = $2 and partition = $3;

-- hold: all of a consumer's checkpoints, so that none of its transactions comes between.
select 1 from engine.checkpoints where consumer = $1 order by topic, partition for update;

-- seen: the last version of a stream that the consumer has dealt with.
select version, hash from engine.seen where consumer = $1 and stream = $2;

-- own: the hash of a version of one of the service's own streams.
select hash from log.events where stream = $1 and version = $2;

-- see: from here on the consumer has dealt with this version of the stream, and with none after it. Without a hash
-- the next event is believed.
insert into engine.seen (consumer, stream, version, hash) values ($1, $2, $3, $4)
on conflict (consumer, stream) do update set version = excluded.version, hash = excluded.hash;

-- unknow: forgets which events of another service the later versions of a stream were.
with gone as (delete from engine.hashes where stream = $1 and version > $2 returning 1) select count(*) from gone;

-- skip: park a record that was passed over.
insert into engine.parked (consumer, topic, partition, "offset", reason, detail, holds_stream, key, headers, value)
values ($1, $2, $3, $4, 'skipped', $5, false, $6, $7::jsonb, $8) on conflict do nothing;

-- wait: wait for others' locks so long.
set local lock_timeout = '20s';
