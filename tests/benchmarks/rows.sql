-- ids: make the ids that the statements below share: of the row of this number, of this kind.
create function pg_temp.id(kind text, number bigint) returns text immutable language sql
return md5(kind || number)::uuid::text;

-- refusals: fill the table of what routes refused; those of the sign-in and the log's own are few.
insert into engine.refusals (id, request, refusal, time)
select pg_temp.id('account', n % 100) || ':' || n, 'POST /somewhere', json_build_object('command', 'Something',
        'rule', (array['role-missing', 'seat-right-missing'])[1 + n % 2], 'reason', 'Only ' || n || ' others may.',
        'remedy', 'Ask one of them.', 'because', array[]::text[]),
    timestamptz '2026-01-01' + n * interval '1 minute'
from generate_series(0, 19999) n;

-- identity: fill identity's tables; customer 0 is the largest.
insert into contracts (contract_id, customer, publisher, programme, manager)
select pg_temp.id('contract', n), pg_temp.id('organisation', n / 3), (array['autodesk', 'bentley', 'nemetschek'])[1 + n % 3],
    (array['subscription', 'enterprise'])[1 + n % 2], pg_temp.id('account', n)
from generate_series(0, 2999) n;
insert into held_roles (contract_id, account_id, role, may_assign_seats)
select pg_temp.id('contract', n % 3), pg_temp.id('account', n), 'software_coordinator', n % 2 = 0
from generate_series(0, 299) n;
insert into role_requests (request_id, contract_id, account_id, role, sealed_message, requested_at, state)
select pg_temp.id('request', n), pg_temp.id('contract', n % 3), pg_temp.id('account', n % 20), 'software_coordinator', '',
    timestamptz '2026-01-01' + n * interval '1 minute', (array['waiting', 'approved', 'declined'])[1 + n % 3]
from generate_series(0, 9999) n;
insert into machines (client_id, organisation_id, registered_by, acts_for)
select pg_temp.id('machine', n), pg_temp.id('organisation', n / 20), pg_temp.id('account', 0), ''
from generate_series(0, 19999) n;
insert into webhooks (webhook_id, organisation_id, account_id)
select pg_temp.id('webhook', n), pg_temp.id('organisation', n / 20), pg_temp.id('account', 0)
from generate_series(0, 19999) n;
insert into invitations (invitation_id, organisation_id, organisation_kind, issued_by, expires_at, outcome)
select pg_temp.id('invitation', n), pg_temp.id('organisation', case when n < 500 then 0 else 1 + n % 999 end), 'customer',
    pg_temp.id('account', 0), now() + interval '1 day', (array['', 'accepted', 'revoked'])[1 + n % 3]
from generate_series(0, 99999) n;
insert into sessions (session_id, account_id, since, started, last_used, expires, tag, seed, current)
select pg_temp.id('session', n), pg_temp.id('account', n % 2000), 0, now() - n * interval '1 second', now(),
    now() + interval '1 day', decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'),
    decode(repeat('00', 32), 'hex')
from generate_series(0, 99999) n;

-- notifications: fill the inboxes: 5,000 notifications of account 0, and two of each other.
insert into notifications (notification_id, account_id, event_id, template, kind, facts, happened_at, told_at, in_inbox,
    read_at, mail, mail_at)
select pg_temp.id('notification', n), pg_temp.id('account', case when n < 5000 then 0 else 1 + n / 2 end),
    pg_temp.id('told', n), template, kind, facts, told_at, told_at, n % 40 <> 0, case when n % 3 = 0 then told_at end,
    (array['sent', 'off', 'sent', 'suppressed', 'sent'])[1 + n % 5], case when n % 5 <> 1 then told_at end
from (
    select n, timestamptz '2026-01-01' + n * interval '1 minute' as told_at,
        (array['SeatAssigned', 'InvitationAccepted', 'PartnerEngaged'])[1 + n % 3] as template,
        (array['seat', 'invitation-answered', 'partner-engagement'])[1 + n % 3] as kind,
        case n % 3
            when 0 then jsonb_build_object('product', 'Product ' || n % 150, 'seat', n)
            when 1 then jsonb_build_object('who', pg_temp.id('account', n % 50))
            else jsonb_build_object('customer', pg_temp.id('organisation', n % 100))
        end as facts
    from generate_series(0, 199999) n
) as told;
update notifications set mail = 'bounced', mail_reason = '550 no such mailbox' where notification_id < '01';

-- marketplace: fill marketplace's tables: 25,000 orders, nine tenths of them by partner 0, of plans in the catalogue.
insert into people (account_id, organisation_id, organisation_name, organisation_kind, country, time_zone, opened_at,
    closed, event_id)
select pg_temp.id('account', n), pg_temp.id('organisation', customer), 'Planungsbüro ' || pg_temp.id('name', customer),
    'customer', 'DE', 'Europe/Berlin', timestamptz '2026-01-01' + n * interval '1 minute', false,
    pg_temp.id('opening', n)
from (
    select n, case when n < 5000 then 0 else 1 + n % 999 end as customer from generate_series(0, 99999) n
) as accounts;
insert into people (account_id, organisation_id, organisation_name, organisation_kind, country, time_zone, opened_at,
    closed, event_id)
select pg_temp.id('clerk', n), pg_temp.id('partner', n % 20), 'Systemhaus ' || n % 20, 'partner', 'DE', 'Europe/Berlin',
    timestamptz '2026-01-01' + n * interval '1 minute', false, pg_temp.id('clerk opening', n)
from generate_series(0, 199) n;
insert into organisations (organisation_id, name, since)
select distinct on (organisation_id) organisation_id, organisation_name, opened_at from people
order by organisation_id, opened_at;
insert into standings (organisation_id, publisher, csn, valid, reason, event_id)
select pg_temp.id('organisation', n), 'autodesk', (5100000000 + n)::text, true, '', pg_temp.id('csn', n)
from generate_series(0, 999) n;
insert into engagements (customer, partner, engaged, since, event_id)
select pg_temp.id('organisation', n), pg_temp.id('partner', p), n % 50 <> p, timestamptz '2026-01-01',
    pg_temp.id('engagement', n * 20 + p)
from generate_series(0, 999) n, generate_series(0, 1) p;
with plans as (select array_agg(plan order by product_id) as plans, count(*)::int as count from catalogue),
orders as (
    select n, (case when n < 1250 then 0 else 1 + n % 999 end) as customer,
        case when n % 10 = 0 then 1 + n / 10 % 19 else 0 end as partner,
        case
            when n % 100 < 84 then 'confirmed' when n % 100 < 88 then 'ended' when n % 100 < 93 then 'awaiting'
            when n % 100 < 97 then 'failed' else 'abandoned'
        end as status,
        date '2026-01-01' + n * 7 % 700 as starts
    from generate_series(0, 24999) n
)
insert into subscriptions (subscription_id, cart_id, contract_id, partner, customer, purchaser, ordered_by, status, plan,
    seats, total_amount, currency, starts, csn, order_event, failure_reason, publisher_reference, term, term_starts, ends,
    next_seats, cancel_by, auto_renew, time_zone, product_id, product_name, publisher, search)
select pg_temp.id('subscription', n), pg_temp.id('cart', n / 3), pg_temp.id('contract', customer * 3),
    pg_temp.id('partner', partner), pg_temp.id('organisation', customer), pg_temp.id('account', customer),
    pg_temp.id('clerk', partner), status, plan, case when n = 1 then 10000 else 4 end, 227500,
    'EUR', starts, '5100012345', pg_temp.id('order', n), case when status = 'failed' then 'credit limit' end,
    case when status in ('confirmed', 'ended') then 'AOA-' || 10000000 + n end,
    case when status in ('confirmed', 'ended') then 1 end,
    case when status in ('confirmed', 'ended') then starts end,
    case when status in ('confirmed', 'ended') then starts + 364 end,
    case when status in ('confirmed', 'ended') then 1 end,
    case when status in ('confirmed', 'ended') then json_build_object('last_day', starts + 300,
        'deadline', '2026-12-01T23:00:00Z', 'time_zone', 'Europe/Berlin', 'calendar', 'DE', 'calendar_version', '1') end,
    case when status in ('confirmed', 'ended') then (array['on', 'off', 'asked'])[1 + n % 3] end, 'Europe/Berlin',
    plan ->> 'product_id', plan ->> 'product_name', plan ->> 'publisher',
    lower(concat_ws(E'\n', plan ->> 'product_id', plan ->> 'product_name', pg_temp.id('subscription', n),
        'AOA-' || 10000000 + n))
from orders, lateral (select plans[1 + n * 7919 % count] as plan from plans) as ordered;

-- marketplace_parts: fill the tables whose rows belong to orders.
insert into instalments (subscription_id, term, number, due, amount)
select pg_temp.id('subscription', n), 1, part, date '2026-01-01' + n * 7 % 700 + part * 30, 18958
from generate_series(0, 24999) n, generate_series(1, 12) part where n % 100 < 88 and (part = 1 or n % 4 = 0);
insert into reminders (subscription_id, term, days_before, ends, time)
select pg_temp.id('subscription', n), 1, 90, date '2026-01-01' + n * 7 % 700 + 364, now()
from generate_series(0, 24999) n where n % 10 = 0;
insert into held_seats (subscription_id, seat, account_id, event_id)
select pg_temp.id('subscription', n), 1, pg_temp.id('account', n), pg_temp.id('assignment', n)
from generate_series(0, 24999) n where n % 100 < 84;
insert into seats_requests (request, subscription_id, customer, partner, seats, requested_by, requested_at, status)
select pg_temp.id('seats request', n), pg_temp.id('subscription', n),
    pg_temp.id('organisation', case when n < 1250 then 0 else 1 + n % 999 end),
    pg_temp.id('partner', case when n % 10 = 0 then 1 + n / 10 % 19 else 0 end), 3, pg_temp.id('account', n),
    timestamptz '2026-01-01' + n * interval '1 minute', (array['open', 'confirmed', 'declined', 'replaced'])[1 + n / 10 % 4]
from generate_series(0, 24999, 10) m, lateral (select m + m / 10 % 10 as n) as requests where n % 100 < 84;

-- marketplace_carts: fill the carts of a partner, a tenth of them open.
insert into carts (cart_id, partner, opened_by, status, opened_at, changed_at)
select pg_temp.id('cart', n), pg_temp.id('partner', 0), pg_temp.id('clerk', 0),
    case when n % 10 = 0 then 'open' else 'checked-out' end,
    timestamptz '2026-01-01' + n * interval '1 minute', timestamptz '2026-01-02' + n * interval '1 minute'
from generate_series(0, 8333) n;
with plans as (select array_agg(plan order by product_id) as plans, count(*)::int as count from catalogue)
insert into cart_lines (cart_id, line, plan, seats)
select pg_temp.id('cart', n), line, plans[1 + (n * 3 + line) * 7919 % count], 4
from generate_series(0, 8333) n, generate_series(1, 3) line, plans;

-- entitlements: fill entitlements' tables: pools with 100,000 assigned seats, a tenth of them in pool 1.
insert into pools (subscription_id, contract_id, customer, partner, publisher, product, product_name, seats, starts, ends,
    phase, until, update_csn, event_id, version, time_zone, begins_at, assigned,
    search)
select pg_temp.id('subscription', n), pg_temp.id('contract', customer * 3), pg_temp.id('organisation', customer),
    pg_temp.id('partner', case when n % 10 = 0 then 1 + n / 10 % 19 else 0 end),
    (array['autodesk', 'bentley', 'nemetschek'])[1 + n % 3], 'product-' || n * 7919 % 150, 'Product ' || n * 7919 % 150,
    case when n = 1 then 10000 else 4 end, starts, starts + 364,
    case
        when n % 100 < 84 then 'active' when n % 100 < 85 then 'expired' when n % 100 < 86 then 'suspended' else 'ended'
    end,
    starts + 364, case when n % 2 = 0 then '5100012345' end, pg_temp.id('pool', n), 1, 'Europe/Berlin', starts,
    case when n = 1 then 10000 when n % 100 in (1, 85) then 0 else 4 end,
    lower(concat_ws(E'\n', 'product-' || n * 7919 % 150, 'Product ' || n * 7919 % 150, pg_temp.id('subscription', n),
        pg_temp.id('contract', customer * 3)))
from (
    select n, case when n < 1250 then 0 else 1 + n % 999 end as customer, date '2026-01-01' + n * 7 % 700 as starts
    from generate_series(0, 24999) n where n % 100 < 90
) as bought;
insert into seats (subscription_id, seat, account_id, assigned_by, assigned_at, event_id)
select pg_temp.id('subscription', n), seat, pg_temp.id('account', case when n < 1250 then n % 50 * 4 else n * 4 end + seat),
    pg_temp.id('account', 1), timestamptz '2026-01-01' + n * interval '1 minute', pg_temp.id('assignment', n * 4 + seat)
from generate_series(0, 24999) n, generate_series(0, 3) seat where n <> 1 and n % 100 not in (1, 85) and n % 100 < 90;
insert into seats (subscription_id, seat, account_id, assigned_by, assigned_at, event_id)
select pg_temp.id('subscription', 1), n, pg_temp.id('account', n), pg_temp.id('account', 0),
    timestamptz '2026-01-01' + n * interval '1 minute', pg_temp.id('seat', n)
from generate_series(1, 10000) n;
insert into people (account_id, organisation_id, organisation_name, event_id)
select pg_temp.id('account', n), pg_temp.id('organisation', case when n < 5000 then 0 else 1 + n % 999 end), 'Planungsbüro',
    pg_temp.id('opening', n)
from generate_series(0, 99999) n;
insert into contracts (contract_id, customer, publisher, event_id)
select pg_temp.id('contract', n), pg_temp.id('organisation', n / 3), 'autodesk', pg_temp.id('contract opening', n)
from generate_series(0, 2999) n;
insert into credit_entries (contract_id, version, line, kind, grant_id, account_id, amount, reference, purpose, at,
    event_id)
select pg_temp.id('contract', c), n, 1, case when n % 20 = 1 then 'granted' else 'consumed' end,
    pg_temp.id('grant', n / 20), case when n % 20 <> 1 then pg_temp.id('account', n % 100) end,
    case when n % 20 = 1 then 100 else -5 end, pg_temp.id('reference', n), 'Rendering of building ' || n,
    timestamptz '2026-01-01' + n * interval '1 minute', pg_temp.id('entry', n)
from generate_series(0, 2999) c, lateral generate_series(1, case when c = 0 then 10000 else 20 end) n;

-- distribution: fill distribution's tables: contract 0 has most groups, decisions and rollouts.
insert into updates (publisher, update_id, product, kind, title, version, platform, severity, sha256, size_bytes,
    location, published_at, component, precedence, event_id)
select (array['autodesk', 'bentley', 'nemetschek'])[1 + n % 3], 'update-' || n, 'product-' || n % 150,
    case when n % 5 = 0 then 'extension' else 'update' end, 'Service pack ' || n, '2026.' || n, 'windows',
    (array['normal', 'critical'])[1 + n % 2], repeat('0', 64), 100000 + n, 'https://updates.example/' || n,
    timestamptz '2026-01-01' + n * interval '1 hour', 'part-' || n % 1000,
    lpad(n::text, 10, '0'), pg_temp.id('update', n)
from generate_series(0, 9999) n;
insert into owned_products (contract_id, subscription_id, customer, product, publisher, starts, ends, in_term, event_id,
    time_zone)
select pg_temp.id('contract', customer * 3), pg_temp.id('subscription', n), pg_temp.id('organisation', customer),
    'product-' || n * 7919 % 150, (array['autodesk', 'bentley', 'nemetschek'])[1 + n % 3], date '2026-01-01',
    date '2027-12-31', true, pg_temp.id('pool', n), 'Europe/Berlin'
from (
    select n, case when n < 1250 then 0 else 1 + n % 999 end as customer from generate_series(0, 24999) n where n % 100 < 90
) as bought;
insert into fleet_groups (contract_id, group_id, name, cadence, days)
select pg_temp.id('contract', c * 3), pg_temp.id('group', n), 'Floor ' || n, (array['off', 'monthly'])[1 + n % 2], n % 30
from generate_series(0, 999) c, lateral generate_series(1, case when c = 0 then 500 else 5 end) n;
insert into fleet_members (contract_id, account_id, group_id)
select pg_temp.id('contract', case when n < 5000 then 0 else 3 * (1 + n % 999) end), pg_temp.id('account', n),
    pg_temp.id('group', 1 + n % case when n < 5000 then 500 else 5 end)
from generate_series(0, 99999) n;
insert into fleet_decisions (contract_id, publisher, update_id, group_id, decision, starts_at, reason, decided_by,
    event_id)
select pg_temp.id('contract', c * 3), 'autodesk', 'update-' || n / 10, pg_temp.id('group', 1 + n % 10),
    (array['approved', 'held', 'scheduled'])[1 + n % 3], timestamptz '2026-01-01' + n * interval '1 minute',
    'Reason ' || n, pg_temp.id('account', 0), pg_temp.id('decision', n * 1000 + c)
from generate_series(0, 999) c, lateral generate_series(0, case when c = 0 then 19999 else 20 end) n;
insert into rollouts (rollout_id, contract_id, publisher, update_id, version, groups, phases, status, phase, started_by,
    event_id)
select pg_temp.id('rollout', n), pg_temp.id('contract', case when n < 1000 then 0 else n % 1000 * 3 end), 'autodesk',
    'update-' || n % 10000, '2026.' || n, array[pg_temp.id('group', 1 + n % 500)], '[]',
    (array['running', 'paused', 'completed', 'stopped'])[1 + n % 4], 0, pg_temp.id('account', 0),
    pg_temp.id('rollout start', n)
from generate_series(0, 2999) n;
insert into rollout_targets (rollout_id, account_id, group_id, phase)
select pg_temp.id('rollout', n), pg_temp.id('account', n * 100 % 5000 + t), pg_temp.id('group', 1 + n % 500), 0
from generate_series(0, 2999) n, generate_series(0, 99) t where n < 1000 or t < 10 order by n, t;
insert into rollout_installs (rollout_id, account_id, machine, succeeded, error, at)
select rollout_id, account_id, 'workstation', account_id < 'f', '', now() from rollout_targets
where rollout_id < '8' and account_id < 'f8';
insert into access_roles (contract_id, account_id, role, may_assign_seats, event_id)
select pg_temp.id('contract', c * 3), pg_temp.id('account', c), 'contract_manager', true, pg_temp.id('role', c)
from generate_series(0, 999) c;
insert into access_agreements (contract_id, subscription_id, kind, phase, event_id)
select pg_temp.id('contract', c * 3), pg_temp.id('subscription', c), 'desktop', 'running', pg_temp.id('agreement', c)
from generate_series(0, 999) c;
