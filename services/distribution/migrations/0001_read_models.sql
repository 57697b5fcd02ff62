create table updates (
    publisher text not null,
    update_id text not null,
    product text not null,
    kind text not null,
    title text not null,
    version text not null,
    platform text not null,
    severity text not null,
    sha256 text not null,
    size_bytes bigint not null,
    location text not null,
    published_at timestamptz not null,
    event_id text not null,
    withdrawn text,  -- the publisher's reason, once it took the update back
    primary key (publisher, update_id)
);
create index on updates (product, event_id);

-- Which products a contract owns, by which subscription.
create table owned_products (
    contract_id text not null,
    subscription_id text primary key,
    customer text not null,
    product text not null,
    starts date not null,
    ends date not null,
    publisher text not null,
    in_term boolean not null,  -- false from the day that the term is over
    event_id text not null
);
create index on owned_products (contract_id, product);

-- The groups of a contract's fleet that somebody made, or set a policy for.
create table fleet_groups (
    contract_id text not null,
    group_id text not null,
    name text not null default 'default',
    cadence text not null default 'off',
    period text,
    days int not null default 0,
    critical_period text,
    critical_days int not null default 0,
    windows jsonb not null default '[]',
    policy_set_by text,
    primary key (contract_id, group_id)
);

-- Who is in another group than the default one.
create table fleet_members (
    contract_id text not null,
    account_id text not null,
    group_id text not null,
    primary key (contract_id, account_id)
);

-- What was decided last about an update for a group.
create table fleet_decisions (
    contract_id text not null,
    publisher text not null,
    update_id text not null,
    group_id text not null,
    decision text not null,
    starts_at timestamptz,
    reason text,
    rollout_id text,
    decided_by text not null,
    event_id text not null,
    primary key (contract_id, publisher, update_id, group_id)
);

create table rollouts (
    rollout_id text primary key,
    contract_id text not null,
    publisher text not null,
    update_id text not null,
    version text not null,
    groups text[] not null,
    phases jsonb not null,
    status text not null,  -- running, paused, completed, stopped
    completed boolean not null default false,
    phase int not null,  -- from 0; -1 before the first
    reason text,           -- of a pause or a stop
    started_by text not null,
    event_id text not null
);
create index on rollouts (contract_id, event_id);

create table rollout_targets (
    rollout_id text not null,
    account_id text not null,
    group_id text not null,
    phase int not null,
    removed text,  -- why, once the user is no target any more
    primary key (rollout_id, account_id)
);
create index on rollout_targets (account_id);

-- What each machine of a user reported last.
create table rollout_installs (
    rollout_id text not null,
    account_id text not null,
    machine text not null,
    succeeded boolean not null,
    error text not null,
    at timestamptz not null,
    primary key (rollout_id, account_id, machine)
);

create table rollout_history (
    rollout_id text not null,
    version bigint not null,
    type text not null,
    at timestamptz not null,
    actor text not null,
    data jsonb not null,
    event_id text not null,
    primary key (rollout_id, version)
);
