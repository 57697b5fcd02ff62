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
