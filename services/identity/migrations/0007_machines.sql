-- Private: the SHA-256 of each machine account's secrets. The log says which rotation's secret is good.
create table machine_secrets (
    client_id text not null,
    rotation integer not null,
    digest bytea not null check (length(digest) = 32),
    primary key (client_id, rotation)
);

-- Whose machine accounts there are; what they are, each one's stream says.
create table machines (
    client_id text primary key,
    organisation_id text not null,
    registered_by text not null,
    acts_for text not null
);
create index on machines (organisation_id, client_id);
