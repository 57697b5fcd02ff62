-- administered_pool: read the pool of a subscription.
select * from pools where subscription_id = $1;
