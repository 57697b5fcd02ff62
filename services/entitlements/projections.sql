-- open_pool: add the pool of a subscription.
insert into pools (subscription_id, contract_id, customer, partner, publisher, product, product_name, seats,
    starts, ends, phase, until, event_id, version, time_zone,
    begins_at, search)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'active', $10, $11, $12, $13, $14,
    lower(concat_ws(E'\n', $6::text, $7::text, $1::text, $2::text)));

-- resize_pool: set how many seats the pool has.
update pools set seats = $2 where subscription_id = $1;

-- renew_pool: set the seats and the end of the pool's new term.
update pools set seats = $2, ends = $3, until = $3, time_zone = coalesce($4, time_zone)
where subscription_id = $1;

-- set_phase: set the pool's phase and the phase's last day.
update pools set phase = $2, until = $3 where subscription_id = $1;

-- give_updates: set the CSN that gives the pool the update right.
update pools set update_csn = $2 where subscription_id = $1;

-- take_updates: remove the pool's update right.
update pools set update_csn = null where subscription_id = $1;

-- assign_seat: add the seat's holder, and count the seat.
with added as (
    insert into seats (subscription_id, seat, account_id, assigned_by, assigned_at, event_id)
    values ($1, $2, $3, $4, $5, $6)
)
update pools set assigned = assigned + 1 where subscription_id = $1;

-- unassign_seat: remove the seat's holder, and count the seat no longer.
with removed as (delete from seats where subscription_id = $1 and seat = $2 returning seat)
update pools set assigned = assigned - (select count(*) from removed) where subscription_id = $1;

-- add_seat: add the seat's holder. The seats are counted afterwards.
insert into seats (subscription_id, seat, account_id, assigned_by, assigned_at, event_id)
values ($1, $2, $3, $4, $5, $6);

-- remove_seat: remove the seat's holder. The seats are counted afterwards.
delete from seats where subscription_id = $1 and seat = $2;

-- count_seats: count the assigned seats of these pools.
update pools p set assigned = (select count(*) from seats s where s.subscription_id = p.subscription_id)
where subscription_id = any($1::text[]);

-- grant_credits: add the credits that were granted.
insert into credit_lots (contract_id, grant_id, account_id, granted, remaining, expires_on)
values ($1, $2, $3, $4, $4, $5);

-- take_credits: take credits from a grant.
update credit_lots set remaining = remaining - $3 where contract_id = $1 and grant_id = $2;

-- add_entry: add an entry to the ledger.
insert into credit_entries (contract_id, version, line, kind, grant_id, account_id, amount, reference, purpose,
    at, event_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- open_account: add an account's organisation.
insert into people (account_id, organisation_id, organisation_name, event_id) values ($1, $2, $3, $4);

-- close_account: set that the account is closed.
update people set closed = true, event_id = $2 where account_id = $1;

-- open_contract: add a contract.
insert into contracts (contract_id, customer, publisher, event_id) values ($1, $2, $3, $4);

-- set_csn: set whether the organisation's CSN is valid.
insert into csns (organisation_id, publisher, csn, valid, version) values ($1, $2, $3, $4, $5)
on conflict (organisation_id, publisher, csn) do update set valid = excluded.valid, version = excluded.version;
