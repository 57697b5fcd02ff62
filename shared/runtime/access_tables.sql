-- Who administers which contract, and its agreements: replicated from identity's events.
create table access_roles (
    contract_id text not null,
    account_id text not null,
    role text not null,
    may_assign_seats boolean not null,
    event_id text not null,
    revoked text,  -- the event that took the role; null while it is held
    primary key (contract_id, account_id, role)
);
create index on access_roles (account_id);

create table access_agreements (
    contract_id text not null,
    subscription_id text not null,
    kind text not null,
    phase text not null check (phase in ('scheduled', 'running', 'ended')),
    starts date,  -- the first day of one that was scheduled
    event_id text not null,  -- the event that brought it into its phase
    primary key (contract_id, subscription_id)
);
