-- available_update: read an update, by publisher ($4) and id ($5), if `available_updates` in lists.sql finds it.
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

-- rollout: read one of a contract's rollouts ($2), as `rollouts` in lists.sql does.
select r.*, r.phase + 1 as phase, count(t.account_id)::int as targets,
    count(*) filter (where i.failed = 0)::int as succeeded, count(*) filter (where i.failed > 0)::int as failed
from rollouts r
left join rollout_targets t on t.rollout_id = r.rollout_id and t.removed is null
    and not exists (
        select from rollout_exclusions x
        where x.rollout_id = t.rollout_id and x.account_id = t.account_id and x.machine = ''
    )
left join (
    select rollout_id, account_id, count(*) filter (where not succeeded) as failed
    from rollout_installs left join rollout_exclusions x using (rollout_id, account_id, machine)
    where x.reason is null group by rollout_id, account_id
) i on i.rollout_id = t.rollout_id and i.account_id = t.account_id
where r.contract_id = $1 and r.rollout_id = $2 group by r.rollout_id;

-- targets: list the rollout's targets, with their machines' results.
select t.account_id, t.group_id, t.phase + 1 as phase, t.removed, e.reason as excluded,
    count(*) filter (where i.succeeded)::int as succeeded,
    count(*) filter (where not i.succeeded)::int as failed,
    coalesce(jsonb_agg(jsonb_build_object('machine', i.machine, 'succeeded', i.succeeded, 'error', i.error,
        'at', i.at, 'excluded', x.reason) order by i.machine) filter (where i.machine is not null), '[]') as machines
from rollout_targets t
left join rollout_exclusions e on e.rollout_id = t.rollout_id and e.account_id = t.account_id and e.machine = ''
left join rollout_installs i on i.rollout_id = t.rollout_id and i.account_id = t.account_id
left join rollout_exclusions x
    on x.rollout_id = i.rollout_id and x.account_id = i.account_id and x.machine = i.machine
where t.rollout_id = $1
group by t.rollout_id, t.account_id, e.reason order by t.phase, t.account_id;

-- history: list the rollout's events.
select * from rollout_history where rollout_id = $1 order by version;

-- has_group: return whether a contract has a group.
select true from fleet_groups where contract_id = $1 and group_id = $2;
