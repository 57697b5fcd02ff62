-- organisations: find organisations by their id, or by a part of their name; those with exactly this name first.
select o.organisation_id, o.name, coalesce(
    (select p.organisation_kind from people p where p.organisation_id = o.organisation_id limit 1), ''
) as kind
from organisations o
where o.organisation_id = $1 or position(lower($1) in lower(o.name)) > 0
order by o.organisation_id = $1 desc, lower(o.name) = lower($1) desc, o.name, o.organisation_id
limit $2;

-- organisation_of: read the organisation of an account, also of a closed one.
select organisation_id from people where account_id = $1;

-- of_identity: name the streams of an organisation that identity's tables know, of each kind the newest.
(select 'contract-' || contract_id as stream from contracts where customer = $1 order by contract_id desc limit $2)
union all
(select 'invitation-' || invitation_id from invitations where organisation_id = $1 order by invitation_id desc limit $2)
union all
(select 'machine-' || client_id from machines where organisation_id = $1 order by client_id desc limit $2);

-- of_marketplace: name the streams of an organisation that marketplace's tables know, of each kind the newest. A seat
-- pool has its subscription's key; an account has its sessions.
(select unnest(array['account-', 'sessions-']) || account_id as stream from people
 where organisation_id = $1 order by account_id desc limit 2 * $2::int)
union all
(select unnest(array['subscription-', 'pool-']) || subscription_id from (
    (select subscription_id from subscriptions where customer = $1 order by subscription_id desc limit $2)
    union
    (select subscription_id from subscriptions where partner = $1 order by subscription_id desc limit $2)
))
union all
(select 'cart-' || cart_id from carts where partner = $1 order by changed_at desc limit $2)
union all
(select 'engagement-' || customer || '/' || partner from engagements where customer = $1 or partner = $1 limit $2);

-- of_product: name the streams of the plans with this product ID and of their newest subscriptions.
(select 'plan-' || publisher || '-' || product_id as stream from catalogue where product_id = $1)
union all
(select unnest(array['subscription-', 'pool-']) || subscription_id from (
    select subscription_id from subscriptions where product_id = $1 order by subscription_id desc limit $2
));

-- of_contracts: name the rollouts of these contracts, newest first.
select 'rollout-' || rollout_id as stream from rollouts
where contract_id = any($1::text[]) order by event_id desc limit $2;

-- streams: read the first and the last event of each of these streams, newest first; those that do not exist are left
-- out.
select s.stream, b.time as began, e.version, e.id::text as id, e.type, e.time, e.tenant
from unnest($1::text[]) as s (stream)
join log.events b on b.stream = s.stream and b.version = 1
cross join lateral (
    select * from log.events e where e.stream = s.stream order by e.version desc limit 1
) as e
order by e.time desc, s.stream;
