-- holders_of: list all assigned seats of a pool.
select seat, account_id, assigned_by, assigned_at, event_id from seats where subscription_id = $1 order by seat;

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
