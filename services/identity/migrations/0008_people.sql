-- The people of each organisation. Names and addresses are sealed under the person's key, as they are in the log: who
-- searches them opens them, and no index or backup of this table shows them. A closed account has no row.
create table people (
    account_id text primary key,
    organisation_id text not null,
    sealed_name text not null,
    sealed_email text not null,     -- "" after the address was released
    administrator boolean not null default false,
    founder boolean not null,
    joined_at timestamptz not null
);
create index on people (organisation_id);

-- The roles that people hold now.
create table held_roles (
    contract_id text not null,
    account_id text not null,
    role text not null,
    may_assign_seats boolean not null,
    primary key (contract_id, account_id, role)
);
create index on held_roles (account_id);

-- The requests for roles, with their answers. What a person wrote, and what was written about them, is sealed.
create table role_requests (
    request_id text primary key,    -- the event's id
    contract_id text not null,
    account_id text not null,
    role text not null,
    sealed_message text not null,
    requested_at timestamptz not null,
    state text not null default 'waiting',  -- waiting | approved | declined
    answered_by text not null default '',
    sealed_reason text not null default '',
    answered_at timestamptz,
    answer_id text not null default ''      -- the event that answered
);
create index on role_requests (account_id);
create index on role_requests (contract_id, account_id) where state = 'waiting';
