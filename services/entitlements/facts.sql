-- account: read what is known of an account.
select * from people where account_id = $1;

-- usable: tell whether a pool of the contract can be used, or will be; $2 where it has none.
select coalesce(bool_or(phase in ('active', 'expired')), $2::boolean) from pools where contract_id = $1;

-- pools_of_contract: list the contract's pools.
select subscription_id from pools where contract_id = $1 order by 1;

-- pools_for: list the contract's pools, those in which the account has a seat first.
select p.subscription_id from pools p
left join seats s on s.subscription_id = p.subscription_id and s.account_id = $2
where p.contract_id = $1
order by s.seat is null, p.subscription_id;
