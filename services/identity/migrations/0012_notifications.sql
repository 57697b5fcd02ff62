-- Notifications are mailed, too.
alter table outbox drop constraint outbox_kind_check;
alter table outbox add constraint outbox_kind_check
    check (kind in ('verify-address', 'invitation', 'prove-address', 'reset-password', 'notification'));

-- What events are about that name it by its id only: a subscription, a rollout or an update.
create table notification_subjects (
    subject_id text primary key,
    version integer not null,       -- of the subject's stream
    contract_id text not null,
    customer text not null,
    partner text not null,
    ordered_by text not null,
    purchaser text not null,
    product text not null,
    update_id text not null
);

-- Private: of which event each person was notified, and what became of the mail. A row has the facts of the text, with
-- ids for people and sealed texts, and no address. It can't be rebuilt from events, since whom an event was told to
-- depends on who held which role then.
create table notifications (
    notification_id text primary key,   -- derived from the event's id and the account's
    account_id text not null,
    event_id text not null,
    template text not null,
    kind text not null,
    facts jsonb not null,
    happened_at timestamptz not null,   -- by the clock of the person's organisation
    told_at timestamptz not null default clock_timestamp(),
    in_inbox boolean not null,
    read_at timestamptz,
    mail text not null check (mail in ('off', 'waiting', 'sent', 'bounced', 'suppressed')),
    mail_reason text not null default '',
    mail_at timestamptz
);
create index on notifications (account_id, told_at, notification_id) where in_inbox;
create index on notifications (account_id) where in_inbox and read_at is null;
create index on notifications (told_at, notification_id);

-- Private: addresses that mail servers refuse for good. Nothing is mailed to one until a mail is accepted again.
create table bounced_addresses (
    account_id text primary key,
    digest text not null,
    mail_id bigint not null,
    reason text not null,
    bounced_at timestamptz not null default clock_timestamp()
);

-- Private: until when events are not mailed, since the database was restored then.
create table notifications_muted (
    until timestamptz not null
);
