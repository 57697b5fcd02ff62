-- The zone of the subscription's dates: the order's. Subscriptions from before count in UTC.
alter table owned_products add column time_zone text not null default 'UTC';

-- The zone of a scheduled agreement's first day.
alter table access_agreements add column time_zone text not null default 'UTC';
