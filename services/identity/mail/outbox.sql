-- enqueue: add the mail of an event, once. One to the same address is not added again, unless $7; one of an event from
-- before a restore is dropped.
insert into outbox (event_id, kind, about, digest, address, state, reason)
select $1, $2, $3, $4, $5, case when m.muted then 'dropped' else 'waiting' end,
    case when m.muted then 'it follows from an event of before a restore, and may have been sent' else '' end
from (select $6::bigint <= coalesce((select max(until) from outbox_muted), 0) as muted) as m
where not exists (
    select from outbox o where o.about = $3 and o.kind = $2 and o.digest = $4 and not $7 and o.state <> 'dropped')
on conflict (event_id, kind) do nothing;

-- ask: add a mail on request, once for each `event_id`, unless too many of its kind wait.
insert into outbox (event_id, kind, about, digest, address)
select $1, $2, $3, $4, $5
where (select count(*) from outbox where kind = $2 and state = 'waiting') < $6
on conflict (event_id, kind) do nothing;

-- due: list the mails that are due, the longest due first.
select id, event_id, kind, about, digest, address, tries, clock_timestamp() - created_at > $2 as stale
from outbox where state = 'waiting' and due <= clock_timestamp() order by due, id limit $1;

-- settle: set that a mail is sent, parked or dropped, and what became of its notification, if it is one. Only a parked
-- mail keeps its address.
with settled as (
    update outbox set state = $2, reason = $3, changed_at = clock_timestamp(), tries = tries + $4,
        address = case when $2 = 'parked' then address end
    where id = $1 and state = 'waiting'
    returning event_id, kind
)
update notifications set mail_reason = $3, mail_at = clock_timestamp(),
    mail = case $2 when 'sent' then 'sent' when 'parked' then 'bounced' else 'suppressed' end
from settled where settled.kind = 'notification' and notification_id = settled.event_id;

-- note_bounce: note that the address of an account can't be mailed to.
insert into bounced_addresses (account_id, digest, mail_id, reason) values ($1, $2, $3, $4)
on conflict (account_id) do update set
    digest = excluded.digest, mail_id = excluded.mail_id, reason = excluded.reason, bounced_at = clock_timestamp();

-- note_arrival: note that the address of an account can be mailed to.
delete from bounced_addresses where account_id = $1 and digest = $2;

-- postpone: set the next attempt of a mail after a failed one.
update outbox set tries = tries + 1, due = clock_timestamp() + $2, reason = $3, changed_at = clock_timestamp()
where id = $1 and state = 'waiting';

-- figures: count the mails, for metrics and the operator.
select count(*) filter (where state = 'waiting') as waiting, count(*) filter (where state = 'parked') as parked,
    coalesce(extract(epoch from clock_timestamp() - min(created_at) filter (where state = 'waiting')), 0)::float8
        as oldest_s
from outbox;

-- prune: delete mails that were sent or dropped long ago.
delete from outbox where state in ('sent', 'dropped') and changed_at < clock_timestamp() - $1::interval;

-- mute: set that mails of events up to the log's last position are dropped, after a restore.
insert into outbox_muted (until)
select e.position from (select coalesce(max(position), 0) as position from log.events) e
where not exists (select from outbox_muted m where m.until >= e.position);

-- mute_waiting: drop the waiting mails, which may have been sent before a restore.
update outbox set state = 'dropped', reason = 'it waited when the database was restored, and may have been sent',
    changed_at = clock_timestamp(), address = null
where state = 'waiting';

-- forget: delete the mails about a person or an invitation.
delete from outbox where about = $1;

-- list: list mails for the operator. Their addresses are in the log, under the persons' keys.
select id, event_id, kind, about, state, tries, due, created_at, changed_at, reason from outbox
where ($1::text is null or state = $1) and ($2::bigint[] is null or id = any($2)) order by id limit $3;

-- retry: send mails again, with all attempts.
with again as (
    update outbox set state = 'waiting', tries = 0, due = clock_timestamp(), created_at = clock_timestamp(),
        reason = '', changed_at = clock_timestamp()
    where id = any($1::bigint[]) and state in ('waiting', 'parked', 'dropped')
    returning id, event_id, kind
), waiting as (
    update notifications set mail = 'waiting', mail_reason = '', mail_at = clock_timestamp()
    from again where again.kind = 'notification' and notification_id = again.event_id
)
select id from again;

-- drop: drop mails, which are not sent.
with dropped as (
    update outbox set state = 'dropped', reason = $2, changed_at = clock_timestamp(), address = null
    where id = any($1::bigint[]) and state in ('waiting', 'parked')
    returning id, event_id, kind
), suppressed as (
    update notifications set mail = 'suppressed', mail_reason = $2, mail_at = clock_timestamp()
    from dropped where dropped.kind = 'notification' and notification_id = dropped.event_id
)
select id from dropped;
