-- note_subject: store what later events are about, unless a later version of its stream has been stored.
insert into notification_subjects
    (subject_id, version, contract_id, customer, partner, ordered_by, purchaser, product, update_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (subject_id) do update set
    version = excluded.version, contract_id = excluded.contract_id, customer = excluded.customer,
    partner = excluded.partner,
    ordered_by = coalesce(nullif(excluded.ordered_by, ''), notification_subjects.ordered_by),
    purchaser = excluded.purchaser, product = excluded.product, update_id = excluded.update_id
where notification_subjects.version <= excluded.version;

-- carry_over: copy into the tables of a rebuild ({new}) the subjects that reactions have noted already.
insert into {new}.notification_subjects
    (subject_id, version, contract_id, customer, partner, ordered_by, purchaser, product, update_id)
select subject_id, version, contract_id, customer, partner, ordered_by, purchaser, product, update_id
from public.notification_subjects on conflict do nothing;

-- subject: read what an event is about. The product of a rollout is the title of its update, if that is known.
select s.subject_id, s.contract_id, s.customer, s.partner, s.ordered_by, s.purchaser,
    coalesce(u.product, s.product) as product, s.update_id as update
from notification_subjects s
left join notification_subjects u on u.subject_id = s.update_id and s.update_id <> ''
where s.subject_id = $1;

-- managers_of_people: list who manages the people of an organisation.
select account_id from people where organisation_id = $1 and (founder or administrator) order by account_id;

-- somebody_of: find any account of an organisation.
select account_id from people where organisation_id = $1 order by account_id limit 1;

-- tell: store a notification, once, and enqueue its mail. Of an event from before a restore nothing is mailed.
with muted as (
    select $7::timestamptz <= (select max(until) from notifications_muted) as by_restore
), told as (
    insert into notifications (notification_id, account_id, event_id, template, kind, facts, happened_at, in_inbox,
        read_at, mail, mail_reason)
    select $1, $2, $3, $4, $5, $6::jsonb, $8, $9, case when $10 then clock_timestamp() end,
        case when $11 = 'waiting' and by_restore then 'suppressed' else $11 end,
        case when $11 = 'waiting' and by_restore then 'it follows from an event of before a restore' else $12 end
    from muted
    on conflict (notification_id) do nothing
    returning notification_id, account_id, mail
)
insert into outbox (event_id, kind, about, digest)
select notification_id, 'notification', account_id, '' from told where mail = 'waiting'
on conflict (event_id, kind) do nothing;

-- one: read a notification.
select notification_id, account_id, template, kind, facts, happened_at, told_at, read_at from notifications
where notification_id = $1;

-- inbox: list an account's ($6) notifications, unread ones only if $7, of a kind ($8) or "" for any.
select notification_id, account_id, template, kind, facts, happened_at, told_at, read_at from notifications
where account_id = $6 and in_inbox and (not $7::boolean or read_at is null) and $8 in ('', kind);

-- unread: count an account's unread notifications, up to $2.
select count(*) from (
    select from notifications where account_id = $1 and in_inbox and read_at is null limit $2
) as unread;

-- read_these: mark these notifications of an account as read.
update notifications set read_at = clock_timestamp()
where account_id = $1 and notification_id = any($2::text[]) and read_at is null;

-- read_until: mark an account's notifications up to this one as read.
update notifications set read_at = clock_timestamp()
where account_id = $1 and in_inbox and read_at is null
    and told_at <= (select told_at from notifications where account_id = $1 and notification_id = $2);

-- delivered: list notifications with what became of their mails ($6, null for any), of a kind ($7, "" for any) and an
-- account ($8, null for any).
select notification_id, account_id, event_id, kind, happened_at, told_at, in_inbox, mail, mail_reason, mail_at
from notifications
where ($6::text is null or mail = $6) and $7 in ('', kind)
    and ($8::text is null or account_id = $8);

-- delivered_last: list the last $3 notifications with what became of their mails ($1, null for any), of an account ($2),
-- null for any.
select notification_id, account_id, event_id, kind, told_at, in_inbox, mail, mail_reason, mail_at from notifications
where ($1::text is null or mail = $1) and ($2::text is null or account_id = $2)
order by told_at desc, notification_id limit $3;

-- delivered_figures: count the notifications by what became of their mails.
select mail, count(*) as number from notifications group by mail order by mail;

-- bounced: check whether an account's address ($2, its digest) has bounced, in another mail than this one ($3).
select reason from bounced_addresses where account_id = $1 and digest = $2 and mail_id <> $3;

-- mute: set that nothing of events up to now is mailed, after a restore.
insert into notifications_muted (until) values (clock_timestamp());

-- mute_waiting: note that what waited to be mailed when the database was restored is not mailed.
update notifications set mail = 'suppressed', mail_at = clock_timestamp(),
    mail_reason = 'it waited when the database was restored, and may have been sent'
where mail = 'waiting';

-- forget: delete what a person was told.
delete from notifications where account_id = $1;

-- forget_bounce: forget that a person's address bounced.
delete from bounced_addresses where account_id = $1;

-- prune: delete notifications that are older than they are kept.
delete from notifications where told_at < clock_timestamp() - $1::interval;
