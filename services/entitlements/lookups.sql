-- account: read what is known of an account.
select account_id, organisation_id, closed, event_id from people where account_id = $1;

-- customer: find whose contract with this publisher it is.
select customer from contracts where contract_id = $1 and publisher = $2;

-- usable: tell whether a pool of the contract can be used, or will be; $2 where it has none.
select coalesce(bool_or(phase in ('active', 'expired')), $2::boolean) from pools where contract_id = $1;

-- pools_of_contract: list the contract's pools.
select subscription_id from pools where contract_id = $1 order by subscription_id;

-- pools_for_user: list the contract's pools, those in which the account has a seat first.
select p.subscription_id from pools p
left join seats s on s.subscription_id = p.subscription_id and s.account_id = $2
where p.contract_id = $1
order by s.seat is null, p.subscription_id;

-- pools_of_organisation: list the usable pools of a customer or partner with this publisher.
select subscription_id from pools
where (customer = $1 or partner = $1) and publisher = $2 and phase in ('active', 'expired')
order by subscription_id;

-- csn: find the organisation's newest valid number with this publisher, and as of which version.
select max(version) as as_of, (array_agg(csn order by version desc) filter (where valid))[1] as csn
from csns
where organisation_id = $1 and publisher = $2;

-- seats_of: list the pools in which the account has a seat.
select subscription_id from seats where account_id = $1 order by subscription_id;

-- parked: tell whether the consumer has parked the stream.
select exists (select from engine.parked where consumer = $1 and stream = $2 and holds_stream);

-- progress: tell whether the consumer has folded the stream up to the version, and whether it has parked it before.
select coalesce((select version >= $3 from engine.seen where consumer = $1 and stream = $2), false) as folded,
    exists (
        select from engine.parked where consumer = $1 and stream = $2 and holds_stream and version <= $3
    ) as parked;

-- unseen_pool: find a pool of the contract whose stream the consumer has parked before it was opened.
select p.stream from engine.parked p join log.events e using (stream, version)
where p.consumer = $1 and p.holds_stream and e.type = 'SeatPoolOpened' and e.data->>'contract_id' = $2 limit 1;
