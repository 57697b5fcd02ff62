create table pools (
    subscription_id text primary key,
    contract_id text not null,
    customer text not null,
    product text not null,
    product_name text not null,
    seats integer not null,
    starts date not null,
    ends date not null,
    event_id text not null,
    version integer not null
);
create index on pools (customer, subscription_id);

create table seats (
    subscription_id text not null,
    seat integer not null,
    account_id text not null,
    assigned_by text not null,
    assigned_at timestamptz not null,
    event_id text not null,
    primary key (subscription_id, seat),
    unique (subscription_id, account_id)
);
create index on seats (account_id);

-- Who belongs to which organisation: a fact that never changes, so a copy of it is never wrong, only late.
create table people (
    account_id text primary key,
    organisation_id text not null
);
