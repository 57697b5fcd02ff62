-- Who administers which contract, and what opens it: replicated from identity's events.
create table access_roles (
    contract_id text not null,
    account_id text not null,
    role text not null,
    may_assign_seats boolean not null,
    event_id text not null,
    primary key (contract_id, account_id, role)
);
create index on access_roles (account_id);

create table access_agreements (
    contract_id text not null,
    subscription_id text not null,
    kind text not null,
    event_id text not null,
    primary key (contract_id, subscription_id)
);
