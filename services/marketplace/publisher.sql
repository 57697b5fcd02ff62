-- plans: list the plans of the publisher $6, also withdrawn ones: of this status ($7), null for any, with the text $8 (with
-- its product ID in $9) somewhere.
select product_id, publisher, listed, plan, plan ->> 'product_name' as product_name,
    coalesce((plan -> 'price' ->> 'amount')::bigint, 0) as price
from catalogue
where publisher = $6 and plan is not null and ($7::text is null or ($7 = 'listed') = listed)
    and ($8 = '%%' or product_id ilike $9 or product ilike $8 or plan ->> 'product_name' ilike $8);

-- csns: list the CSNs of the publisher $6, valid ones ($7), null for any, with the text $8 somewhere.
select s.organisation_id || '.' || s.csn as cursor, s.csn, s.organisation_id, s.valid, s.reason, s.said_at,
    coalesce(o.organisation_name, '') as organisation_name
from standings s
left join lateral (
    select organisation_name from people where organisation_id = s.organisation_id limit 1
) o on true
where s.publisher = $6 and ($7::boolean is null or s.valid = $7)
    and ($8 = '%%' or s.csn ilike $8 or o.organisation_name ilike $8);

-- partners: list the partner organisations with the text $6 in their names.
select distinct organisation_id, organisation_name from people
where organisation_kind = 'partner' and not closed and ($6 = '%%' or organisation_name ilike $6);

-- orders: list the orders for the publisher's ($6) plans: of this status ($7), null for any, with the text $8 (with its
-- product ID in $9) somewhere.
select s.subscription_id, s.status, s.plan, s.seats, s.total_amount, s.currency, s.starts, s.time_zone, s.csn, s.order_event,
    s.failure_reason, s.publisher_reference, s.partner, s.customer, coalesce(p.organisation_name, '') as partner_name,
    coalesce(c.organisation_name, '') as customer_name, s.plan ->> 'product_name' as product_name
from subscriptions s
left join lateral (select organisation_name from people where organisation_id = s.partner limit 1) p on true
left join lateral (select organisation_name from people where organisation_id = s.customer limit 1) c on true
where s.plan ->> 'publisher' = $6 and ($7::text is null or s.status = $7)
    and (
        $8 = '%%' or s.plan ->> 'product_id' ilike $9 or s.plan ->> 'product_name' ilike $8
        or s.subscription_id ilike $8 or s.publisher_reference ilike $8 or p.organisation_name ilike $8
        or c.organisation_name ilike $8
    );
