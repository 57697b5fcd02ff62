create table contracts (
    contract_id text primary key,
    customer text not null,
    publisher text not null,
    programme text not null,
    manager text not null default ''
);
create index on contracts (customer, contract_id);

-- Private, not folded from events: lost with the database, and then people set a new password.
create table credentials (
    account_id text primary key,
    verifier text not null
);

-- Private: the keys that tokens are signed with. A new one is made when there is none.
create table signing_keys (
    kid text primary key,
    pem text not null,
    created_at timestamptz not null default clock_timestamp()
);
