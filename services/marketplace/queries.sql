-- catalogue: list the plans that are open to the organisation ($1), and fit, after $7; '' and null fit all.
select product_id || '.' || publisher as cursor, plan
from catalogue
where listed
    and (category = 'open' or exists (
        select from standings s where s.organisation_id = $1 and s.publisher = catalogue.publisher and s.valid
    ))
    and ($2 = '' or product = $2) and ($3::text is null or period = $3) and ($4::text is null or support = $4)
    and ($5::text is null or category = $5) and ($6 = '' or product_id = $6)
    and product_id || '.' || publisher > $7
order by cursor limit $8;

-- plan: read the plan of a product id ($2), one that is offered first, and whether it is open to the organisation
-- ($1).
select plan, listed, event_id, category = 'open' or exists (
    select from standings s where s.organisation_id = $1 and s.publisher = catalogue.publisher and s.valid
) as open_to
from catalogue where product_id = $2 order by listed desc, publisher limit 1;

-- orders: list what a partner ordered, the newest first, before $2.
select s.*, array(
    select days_before from reminders r
    where r.subscription_id = s.subscription_id and r.term = s.term order by days_before desc
) as reminded
from subscriptions s
where partner = $1 and ($2 = '' or subscription_id < $2)
order by subscription_id desc limit $3;

-- subscriptions: list what an organisation bought, or ordered as a partner, the newest first, before $2.
select s.*, array(
    select days_before from reminders r
    where r.subscription_id = s.subscription_id and r.term = s.term order by days_before desc
) as reminded
from subscriptions s
where (customer = $1 or partner = $1) and ($2 = '' or subscription_id < $2)
order by subscription_id desc limit $3;

-- subscription: read one subscription, as `subscriptions` does.
select s.*, array(
    select days_before from reminders r
    where r.subscription_id = s.subscription_id and r.term = s.term order by days_before desc
) as reminded
from subscriptions s
where subscription_id = $1;

-- standings: list the organisation's numbers.
select * from standings where organisation_id = $1 order by publisher, csn;

-- cart: read a cart.
select * from carts where cart_id = $1;

-- cart_lines: list the lines of a cart.
select line, plan, seats from cart_lines where cart_id = $1 order by line;

-- organisation_names: read the organisations' names, as of their first accounts.
select distinct on (organisation_id) organisation_id, organisation_name from people
where organisation_id = any($1::text[])
order by organisation_id, opened_at;

-- held_seats: list the subscription's seats that somebody holds.
select * from held_seats where subscription_id = $1 order by seat;

-- instalments: list the instalments of these subscriptions.
select * from instalments where subscription_id = any($1::text[]) order by subscription_id, term, number;
