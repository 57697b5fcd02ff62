-- plans: list the plans of the publisher $6, also withdrawn ones: of this status ($7), null for any, with the text $8 (with
-- its product ID in $9) somewhere.
select product_id, publisher, listed, plan, plan ->> 'product_name' as product_name,
    coalesce((plan -> 'price' ->> 'amount')::bigint, 0) as price
from catalogue
where publisher = $6 and plan is not null and ($7::text is null or ($7 = 'listed') = listed)
    and ($8 = '%%' or product_id ilike $9 or product ilike $8 or plan ->> 'product_name' ilike $8);

-- csns: list the CSNs of the publisher $6, valid ones ($7), null for any, with the text $8 somewhere.
select s.organisation_id || '.' || s.csn as cursor, s.csn, s.organisation_id, s.valid, s.reason, s.said_at,
    coalesce(o.name, '') as organisation_name
from standings s left join organisations o using (organisation_id)
where s.publisher = $6 and ($7::boolean is null or s.valid = $7)
    and ($8 = '%%' or s.csn ilike $8 or o.name ilike $8);

-- partners: list the partner organisations with the text $6 in their names.
select o.organisation_id, o.name as organisation_name from organisations o
where ($6 = '%%' or o.name ilike $6) and exists (
    select from people p
    where p.organisation_id = o.organisation_id and p.organisation_kind = 'partner' and not p.closed
);

-- orders: list the orders for the publisher's ($6) plans: of this status ($7), null for any, with the text $8 (with its
-- product ID in $9) somewhere.
select s.subscription_id, s.status, s.product_name, s.seats, s.starts
from subscriptions s
where s.publisher = $6 and ($7::text is null or s.status = $7)
    and (
        $8 = '%%' or s.search like lower($8) or s.product_id like upper($9)
        or s.customer in (select organisation_id from organisations where name ilike $8)
        or s.partner in (select organisation_id from organisations where name ilike $8)
    );

-- order_rows: read these orders with the names of their parties.
select s.subscription_id, s.status, s.plan, s.seats, s.total_amount, s.currency, s.starts, s.time_zone, s.csn, s.order_event,
    s.failure_reason, s.publisher_reference, s.product_name, coalesce(p.name, '') as partner_name,
    coalesce(c.name, '') as customer_name
from subscriptions s
left join organisations p on p.organisation_id = s.partner
left join organisations c on c.organisation_id = s.customer
where s.subscription_id = any($1::text[]);
