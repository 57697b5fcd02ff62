-- list: list parked records, oldest first, of a consumer ($1), of a stream ($2) or by handles ($3) if given. Of the
-- records that hold a stream only the first is listed, with the number of those behind it; all of them with $4.
with parked as (
    select *,
        left(encode(sha256(convert_to(
            concat_ws(' ', consumer, topic, partition, "offset"), 'UTF8'
        )), 'hex'), 8) as handle,
        row_number() over line as place,
        count(*) over (partition by consumer, stream, holds_stream) as waiting
    from engine.parked
    where ($1::text is null or consumer = $1) and ($2::text is null or stream = $2)
    window line as (
        partition by consumer, stream, holds_stream order by version, partition >= 0, partition desc, "offset"
    )
)
select *, case when holds_stream then waiting - place else 0 end as behind
from parked
where ($3::text[] is null or handle = any($3)) and ($4 or $3 is not null or not holds_stream or place = 1)
order by time, consumer, topic, partition, "offset";

-- fence: block the consumer in this topic: its own transactions begin by locking the same rows.
select 1 from engine.checkpoints where consumer = $1 and topic = $2 order by partition for update;

-- line: lock the parked records that hold a stream, in its order. Of several that are the same event, the one that was
-- parked first comes first (see set_aside in checkpoints.sql), because it may have been edited.
select * from engine.parked where consumer = $1 and stream = $2 and holds_stream
order by version, partition >= 0, partition desc, "offset" limit $3 for update;

-- one: lock a single parked record.
select * from engine.parked where consumer = $1 and topic = $2 and partition = $3 and "offset" = $4 for update;

-- keep: copy a parked record as it is, with its outcome.
insert into engine.settled (consumer, topic, partition, "offset", stream, version, reason, detail, holds_stream, key,
                         headers, value, time, outcome, operation)
select consumer, topic, partition, "offset", stream, version, reason, detail, holds_stream, key, headers, value, time,
       $5, $6
from engine.parked where consumer = $1 and topic = $2 and partition = $3 and "offset" = $4
returning settled;

-- unpark: delete a parked record, once an identical copy is settled.
delete from engine.parked p where consumer = $1 and topic = $2 and partition = $3 and "offset" = $4 and exists (
    select from engine.settled s
    where s.settled = $5 and s.value is not distinct from p.value and s.headers = p.headers
)
returning 1;

-- note_failure: note why a record still can't be applied.
update engine.parked set reason = $5, detail = $6, holds_stream = $7
where consumer = $1 and topic = $2 and partition = $3 and "offset" = $4;

-- edit: replace a parked record's bytes.
update engine.parked set stream = $5, version = $6, reason = 'edited', edited = true, detail = $7, holds_stream = $8,
    headers = $9::jsonb, value = $10
where consumer = $1 and topic = $2 and partition = $3 and "offset" = $4;


-- waiting: count the parked records that hold a stream.
select count(*) from engine.parked where consumer = $1 and stream = $2 and holds_stream;

-- wait: limit the wait for others' locks.
set local lock_timeout = '20s';

-- wait_briefly: limit the wait for others' locks more, for a preview.
set local lock_timeout = '2s';

-- count: count what a consumer has parked.
select count(*) from engine.parked where consumer = $1;

-- copy: park a copy of a record, once.
insert into engine.parked (consumer, topic, partition, "offset", stream, version, reason, detail, holds_stream,
    key, headers, value)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb, $12)
on conflict do nothing;
