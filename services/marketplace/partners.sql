-- ordered_before: tell whether there is a subscription that the partner ($2) ordered for the customer.
select exists (select from subscriptions where customer = $1 and partner = $2);

-- is_partner: tell whether a partner organisation with this id is known.
select exists (select from people where organisation_id = $1 and organisation_kind = 'partner');

-- manages: tell whether the account manages its organisation's people or is a Contract Manager.
select exists (select from people where account_id = $1 and administrator and not closed)
    or exists (select from access_roles where account_id = $1 and role = 'contract_manager' and revoked is null);

-- contract_manager: tell whether the account ($2) is the contract's Contract Manager.
select exists (
    select from access_roles
    where contract_id = $1 and account_id = $2 and role = 'contract_manager' and revoked is null
);

-- partners: list the partners that a customer ($6) has engaged or has released: those of this status ($7), null for any,
-- with the text $8 in their name or id.
select * from (
    select e.partner, coalesce(n.name, e.partner) as name,
        case when e.engaged then 'engaged' else 'released' end as status, e.since, e.released_at,
        coalesce(e.since, '1970-01-01T00:00Z') as by_since, (
            select count(*)::int from subscriptions s
            where s.partner = e.partner and s.customer = e.customer and s.status = 'confirmed'
        ) as subscriptions
    from engagements e left join organisations n on n.organisation_id = e.partner
    where e.customer = $6
) as partners
where ($7::text is null or status = $7) and ($8 = '%%' or name ilike $8 or partner ilike $8);

-- customers: list the customers that have engaged a partner ($6) or have released it, with the text $7 in their name or
-- id, this status ($8) and this id ($9), and with open orders or without ($10), null for any.
select *, coalesce(next_ends, 'infinity') as by_next_ends
from (
    select e.customer, coalesce(n.name, e.customer) as name,
        case when e.engaged then 'engaged' else 'released' end as status, e.since, e.released_at,
        coalesce(e.since, '1970-01-01T00:00Z') as by_since,
        array(
            select distinct publisher from standings t
            where t.organisation_id = e.customer and t.valid order by publisher
        ) as csn_publishers, (
            select count(*)::int from subscriptions s
            where s.partner = e.partner and s.customer = e.customer and s.status = 'confirmed'
        ) as subscriptions, (
            select count(*)::int from subscriptions s
            where s.partner = e.partner and s.customer = e.customer and s.status in ('awaiting', 'failed')
        ) as open_orders, (
            select min(s.ends) from subscriptions s
            where s.partner = e.partner and s.customer = e.customer and s.status = 'confirmed'
        ) as next_ends, (
            select s.time_zone from subscriptions s
            where s.partner = e.partner and s.customer = e.customer and s.status = 'confirmed'
            order by s.ends, s.subscription_id limit 1
        ) as time_zone, (
            select count(*)::int from seats_requests r
            where r.partner = e.partner and r.customer = e.customer and r.status = 'open'
        ) as seats_requests
    from engagements e left join organisations n on n.organisation_id = e.customer
    where e.partner = $6
) as customers
where ($7 = '%%' or name ilike $7 or customer ilike $7) and ($8::text is null or status = $8)
    and ($9::text is null or customer = $9) and ($10::boolean is null or $10 = (open_orders > 0));

-- instalments: list the instalments of an organisation's subscriptions, as the partner that ordered them, or, if $7 is
-- false, as the customer: those of this customer ($8), null for any, that are due from $9 until before $10, with the
-- text $11 somewhere.
select s.subscription_id, s.product_name, i.due, i.amount, coalesce(n.name, s.customer) as customer_name,
    s.subscription_id || '.' || lpad(i.term::text, 4, '0') || '.' || lpad(i.number::text, 4, '0') as cursor
from instalments i join subscriptions s using (subscription_id)
left join organisations n on n.organisation_id = s.customer
where case when $7 then s.partner else s.customer end = $6 and ($8::text is null or s.customer = $8)
    and i.due >= $9 and i.due < $10 and ($11 = '%%' or s.search like lower($11) or n.name ilike $11);

-- instalment_rows: read the instalments with these keys, of a subscription, a term and a number.
select key as cursor, s.subscription_id, s.customer, s.partner, s.product_name, s.currency, s.time_zone, i.term, i.number,
    i.due, i.amount, coalesce(n.name, s.customer) as customer_name
from unnest($1::text[]) key
join instalments i on i.subscription_id = split_part(key, '.', 1) and i.term = split_part(key, '.', 2)::int
    and i.number = split_part(key, '.', 3)::int
join subscriptions s using (subscription_id)
left join organisations n on n.organisation_id = s.customer;

-- seats_requests: list the requests for seats of an organisation, as the partner, or, if $7 is false, as the customer:
-- those of this status ($8), subscription ($9) and customer ($10), null for any, with the text $11 in the product or a
-- party's name.
select r.request, r.requested_at, r.status, r.seats, s.product_name, coalesce(c.name, r.customer) as customer_name
from seats_requests r join subscriptions s using (subscription_id)
left join organisations c on c.organisation_id = r.customer
left join organisations p on p.organisation_id = r.partner
where case when $7 then r.partner else r.customer end = $6 and ($8::text is null or r.status = $8)
    and ($9::text is null or r.subscription_id = $9) and ($10::text is null or r.customer = $10)
    and ($11 = '%%' or s.search like lower($11) or c.name ilike $11 or p.name ilike $11);

-- seats_request_rows: read these requests for seats with the names of their parties.
select r.*, s.product_name, s.seats as seats_now, coalesce(c.name, r.customer) as customer_name,
    coalesce(p.name, r.partner) as partner_name
from seats_requests r join subscriptions s using (subscription_id)
left join organisations c on c.organisation_id = r.customer
left join organisations p on p.organisation_id = r.partner
where r.request = any($1::text[]);
