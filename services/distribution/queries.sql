-- owned_products: list the products that a contract owns; `in_term` is true before the first term begins, too.
select product, publisher, starts, in_term from owned_products where contract_id = $1;

-- available_updates: list the updates of these products, publishers and kinds, without superseded ones, after $4.
select u.publisher, u.update_id, u.product, u.kind, u.title, u.version, u.platform, u.severity, u.sha256, u.size_bytes,
    u.location, u.published_at, u.component, u.event_id
from updates u
where u.withdrawn is null
    and exists (
        select from unnest($1::text[], $2::text[], $3::text[]) as visible (product, publisher, kind)
        where visible.product = u.product and visible.publisher in ('', u.publisher) and visible.kind = u.kind
    )
    and not exists (
        select from updates newer
        where newer.withdrawn is null and newer.precedence > u.precedence
            and (newer.publisher, newer.product, newer.component, newer.platform, newer.kind)
                = (u.publisher, u.product, u.component, u.platform, u.kind)
    )
    and u.event_id > $4
order by u.event_id limit $5;

-- available_update: read an update, by publisher ($4) and id ($5), if `available_updates` lists it.
select u.publisher, u.update_id, u.product, u.kind, u.title, u.version, u.platform, u.severity, u.sha256, u.size_bytes,
    u.location, u.published_at, u.component, u.event_id
from updates u
where u.withdrawn is null
    and exists (
        select from unnest($1::text[], $2::text[], $3::text[]) as visible (product, publisher, kind)
        where visible.product = u.product and visible.publisher in ('', u.publisher) and visible.kind = u.kind
    )
    and not exists (
        select from updates newer
        where newer.withdrawn is null and newer.precedence > u.precedence
            and (newer.publisher, newer.product, newer.component, newer.platform, newer.kind)
                = (u.publisher, u.product, u.component, u.platform, u.kind)
    )
    and u.publisher = $4 and u.update_id = $5;

-- rollouts: list a contract's rollouts after $2, and how many of each rollout's targets have installed the update.
select r.*, r.phase + 1 as phase, count(t.account_id)::int as targets,
    count(*) filter (where i.failed = 0)::int as succeeded, count(*) filter (where i.failed > 0)::int as failed
from rollouts r
left join rollout_targets t on t.rollout_id = r.rollout_id and t.removed is null
left join (
    select rollout_id, account_id, count(*) filter (where not succeeded) as failed
    from rollout_installs group by rollout_id, account_id
) i on i.rollout_id = t.rollout_id and i.account_id = t.account_id
where r.contract_id = $1 and r.event_id > $2 group by r.rollout_id order by r.event_id limit $3;

-- rollout: read one of a contract's rollouts ($2), as `rollouts` does.
select r.*, r.phase + 1 as phase, count(t.account_id)::int as targets,
    count(*) filter (where i.failed = 0)::int as succeeded, count(*) filter (where i.failed > 0)::int as failed
from rollouts r
left join rollout_targets t on t.rollout_id = r.rollout_id and t.removed is null
left join (
    select rollout_id, account_id, count(*) filter (where not succeeded) as failed
    from rollout_installs group by rollout_id, account_id
) i on i.rollout_id = t.rollout_id and i.account_id = t.account_id
where r.contract_id = $1 and r.rollout_id = $2 group by r.rollout_id;

-- groups: list a contract's groups with their members, the default group ($2) first, even without a row.
with every as (
    select * from fleet_groups where contract_id = $1
    union all
    select $1, $2, 'default', 'off', null, 0, null, 0, '[]', null
    where not exists (select from fleet_groups where contract_id = $1 and group_id = $2))
select g.*, coalesce((select array_agg(m.account_id order by m.account_id) from fleet_members m
    where m.contract_id = $1 and m.group_id = g.group_id), '{}') as members
from every g order by g.group_id <> $2, g.name, g.group_id;

-- decisions: list the latest decisions after the cursor $2, in the order of the decisions.
select publisher, update_id, group_id, decision, starts_at, reason, rollout_id, decided_by, event_id,
    event_id || ' ' || group_id as cursor
from fleet_decisions where contract_id = $1 and event_id || ' ' || group_id > $2 order by cursor limit $3;

-- targets: list the rollout's targets, with their machines' results.
select t.account_id, t.group_id, t.phase + 1 as phase, t.removed,
    count(*) filter (where i.succeeded)::int as succeeded,
    count(*) filter (where not i.succeeded)::int as failed
from rollout_targets t
left join rollout_installs i using (rollout_id, account_id) where t.rollout_id = $1
group by t.rollout_id, t.account_id order by t.phase, t.account_id;

-- history: list the rollout's events.
select * from rollout_history where rollout_id = $1 order by version;

-- my_updates: list the updates that a user's machine ($2) should install; $3 is the default group's id.
select r.rollout_id, g.windows, u.*
from rollout_targets t
join rollouts r using (rollout_id)
join updates u on u.publisher = r.publisher and u.update_id = r.update_id and u.withdrawn is null
left join fleet_members m on m.contract_id = r.contract_id and m.account_id = t.account_id
left join fleet_groups g on g.contract_id = r.contract_id and g.group_id = coalesce(m.group_id, $3)
where t.account_id = $1 and t.removed is null and t.phase <= r.phase and r.status in ('running', 'completed')
    and not exists (
        select from rollout_installs i
        where i.rollout_id = r.rollout_id and i.machine = $2 and i.account_id = t.account_id and i.succeeded
    )
order by r.event_id;
