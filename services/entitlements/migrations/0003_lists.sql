-- The number of assigned seats, so that a list of pools does not count them, and the text in lower case that the list is
-- searched in.
alter table pools add column assigned integer not null default 0;
alter table pools add column search text not null default '';
update pools p set search = lower(concat_ws(E'\n', product, product_name, subscription_id, contract_id)),
    assigned = (select count(*) from seats s where s.subscription_id = p.subscription_id);
