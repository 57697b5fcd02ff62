-- note_commands: note which command made which events; extend a command that is there already.
insert into log.commands as c (id, fingerprint, stream, first, count, time)
select id, null, stream, first, count, time
from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::timestamptz[]) as n(id, stream, first, count, time)
on conflict (id) do update set count = c.count + excluded.count
where c.stream = excluded.stream and c.first + c.count = excluded.first;

-- lock_head: read the head, and keep others from appending until the transaction ends.
select position, chain from log.head for update;

-- note_batch: note the chain at the end of a batch.
insert into log.batches (last_position, chain) values ($1, $2);

-- move_head: set the head to the last event.
update log.head set position = $1, chain = $2;

-- streams: list the streams of a category after one, 500 at a time.
select stream from log.events where stream > $1 and starts_with(stream, $2) and version = 1
order by stream limit 500;

-- release_claims: delete the claims that are not among these.
delete from log.claims c
where not exists (select from unnest($1::text[], $2::text[]) as n(key, stream) where n.key = c.key
    and n.stream = c.stream)
returning 1;

-- add_claims: add those of these claims that are not there.
insert into log.claims (key, stream)
select * from unnest($1::text[], $2::text[])
on conflict do nothing
returning 1;
