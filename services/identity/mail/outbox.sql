-- enqueue: a mail that follows from an event, once; not to the same address again, nor from before a restore.
insert into outbox (event_id, kind, about, digest, address, state, reason)
select $1, $2, $3, $4, $5, case when m.muted then 'dropped' else 'waiting' end,
    case when m.muted then 'it follows from an event of before a restore, and may have been sent' else '' end
from (select $6::bigint <= coalesce((select max(until) from outbox_muted), 0) as muted) as m
where not exists (
    select from outbox o where o.about = $3 and o.kind = $2 and o.digest = $4 and not $7 and o.state <> 'dropped')
on conflict (event_id, kind) do nothing;

-- ask: a mail that somebody asked for, once for each `event_id`, while not too many of its kind wait.
insert into outbox (event_id, kind, about, digest, address)
select $1, $2, $3, $4, $5
where (select count(*) from outbox where kind = $2 and state = 'waiting') < $6
on conflict (event_id, kind) do nothing;

-- due: what is to be sent now, oldest first.
select id, event_id, kind, about, digest, address, tries, created_at, clock_timestamp() - created_at > $2 as stale
from outbox where state = 'waiting' and due <= clock_timestamp() order by due, id limit $1;

-- settle: sent, parked or dropped. The address of one that is sent or dropped is needed no more.
update outbox set state = $2, reason = $3, changed_at = clock_timestamp(), tries = tries + $4,
    address = case when $2 = 'parked' then address end
where id = $1 and state = 'waiting';

-- postpone: tried without success, to be tried again.
update outbox set tries = tries + 1, due = clock_timestamp() + $2, reason = $3, changed_at = clock_timestamp()
where id = $1 and state = 'waiting';

-- figures: for the metrics and the operator.
select count(*) filter (where state = 'waiting') as waiting, count(*) filter (where state = 'parked') as parked,
    coalesce(extract(epoch from clock_timestamp() - min(created_at) filter (where state = 'waiting')), 0)::float8
        as oldest_s
from outbox;

-- prune: what is settled for long is of no use.
delete from outbox where state in ('sent', 'dropped') and changed_at < clock_timestamp() - $1::interval;

-- mute: after a restore nothing of before is sent by itself.
insert into outbox_muted (until)
select e.position from (select coalesce(max(position), 0) as position from log.events) e
where not exists (select from outbox_muted m where m.until >= e.position);

-- mute_waiting: what a restored database believes to be unsent may have been sent.
update outbox set state = 'dropped', reason = 'it waited when the database was restored, and may have been sent',
    changed_at = clock_timestamp(), address = null
where state = 'waiting';

-- forget: of a person or an invitation.
delete from outbox where about = $1;

-- list: for the operator. Who it is for is in the log, under the person's key.
select id, event_id, kind, about, state, tries, due, created_at, changed_at, reason from outbox
where ($1::text is null or state = $1) and ($2::bigint[] is null or id = any($2)) order by id limit $3;

-- retry: from the beginning.
update outbox set state = 'waiting', tries = 0, due = clock_timestamp(), created_at = clock_timestamp(), reason = '',
    changed_at = clock_timestamp()
where id = any($1::bigint[]) and state in ('waiting', 'parked', 'dropped') returning id;

-- drop: never sent.
update outbox set state = 'dropped', reason = $2, changed_at = clock_timestamp(), address = null
where id = any($1::bigint[]) and state in ('waiting', 'parked') returning id;
