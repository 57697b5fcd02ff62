create table contracts (
    contract_id text primary key,
    customer text not null,
    publisher text not null,
    programme text not null,
    manager text not null default ''
);
create index on contracts (customer, contract_id);

-- The contracts on which an account holds, held, asks for or is about to be given a role. Doors write it before the role
-- is given, so that closing an account overlooks none; the fold makes it anew. What holds now, the contract says.
create table account_contracts (
    account_id text not null,
    contract_id text not null,
    primary key (account_id, contract_id)
);

-- Private, and nowhere else: without its key nothing personal of a person can be read in the log any more. A null key is
-- an erased one. Back it up apart from the log, for no longer than the erasing of a person may take.
create table person_keys (
    account_id text primary key,
    key bytea check (length(key) = 32),
    erased_at timestamptz,
    check ((key is null) = (erased_at is not null))
);

-- Private, not folded from events: lost with the database, and then everybody needs a reset.
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
