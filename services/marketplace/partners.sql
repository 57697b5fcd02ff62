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

-- partners: list the customer's partners, engaged, released, or having ordered before engagements existed, after $2.
with dealings as (
    select partner from engagements where customer = $1
    union select partner from subscriptions where customer = $1
)
select d.partner, coalesce(n.organisation_name, d.partner) as name,
    case when coalesce(e.engaged, true) then 'engaged' else 'released' end as status, e.since, e.released_at,
    (
        select count(*)::int from subscriptions s
        where s.partner = d.partner and s.customer = $1 and s.status = 'confirmed'
    ) as subscriptions
from dealings d
left join engagements e on e.customer = $1 and e.partner = d.partner
left join lateral (
    select organisation_name from people where organisation_id = d.partner order by opened_at limit 1
) n on true
where d.partner > $2
order by d.partner limit $3;

-- customers: list the partner's ($6) customers, engaged, released, or ordered for before engagements existed, with this
-- text ($7) in their names, this status ($8) and this id ($9), null for any.
select * from (
    select d.customer, coalesce(n.organisation_name, d.customer) as name,
        case when coalesce(e.engaged, true) then 'engaged' else 'released' end as status, e.since, e.released_at,
        array(
            select distinct publisher from standings t
            where t.organisation_id = d.customer and t.valid order by publisher
        ) as csn_publishers,
        coalesce(c.subscriptions, 0) as subscriptions, coalesce(c.open_orders, 0) as open_orders, c.next_ends,
        coalesce(c.next_ends, 'infinity') as by_next_ends, coalesce(r.seats_requests, 0) as seats_requests
    from (
        select customer from engagements where partner = $6
        union select customer from subscriptions where partner = $6
    ) d
    left join engagements e on e.partner = $6 and e.customer = d.customer
    left join lateral (
        select organisation_name from people where organisation_id = d.customer order by opened_at limit 1
    ) n on true
    left join (
        select customer, count(*) filter (where status = 'confirmed')::int as subscriptions,
            count(*) filter (where status in ('awaiting', 'failed'))::int as open_orders,
            min(ends) filter (where status = 'confirmed') as next_ends
        from subscriptions where partner = $6 group by customer
    ) c on c.customer = d.customer
    left join (
        select customer, count(*)::int as seats_requests
        from seats_requests where partner = $6 and status = 'open' group by customer
    ) r on r.customer = d.customer
) as customers
where name ilike $7 and ($8::text is null or status = $8) and ($9::text is null or customer = $9);

-- instalments: list the instalments of an organisation's subscriptions, of a customer ($2, '' for any), that are due
-- from $3 until before $4, after $5.
select * from (
    select s.subscription_id, s.customer, s.partner, s.plan, s.currency, s.time_zone, i.term, i.number, i.due, i.amount,
        coalesce(n.organisation_name, s.customer) as customer_name,
        i.due || '.' || s.subscription_id || '.' || lpad(i.term::text, 4, '0') || '.' || lpad(i.number::text, 4, '0')
            collate "C" as cursor
    from instalments i join subscriptions s using (subscription_id)
    left join lateral (
        select organisation_name from people where organisation_id = s.customer order by opened_at limit 1
    ) n on true
    where (s.partner = $1 or s.customer = $1) and ($2 = '' or s.customer = $2) and i.due >= $3 and i.due < $4
) as due
where cursor > $5
order by cursor limit $6;

-- seats_requests: list the requests for seats of an organisation ($6), of a status ($7), a subscription ($8) and a
-- customer ($9), null for any, with the text $10 in the product or a party's name.
select * from (
    select r.*, s.plan ->> 'product_name' as product_name, s.seats as seats_now,
        coalesce(c.organisation_name, r.customer) as customer_name,
        coalesce(p.organisation_name, r.partner) as partner_name
    from seats_requests r join subscriptions s using (subscription_id)
    left join lateral (
        select organisation_name from people where organisation_id = r.customer order by opened_at limit 1
    ) c on true
    left join lateral (
        select organisation_name from people where organisation_id = r.partner order by opened_at limit 1
    ) p on true
    where (r.partner = $6 or r.customer = $6) and ($7::text is null or r.status = $7)
        and ($8::text is null or r.subscription_id = $8) and ($9::text is null or r.customer = $9)
) as requests
where product_name ilike $10 or customer_name ilike $10 or partner_name ilike $10;
