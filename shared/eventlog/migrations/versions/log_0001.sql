-- The event log of one service. What each table promises stands in shared/eventlog/README.md.
create schema log;

-- One row. Its lock is the order of the log: whoever appends holds it until commit, so that positions are dense
-- and become visible in order. A sequence instead would show 42 before 41 has committed, and a reader that
-- remembers 42 would never see 41.
create table log.head (
    one boolean primary key default true check (one),
    position bigint not null default 0,
    chain bytea not null default decode(repeat('00', 32), 'hex'),
    fenced text  -- why nothing may be appended, while that is so
);
insert into log.head default values;

create table log.events (
    position bigint primary key,
    stream text collate "C" not null,
    version integer not null,
    id uuid not null,
    type text not null,
    schema smallint not null,
    time timestamptz not null,
    correlation_id text not null,
    causation_id text not null,
    actor text not null,
    tenant text not null,
    traceparent text not null,
    prevhash bytea not null,
    hash bytea not null,
    command_id text not null,  -- which command made it, where that is not the causation_id
    data json not null,  -- json, not jsonb: it keeps the bytes that were hashed and are published
    unique (stream, version)
);

-- The chain over all events, noted at the end of each batch: chain = sha256(previous chain, the event's hash). It shows
-- a cut tail. It does not depend on where batches end: a store that is restored from its topic, which does not tell,
-- comes to the very same chain, and the anchors outside fit it.
create table log.batches (
    last_position bigint primary key,
    chain bytea not null,
    time timestamptz not null default clock_timestamp()
);

-- Every command id with its first answer: events first + 1 .. first + count of the stream, or a refusal.
create table log.commands (
    id text collate "C" primary key,
    fingerprint bytea,  -- null: restored from the topic, which does not tell
    stream text not null,
    first integer not null,
    count integer not null,
    refusal json,
    time timestamptz not null
);

-- Unique names (an e-mail address): held by one stream at a time.
create table log.claims (
    key text collate "C" primary key,
    stream text collate "C" not null
);

-- Who may do a task that only one may do, and how far it got.
create table log.leases (
    name text primary key,
    owner text not null,
    token bigint not null,
    until timestamptz not null,
    position bigint not null default 0
);

-- How far each consumer got in each partition; moved in the transaction that applies the events.
create table log.checkpoints (
    consumer text not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    time timestamptz not null default clock_timestamp(),
    primary key (consumer, topic, partition)
);

-- The last version of each stream that a consumer has dealt with: what is at or below is a repeat.
create table log.seen (
    consumer text collate "C" not null,
    stream text collate "C" not null,
    version integer not null,
    primary key (consumer, stream)
);
create index on log.seen (stream);

-- What a consumer could not deal with, whole, with the reason. A stream with a parked event waits in line behind it.
create table log.parked (
    consumer text not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    stream text,
    version integer,
    reason text not null,
    detail text not null,
    holds_stream boolean not null,
    key bytea,
    headers jsonb not null,  -- [[name, base64 or null], ...]
    value bytea,
    time timestamptz not null default clock_timestamp(),
    primary key (consumer, topic, partition, "offset")
);
create index on log.parked (consumer, stream) where holds_stream;

-- Ends a statement that must not go on, with the reason.
create function log.refused(why text) returns text language plpgsql as $$
begin
    raise exception using message = why;
end $$;

-- What was parked, as it was, and what became of it by whose hand: nothing that was parked is ever thrown away.
create table log.settled (
    settled bigint generated always as identity primary key,
    consumer text not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    stream text,
    version integer,
    reason text not null,
    detail text not null,
    holds_stream boolean not null,
    key bytea,
    headers jsonb not null,
    value bytea,
    time timestamptz not null,
    outcome text not null,      -- applied, repeat, ignored, edited, dropped
    operation text not null,    -- the stream that says who did it and why, or the rebuild that folded it
    settled_at timestamptz not null default clock_timestamp()
);
create index on log.settled (consumer, topic, partition) where reason = 'unreadable' and stream is null;

-- How far ahead of real time an organisation's clock is: sandboxes alone have a row. `change` counts the changes.
create table log.clocks (
    organisation_id text collate "C" primary key,
    ahead_s bigint not null,
    change bigint not null unique
);

-- What is to be done at a time, in the time of the organisation `customer`.
create table log.timers (
    name text collate "C" not null,
    key text collate "C" not null,
    due timestamptz not null,
    customer text collate "C" not null,
    set_by text not null,           -- the event that set it
    correlation_id text not null,
    first_due timestamptz,          -- of one that could not be fired then, and was put off
    primary key (name, key)
);
create index on log.timers (due);
create index on log.timers (customer, due);

-- Rebuilds of projections: each makes its tables anew in a schema of its own, beside the live ones.
create table log.rebuilds (
    id bigint generated always as identity primary key,
    consumer text not null,
    schema text generated always as ('rebuild_' || id) stored,
    source text not null,                   -- store | kafka: where the service's own events come from
    workers integer not null,
    folds text not null,                    -- a digest of the folds' code: another code begins anew
    upto bigint not null,                   -- the store's last position when it began
    state text not null default 'folding',  -- folding | differs | switched | dropped
    tables jsonb,                           -- what the comparison said
    detail text not null default '',
    started timestamptz not null default clock_timestamp(),
    ended timestamptz
);
create unique index on log.rebuilds (consumer) where state in ('folding', 'differs');

-- Tables folded as of a position or a time that were kept, in a schema each.
create table log.scratches (
    schema text primary key,
    consumer text not null,
    folds text not null,
    position bigint,                        -- of the service's own store; null where none of its events count
    time timestamptz,
    covers jsonb not null,
    made timestamptz not null default clock_timestamp()
);

-- States of long streams, so that loading one need not fold all its events. Each can be thrown away at any time.
create table log.snapshots (
    stream text collate "C" primary key,
    version integer not null,
    hash bytea not null,                    -- of the event at that version
    tenant text not null,
    definition text not null,               -- a digest of the code that made the state
    state bytea not null,
    time timestamptz not null default clock_timestamp()
);
