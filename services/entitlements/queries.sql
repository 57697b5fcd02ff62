-- pools: list the pools of an organisation ($1), publisher ($2), contract ($3), partner ($6) and customer ($7), null for
-- any, after $4.
select p.subscription_id, p.contract_id, p.product, p.product_name, p.seats, p.starts, p.ends, p.customer, p.partner,
    p.publisher, p.phase, p.until, p.update_csn is not null as updates,
    count(s.seat)::int as assigned, p.seats - count(s.seat)::int as free
from pools p left join seats s using (subscription_id)
where ($1::text is null or p.customer = $1) and ($2::text is null or p.publisher = $2 and $2 <> '')
    and ($3::text is null or p.contract_id = $3) and ($6::text is null or p.partner = $6)
    and ($7::text is null or p.customer = $7) and p.subscription_id > $4
group by p.subscription_id order by p.subscription_id limit $5;

-- pool: read one pool, as `pools` does.
select p.subscription_id, p.contract_id, p.product, p.product_name, p.seats, p.starts, p.ends, p.customer, p.partner,
    p.publisher, p.phase, p.until, p.update_csn is not null as updates,
    count(s.seat)::int as assigned, p.seats - count(s.seat)::int as free
from pools p left join seats s using (subscription_id)
where p.subscription_id = $1 group by p.subscription_id;

-- contract: read a contract.
select * from contracts where contract_id = $1;

-- holders: list the assigned seats of a pool.
select seat, account_id, assigned_by, assigned_at, event_id from seats where subscription_id = $1 order by seat;

-- my_seats: list the seats that an account holds.
select s.subscription_id, p.product, p.product_name, s.seat, p.starts, p.ends, p.phase, p.until,
    p.update_csn is not null as has_right
from seats s
join pools p using (subscription_id) where s.account_id = $1 order by p.product, s.subscription_id;

-- credit_lots: list a contract's grants that have credits left.
select grant_id, account_id, granted, remaining, expires_on from credit_lots
where contract_id = $1 and remaining > 0
order by account_id nulls last, expires_on, grant_id;

-- credit_entries: list a contract's ledger after the version $2, at most $3 versions, with the balance after each
-- entry.
select kind, grant_id, account_id, amount, balance, reference, purpose, at, event_id, version
from (
    select *, (sum(amount) over (order by version, line))::bigint as balance
    from credit_entries where contract_id = $1
) as entries
where version in (
    select distinct version from credit_entries where contract_id = $1 and version > $2 order by version limit $3
)
order by version, line;
