-- The zone of the subscription's dates: the order's. Subscriptions from before end in the zone of their deadline.
alter table subscriptions add column time_zone text not null default 'UTC';
update subscriptions set time_zone = cancel_by->>'time_zone' where cancel_by is not null;
