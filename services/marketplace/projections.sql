-- list_plan: add a plan to the catalogue, or replace it.
insert into catalogue (product_id, publisher, listed, event_id, plan, product, period, support, billing, category,
    commitment_months)
values ($1, $2, true, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (product_id, publisher) do update set listed = true, event_id = excluded.event_id,
    plan = excluded.plan, product = excluded.product, period = excluded.period, support = excluded.support,
    billing = excluded.billing, category = excluded.category, commitment_months = excluded.commitment_months;

-- withdraw_plan: set that a plan is withdrawn; it may never have been listed.
insert into catalogue (product_id, publisher, listed, event_id) values ($1, $2, false, $3)
on conflict (product_id, publisher) do update set listed = false, event_id = excluded.event_id;

-- set_standing: set whether the organisation's CSN is valid, and the reason.
insert into standings (organisation_id, publisher, csn, valid, said_at, reason, event_id)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (organisation_id, publisher, csn) do update set valid = excluded.valid, said_at = excluded.said_at,
    reason = excluded.reason, event_id = excluded.event_id;

-- open_account: add an account, unless its closing came first, and its organisation's name.
with organisation as (
    insert into organisations (organisation_id, name, since) values ($2, $3, $7)
    on conflict (organisation_id) do update set name = excluded.name, since = excluded.since
        where excluded.since < organisations.since
)
insert into people (account_id, organisation_id, organisation_name, organisation_kind, country, time_zone, opened_at,
    closed, event_id)
values ($1, $2, $3, $4, $5, $6, $7, false, $8)
on conflict (account_id) do nothing;

-- close_account: set that the account is closed.
update people set closed = true, event_id = $2 where account_id = $1;

-- move_account: set the account's country and time zone.
update people set country = $2, time_zone = $3 where account_id = $1;

-- set_administrator: set whether the account manages its organisation's people.
update people set administrator = $2 where account_id = $1;

-- engage: set that the customer has engaged the partner.
insert into engagements (customer, partner, engaged, since, event_id) values ($1, $2, true, $3, $4)
on conflict (customer, partner) do update set engaged = true, since = excluded.since, released_at = null,
    event_id = excluded.event_id;

-- release: set that the customer has released the partner.
insert into engagements (customer, partner, engaged, released_at, event_id) values ($1, $2, false, $3, $4)
on conflict (customer, partner) do update set engaged = false, released_at = excluded.released_at,
    event_id = excluded.event_id;

-- add_seats_request: add an open request for seats.
insert into seats_requests (request, subscription_id, customer, partner, seats, requested_by, requested_at, status)
values ($1, $2, $3, $4, $5, $6, $7, 'open');

-- close_seats_request: set what became of the subscription's open request for seats.
update seats_requests set status = $2, reason = $3, closed_by = $4 where subscription_id = $1 and status = 'open';

-- engage_before: set that the customer has engaged the partner if neither of them said anything about it.
insert into engagements (customer, partner, engaged, event_id) values ($1, $2, true, '')
on conflict do nothing;

-- open_cart: add a cart.
insert into carts (cart_id, partner, opened_by, opened_at, changed_at) values ($1, $2, $3, $4, $4);

-- set_line: add a line to the cart, or set it.
with cart as (update carts set changed_at = $5 where cart_id = $1)
insert into cart_lines (cart_id, line, plan, seats) values ($1, $2, $3, $4)
on conflict (cart_id, line) do update set plan = excluded.plan, seats = excluded.seats;

-- remove_line: remove a line from the cart.
with cart as (update carts set changed_at = $3 where cart_id = $1)
delete from cart_lines where cart_id = $1 and line = $2;

-- check_out: set the values of the cart's checkout.
update carts set checked_out = $2, status = 'checked-out', changed_at = $3 where cart_id = $1;

-- discard_cart: set that the partner gave the cart up.
update carts set status = 'discarded', changed_at = $2 where cart_id = $1;

-- order: add the subscription that a line was ordered as.
insert into subscriptions (subscription_id, cart_id, contract_id, partner, customer, purchaser, ordered_by,
    status, plan, seats, total_amount, currency, starts, csn, order_event, time_zone, product_id, product_name,
    publisher, search)
values ($1, $2, $3, $4, $5, $6, $7, 'awaiting', $8, $9, $10, $11, $12, $13, $14, $15,
    $8::json ->> 'product_id', $8::json ->> 'product_name', $8::json ->> 'publisher',
    lower(concat_ws(E'\n', $8::json ->> 'product_id', $8::json ->> 'product_name', $1::text)))
on conflict (subscription_id) do update set status = 'awaiting', ordered_by = excluded.ordered_by,
    seats = excluded.seats, total_amount = excluded.total_amount, starts = excluded.starts,
    csn = excluded.csn, order_event = excluded.order_event, failure_reason = null;

-- fail: set the reason why the order failed.
update subscriptions set status = 'failed', failure_reason = $2 where subscription_id = $1;

-- abandon: set that the partner gave the order up.
update subscriptions set status = 'abandoned', abandoned = $2 where subscription_id = $1;

-- confirm: begin the subscription's first term.
update subscriptions set status = 'confirmed', publisher_reference = $2, starts = $3, ends = $4,
    cancel_by = $5, auto_renew = 'on', term = 1, term_starts = $3, next_seats = seats, time_zone = $6,
    search = lower(concat_ws(E'\n', product_id, product_name, subscription_id, $2::text))
where subscription_id = $1;

-- add_instalment: add an instalment of a term.
insert into instalments (subscription_id, term, number, due, amount) values ($1, $2, $3, $4, $5);

-- renew: begin the subscription's next term.
update subscriptions set term = $2, term_starts = $3, ends = $4, cancel_by = $5, plan = $6, seats = $7,
    next_seats = $7, total_amount = $8, time_zone = $9, product_id = $6::json ->> 'product_id',
    product_name = $6::json ->> 'product_name', publisher = $6::json ->> 'publisher',
    search = lower(concat_ws(E'\n', $6::json ->> 'product_id', $6::json ->> 'product_name', subscription_id, publisher_reference))
where subscription_id = $1;

-- end: set that the subscription has ended.
update subscriptions set status = 'ended' where subscription_id = $1;

-- add_seats: set the seats and add their price.
update subscriptions set seats = $2, next_seats = $2, total_amount = total_amount + $3
where subscription_id = $1;

-- set_next_seats: set the number of seats with which the next term begins.
update subscriptions set next_seats = $2 where subscription_id = $1;

-- add_reminder: add a reminder of the term's end, once.
insert into reminders (subscription_id, term, days_before, ends, time) values ($1, $2, $3, $4, $5)
on conflict do nothing;

-- request_disable_auto_renew: set that turning auto-renew off was requested.
update subscriptions set auto_renew = 'asked', asked = $2, refused = null where subscription_id = $1;

-- refuse_disable_auto_renew: set the reason why auto-renew stays on.
update subscriptions set auto_renew = 'on', refused = $2 where subscription_id = $1;

-- disable_auto_renew: set that auto-renew is off, and the last day.
update subscriptions set auto_renew = 'off', refused = null, last_day = $2 where subscription_id = $1;

-- hold_seat: set the holder of a seat.
insert into held_seats (subscription_id, seat, account_id, event_id) values ($1, $2, $3, $4)
on conflict (subscription_id, seat) do update set account_id = excluded.account_id, event_id = excluded.event_id;

-- release_seat: remove the holder of a seat.
delete from held_seats where subscription_id = $1 and seat = $2;

-- publishers_of: list the publishers that have ever listed a plan under this product id.
select publisher from catalogue where product_id = $1 order by publisher;

-- offers_for: list the plans that match a wizard's choices; '' matches all.
select plan, event_id from catalogue
where listed and product = coalesce(nullif($1, ''), product) and period = coalesce(nullif($2, ''), period)
    and support = coalesce(nullif($3, ''), support) and billing = coalesce(nullif($4, ''), billing)
order by product_id, publisher;

-- account: read an account.
select * from people where account_id = $1;
