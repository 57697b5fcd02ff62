-- A publisher's orders, and the partners by name: each was found by reading its whole table.
create index on subscriptions (publisher, subscription_id);
create index on people (organisation_id) where organisation_kind = 'partner' and not closed;

-- The index on (partner, customer, status, ends) finds the same, and plans that took this one read every row.
drop index if exists subscriptions_partner_customer_idx;
