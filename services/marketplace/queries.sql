-- opened_plans: list the plans of these categories ($1) or publishers ($2).
select plan from catalogue
where listed and (category = any($1::text[]) or publisher = any($2::text[]))
order by product_id, publisher;

-- standings: list the organisation's CSNs.
select * from standings where organisation_id = $1 order by publisher, csn;

-- held_seats: list the subscription's seats that are assigned.
select * from held_seats where subscription_id = $1 order by seat;

-- contracts_of: list the contracts of a customer of which an order was confirmed.
select distinct contract_id from subscriptions where customer = $1 and status in ('confirmed', 'ended') order by contract_id;
