-- marketplace's read models. Each table says which projection folds it; nothing else writes it.

-- "catalogue": the publisher's last word on each plan.
create table catalogue (
    product_id text collate "C" not null,   -- 15 characters
    publisher text collate "C" not null,
    listed boolean not null,                -- false: withdrawn
    event_id text not null,                 -- the last word
    plan json,                              -- null while only its withdrawal is known
    product text,
    period text,
    support text,
    billing text,
    category text,
    commitment_months integer,
    primary key (product_id, publisher)
);
create index on catalogue (product) where listed;

-- "catalogue": the last word on each customer-specific number.
create table standings (
    organisation_id text collate "C" not null,
    publisher text collate "C" not null,
    csn text collate "C" not null,
    valid boolean not null,
    said_at timestamptz,
    reason text not null,
    event_id text not null,
    primary key (organisation_id, publisher, csn)
);

-- "people": who belongs to which organisation, and where. No name, no address: those stay with identity.
create table people (
    account_id text collate "C" primary key,
    organisation_id text collate "C" not null,
    organisation_name text not null,
    organisation_kind text not null,
    country text not null,
    time_zone text not null,
    opened_at timestamptz not null,
    closed boolean not null,
    event_id text not null                  -- the account's opening, or its closing
);
create index on people (organisation_id);

-- "sales": carts and what is in them.
create table carts (
    cart_id text collate "C" primary key,
    partner text collate "C" not null,
    opened_by text not null,
    checked_out json                        -- the CartCheckedOut, once it is
);

create table cart_lines (
    cart_id text collate "C" not null,
    line integer not null,
    plan json not null,
    seats integer not null,
    primary key (cart_id, line)
);

-- "sales": one row a subscription, from its order on.
create table subscriptions (
    subscription_id text collate "C" primary key,
    cart_id text collate "C" not null,
    contract_id text collate "C" not null,
    partner text collate "C" not null,
    customer text collate "C" not null,
    purchaser text not null,
    ordered_by text not null,
    status text not null,                   -- awaiting | failed | confirmed | ended
    plan json not null,
    seats integer not null,
    total_amount bigint not null,           -- minor units
    currency text not null,
    starts date not null,
    csn text,
    order_event text not null,              -- the last SubscriptionOrdered
    failure_reason text,
    publisher_reference text,
    term integer,                           -- the running (or last) term's number, from 1
    term_starts date,
    ends date,                              -- the term's last day
    next_seats integer,                     -- how many the next term begins with
    cancel_by json,
    auto_renew text,                        -- on | asked | off
    asked json,                             -- the last AutoRenewDisableRequested
    refused json,                           -- the AutoRenewDisableRefused since then
    last_day date                           -- set when auto-renew is off: the subscription ends with it
);
create index on subscriptions (partner, subscription_id);
create index on subscriptions (customer, subscription_id);

create table instalments (
    subscription_id text collate "C" not null,
    term integer not null,
    number integer not null,
    due date not null,
    amount bigint not null,                 -- minor units, in the subscription's currency
    primary key (subscription_id, term, number)
);

-- "sales": what partner and customer were reminded of.
create table reminders (
    subscription_id text collate "C" not null,
    term integer not null,
    days_before integer not null,
    ends date not null,
    time timestamptz not null,
    primary key (subscription_id, term, days_before)
);

-- "sales": who holds which seat, for the cancel preview alone. Whether a seat is held is the seat pool's to decide.
create table held_seats (
    subscription_id text collate "C" not null,
    seat integer not null,
    account_id text not null,
    event_id text not null,
    primary key (subscription_id, seat)
);
