create table pools (
    subscription_id text primary key,
    contract_id text not null,
    customer text not null,
    partner text not null,
    publisher text not null,
    product text not null,
    product_name text not null,
    seats integer not null,
    starts date not null,
    ends date not null,
    phase text not null,
    until date,
    update_csn text,
    event_id text not null,
    version integer not null
);
create index on pools (customer, subscription_id);
create index on pools (partner);
create index on pools (contract_id);

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

-- Who belongs to which organisation: a fact that never changes, so a copy of it is never wrong, only late. `event_id` is
-- that of the last word about the account.
create table people (
    account_id text primary key,
    organisation_id text not null,
    organisation_name text not null,
    closed boolean not null default false,
    event_id text not null
);

create table contracts (
    contract_id text primary key,
    customer text not null,
    publisher text not null,
    event_id text not null
);

-- The publishers' last word about each number. `version` is that of the organisation's stream in marketplace.
create table csns (
    organisation_id text not null,
    publisher text not null,
    csn text not null,
    valid boolean not null,
    version integer not null,
    primary key (organisation_id, publisher, csn)
);

create table credit_lots (
    contract_id text not null,
    grant_id text not null,
    account_id text,
    granted bigint not null,
    remaining bigint not null,
    expires_on date not null,
    primary key (contract_id, grant_id)
);

-- The ledger: what came (a positive amount) and went, a line for each grant that an event touched.
create table credit_entries (
    contract_id text not null,
    version integer not null,
    line integer not null,
    kind text not null,
    grant_id text not null,
    account_id text,
    amount bigint not null,
    reference text not null,
    purpose text not null,
    at timestamptz not null,
    event_id text not null,
    primary key (contract_id, version, line)
);
