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
    event_id text not null
);
create index on owned_products (contract_id, product);
