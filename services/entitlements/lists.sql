-- pools: list the pools of an organisation ($6), publisher ($7) and partner ($14), of this contract ($8), customer ($15),
-- product ($9) and phase ($10, at $11), with free seats or without ($12), null for any, and the text $13
-- somewhere; with the id $16, null for any.
select subscription_id, contract_id, product, product_name, seats, starts, ends, time_zone, customer, partner,
    publisher, phase, until, update_csn is not null as updates, assigned, seats - assigned as free
from pools
where ($6::text is null or customer = $6) and ($7::text is null or publisher = $7 and $7 <> '')
    and ($14::text is null or partner = $14) and ($15::text is null or customer = $15)
    and ($8::text is null or contract_id = $8) and ($9::text is null or product = $9)
    and ($10::text is null or $10 = case when phase = 'active' and begins_at > $11 then 'upcoming' else phase end)
    and ($12::boolean is null or $12 = (seats > assigned)) and ($13 = '%%' or search like lower($13))
    and ($16::text is null or subscription_id = $16);

-- holders: list the assigned seats of the pool $6, of the account $7, null for any.
select seat, account_id, assigned_by, assigned_at, event_id from seats
where subscription_id = $6 and ($7::text is null or account_id = $7);

-- my_seats: list the seats that an account holds.
select s.subscription_id, p.product, p.product_name, s.seat, p.starts, p.ends, p.time_zone, p.phase, p.until,
    p.update_csn is not null as has_right
from seats s
join pools p using (subscription_id) where s.account_id = $1;

-- entries: list the ledger of the contract $6 with the balance after each entry: those of this kind ($7), grant ($8) and
-- account ($9), null for any, with the text $10 in their purpose or reference.
select *
from (
    select lpad(version::text, 10, '0') || '.' || lpad(line::text, 4, '0') as entry,
        kind, grant_id, account_id, amount, reference, purpose, at, event_id, version,
        (sum(amount) over (order by version, line))::bigint as balance
    from credit_entries where contract_id = $6
) as entries
where ($7::text is null or kind = $7) and ($8::text is null or grant_id = $8)
    and ($9::text is null or account_id = $9) and ($10 = '%%' or purpose ilike $10 or reference ilike $10);

-- contract: read a contract.
select * from contracts where contract_id = $1;

-- pool_of: read whose pool it is.
select customer, partner, publisher from pools where subscription_id = $1;
