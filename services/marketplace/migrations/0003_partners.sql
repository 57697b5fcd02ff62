-- "sales": which customers have engaged which partners.
create table engagements (
    customer text collate "C" not null,
    partner text collate "C" not null,
    engaged boolean not null,               -- false: released
    since timestamptz,                      -- the latest PartnerEngaged; null if there is none
    released_at timestamptz,
    event_id text not null,                 -- the latest event
    primary key (customer, partner)
);
create index on engagements (partner, customer);

-- "sales": customers' requests for seats, and what became of them.
create table seats_requests (
    request text collate "C" primary key,   -- the id of the SeatsRequested
    subscription_id text collate "C" not null,
    customer text collate "C" not null,
    partner text collate "C" not null,
    seats integer not null,
    requested_by text not null,
    requested_at timestamptz not null,
    status text not null,                   -- open | replaced | confirmed | declined | lapsed
    reason text not null default '',        -- of a declined one
    closed_by text not null default ''
);
create index on seats_requests (partner, request);
create index on seats_requests (customer, request);
create unique index on seats_requests (subscription_id) where status = 'open';

-- "people": whether the account manages its organisation's people.
alter table people add column administrator boolean not null default false;

create index on subscriptions (partner, customer);
create index on instalments (due, subscription_id);
