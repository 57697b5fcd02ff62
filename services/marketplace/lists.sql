-- catalogue: list the plans of these categories ($6) or publishers ($7): of this product ($8), period ($9), support
-- level ($10), billing ($11), category ($12), product ID ($13) and publisher ($14), null for any, with the text $15 (with
-- its product ID in $16) somewhere.
select product_id || '.' || publisher as cursor, product_id, publisher, plan, product,
    plan ->> 'product_name' as product_name, (plan -> 'price' ->> 'amount')::bigint as price
from catalogue
where listed and (category = any($6::text[]) or publisher = any($7::text[]))
    and ($8::text is null or product = $8) and ($9::text is null or period = $9)
    and ($10::text is null or support = $10) and ($11::text is null or billing = $11)
    and ($12::text is null or category = $12) and ($13::text is null or product_id = $13)
    and ($14::text is null or publisher = $14)
    and ($15 = '%%' or product_id ilike $16 or product ilike $15 or plan ->> 'product_name' ilike $15);

-- carts: list the carts of a partner ($6): those of this status ($7) and opened by this account ($8), null for any, with
-- the text $9 (with its product ID in $10) somewhere.
select c.cart_id, c.opened_at, c.changed_at
from carts c
where c.partner = $6 and ($7::text is null or c.status = $7) and ($8::text is null or c.opened_by = $8)
    and ($9 = '%%' or exists (
        select from cart_lines l
        where l.cart_id = c.cart_id and (l.search like lower($9) or l.search like lower($10))
    ));

-- cart_rows: read these carts with what is in them. The amount is that of the prices when the lines were added.
select c.cart_id, c.status, c.opened_by, c.opened_at, c.changed_at, i.lines, i.seats, i.products, i.publisher, i.amount,
    i.currency
from carts c
cross join lateral (
    select count(*)::int as lines, coalesce(sum(l.seats), 0)::int as seats,
        coalesce(array_agg(l.plan ->> 'product_name' order by l.line), '{}') as products,
        min(l.plan ->> 'publisher') as publisher,
        sum(l.seats * (l.plan -> 'price' ->> 'amount')::bigint)::bigint as amount,
        min(l.plan -> 'price' ->> 'currency') as currency
    from cart_lines l where l.cart_id = c.cart_id
) i
where c.cart_id = any($1::text[]);

-- subscriptions: list those that an organisation ($6, null for any) ordered as a partner, or, if $7 is false, bought: of
-- this id ($19), null for any. They have this
-- status ($8), customer ($9), partner ($10), contract ($11), publisher ($12), product ID ($13) and auto-renew state
-- ($14), null for any, the text $15 (with its product ID in $16) somewhere, and a last day from $17 until before $18,
-- null for any.
select s.subscription_id, s.status, s.customer, s.product_name, s.seats, s.starts, coalesce(s.ends, 'infinity') as by_ends
from subscriptions s
where ($6::text is null or case when $7 then s.partner else s.customer end = $6) and ($8::text is null or s.status = $8)
    and ($9::text is null or s.customer = $9) and ($10::text is null or s.partner = $10)
    and ($11::text is null or s.contract_id = $11) and ($12::text is null or s.publisher = $12)
    and ($13::text is null or s.product_id = $13) and ($14::text is null or s.auto_renew = $14)
    and (
        $15 = '%%' or s.search like lower($15) or s.product_id like upper($16)
        or s.customer in (select organisation_id from organisations where name ilike $15)
        or s.partner in (select organisation_id from organisations where name ilike $15)
    )
    and ($17::date is null or s.ends >= $17) and ($18::date is null or s.ends < $18)
    and ($19::text is null or s.subscription_id = $19);

-- subscription_rows: read these subscriptions with their reminders.
select s.*, array(
    select days_before from reminders r
    where r.subscription_id = s.subscription_id and r.term = s.term order by days_before desc
) as reminded
from subscriptions s
where s.subscription_id = any($1::text[]);

-- renewals: sum up the running terms of an organisation's confirmed subscriptions by the month of their last day, from
-- $2 until before $3. A month has a row a currency. The amount is that of the next term's seats at the term's price.
select date_trunc('month', ends)::date as month, currency,
    count(*) filter (where auto_renew <> 'off')::int as renewing,
    count(*) filter (where auto_renew = 'off')::int as ending,
    coalesce(sum(coalesce(next_seats, seats)) filter (where auto_renew <> 'off'), 0)::int as seats,
    coalesce(
        sum(coalesce(next_seats, seats) * (plan -> 'price' ->> 'amount')::bigint) filter (where auto_renew <> 'off'), 0
    )::bigint as amount
from subscriptions
where (partner = $1 or customer = $1) and status = 'confirmed' and ends >= $2 and ends < $3
group by 1, 2
order by 1, 2;

-- instalments: list the instalments of these subscriptions.
select * from instalments where subscription_id = any($1::text[]) order by subscription_id, term, number;

-- organisation_names: read the organisations' names.
select organisation_id, name from organisations where organisation_id = any($1::text[]);
