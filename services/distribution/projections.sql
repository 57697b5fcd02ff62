-- publish_update: add an update.
insert into updates (publisher, update_id, product, kind, title, version, platform, severity, sha256,
    size_bytes, location, published_at, component, precedence, event_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15);

-- withdraw_update: set the reason why the publisher withdrew the update.
update updates set withdrawn = $3 where publisher = $1 and update_id = $2;

-- own_product: add a product that a contract owns by a subscription.
insert into owned_products (contract_id, subscription_id, customer, product, publisher, starts, ends, in_term,
    event_id, time_zone)
values ($1, $2, $3, $4, $5, $6, $7, true, $8, $9);

-- renew_product: set the end of the subscription's new term.
update owned_products set ends = $2, in_term = true where subscription_id = $1;

-- expire_product: set that the subscription's term is over.
update owned_products set in_term = false where subscription_id = $1;

-- end_product: remove the product that the contract owned by the subscription.
delete from owned_products where subscription_id = $1;

-- create_group: add a group.
insert into fleet_groups (contract_id, group_id, name) values ($1, $2, $3);

-- set_policy: set a group's policy; the default group has no row before its first one.
insert into fleet_groups (contract_id, group_id, cadence, period, days, critical_period, critical_days,
    windows, policy_set_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (contract_id, group_id) do update set cadence = excluded.cadence, period = excluded.period,
    days = excluded.days, critical_period = excluded.critical_period, critical_days = excluded.critical_days,
    windows = excluded.windows, policy_set_by = excluded.policy_set_by;

-- put_in_group: put a user in a group.
insert into fleet_members (contract_id, account_id, group_id) values ($1, $2, $3)
on conflict (contract_id, account_id) do update set group_id = excluded.group_id;

-- remove_from_group: take a user out of their group.
delete from fleet_members where contract_id = $1 and account_id = $2;

-- decide: set the latest decision about an update for these groups.
insert into fleet_decisions (contract_id, publisher, update_id, group_id, decision, starts_at, reason,
    rollout_id, decided_by, event_id)
select $1, $2, $3, unnest($4::text[]), $5, $6, $7, $8, $9, $10
on conflict (contract_id, publisher, update_id, group_id) do update set decision = excluded.decision,
    starts_at = excluded.starts_at, reason = excluded.reason, rollout_id = excluded.rollout_id,
    decided_by = excluded.decided_by, event_id = excluded.event_id;

-- add_history: add an event to the rollout's history.
insert into rollout_history (rollout_id, version, type, at, actor, data, event_id)
values ($1, $2, $3, $4, $5, $6, $7);

-- set_phase: set the rollout's current phase, from 0.
update rollouts set phase = $2 where rollout_id = $1;

-- complete: set that every phase was passed.
update rollouts set completed = true where rollout_id = $1;

-- remove_targets: remove all present targets, with the reason.
update rollout_targets set removed = $2 where rollout_id = $1 and removed is null;

-- start_rollout: add a rollout, before its first phase.
insert into rollouts (rollout_id, contract_id, publisher, update_id, version, groups, phases, status, phase,
    started_by, event_id)
values ($1, $2, $3, $4, $5, $6, $7, 'running', -1, $8, $9);

-- set_status: set the rollout's status; one that is resumed after its last phase was passed is completed.
update rollouts
set status = case when completed and $2 = 'running' then 'completed' else $2 end, reason = $3
where rollout_id = $1;

-- remove_target: remove a target, with the reason.
update rollout_targets set removed = $3 where rollout_id = $1 and account_id = $2;

-- add_target: make the user a target, in this phase.
insert into rollout_targets (rollout_id, account_id, group_id, phase) values ($1, $2, $3, $4)
on conflict (rollout_id, account_id) do update set group_id = excluded.group_id, phase = excluded.phase,
    removed = null;

-- report_install: set the latest report of a user's machine.
insert into rollout_installs (rollout_id, account_id, machine, succeeded, error, at)
values ($1, $2, $3, $4, $5, $6)
on conflict (rollout_id, account_id, machine) do update set succeeded = excluded.succeeded,
    error = excluded.error, at = excluded.at;

-- exclude: exclude a user, or one machine of theirs, from the rollout.
insert into rollout_exclusions (rollout_id, account_id, machine, reason, excluded_by) values ($1, $2, $3, $4, $5)
on conflict (rollout_id, account_id, machine) do update set reason = excluded.reason,
    excluded_by = excluded.excluded_by;

-- forget_failures: delete the reports of machines that failed.
delete from rollout_installs where rollout_id = $1 and not succeeded;
