-- customer: find whose contract with this publisher it is.
select customer from contracts where contract_id = $1 and publisher = $2;

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

-- is_closed: tell whether the account is closed.
select closed from people where account_id = $1;

-- parked: tell whether the consumer has parked the stream.
select exists (select from engine.parked where consumer = $1 and stream = $2 and holds_stream);

-- folded: tell whether the consumer has folded the stream up to the version, and whether it has parked it before.
select coalesce((select version >= $3 from engine.seen where consumer = $1 and stream = $2), false) as folded,
    exists (
        select from engine.parked where consumer = $1 and stream = $2 and holds_stream and version <= $3
    ) as held;

-- unseen_pool: find a pool of the contract whose stream the consumer has parked before it was opened.
select p.stream from engine.parked p join log.events e using (stream, version)
where p.consumer = $1 and p.holds_stream and e.type = 'SeatPoolOpened' and e.data->>'contract_id' = $2 limit 1;
