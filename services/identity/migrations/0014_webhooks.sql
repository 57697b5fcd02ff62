-- Whose webhooks there are; what they are, each one's stream says.
create table webhooks (
    webhook_id text primary key,
    organisation_id text not null,
    account_id text not null,
    ended boolean not null default false
);
create index on webhooks (organisation_id, webhook_id);
create index on webhooks (webhook_id) where not ended;

-- Private: the secrets that events are signed with, sealed under the key of the account that registered the webhook. The
-- log says which rotation's secret signs.
create table webhook_secrets (
    webhook_id text not null,
    rotation integer not null,
    sealed text not null,
    primary key (webhook_id, rotation)
);

-- Private: up to where a webhook's events are queued, and how its address answers. It can't be rebuilt from events.
create table webhook_progress (
    webhook_id text primary key,
    position bigint not null,
    resumes integer not null,       -- how many of the stream's WebhookResumed are applied
    replays integer not null,       -- and of its WebhookReplayed
    failures integer not null default 0,
    paused_until timestamptz,       -- after answers that concern the whole address
    last_answer text not null default '',
    answered_at timestamptz,
    delivered_at timestamptz
);

-- Private: the events that wait for a webhook, as they are sent: personal fields are sealed.
create table webhook_queue (
    webhook_id text not null,
    position bigint not null,
    stream text not null,
    event_id text not null,
    body bytea not null,
    tries integer not null default 0,
    due timestamptz not null default clock_timestamp(),
    queued_at timestamptz not null default clock_timestamp(),
    failed_since timestamptz,
    primary key (webhook_id, position)
);
