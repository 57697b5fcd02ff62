-- "sales": the SubscriptionOrderAbandoned of an order that the partner gave up; its status is 'abandoned'.
alter table subscriptions add column abandoned json;
create index on subscriptions (partner, status, subscription_id);
