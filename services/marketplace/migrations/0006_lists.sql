-- "people": the name of each organisation, as its first account has it.
create table organisations (
    organisation_id text collate "C" primary key,
    name text not null,
    since timestamptz not null              -- the opening of the first account
);
insert into organisations (organisation_id, name, since)
select distinct on (organisation_id) organisation_id, organisation_name, opened_at from people
order by organisation_id, opened_at, account_id;

-- "sales": what lists of subscriptions are sorted, filtered and searched by, which reading each plan would be slow for.
-- `search` is in lower case.
alter table subscriptions add column product_id text collate "C" not null default '';
alter table subscriptions add column product_name text not null default '';
alter table subscriptions add column publisher text collate "C" not null default '';
alter table subscriptions add column search text not null default '';
update subscriptions set product_id = plan ->> 'product_id', product_name = plan ->> 'product_name',
    publisher = plan ->> 'publisher',
    search = lower(concat_ws(E'\n', plan ->> 'product_id', plan ->> 'product_name', subscription_id, publisher_reference));

-- "sales": a customer and a partner that ordered for it before engagements existed count as engaged, too.
insert into engagements (customer, partner, engaged, event_id)
select distinct customer, partner, true, '' from subscriptions
on conflict do nothing;
-- The numbers of a customer's subscriptions and open orders, in the list of customers.
create index on subscriptions (partner, customer, status, ends);
