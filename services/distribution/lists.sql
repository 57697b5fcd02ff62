-- owned_products: list the products that a contract owns; `in_term` is true before the first term begins, too. Of several
-- subscriptions to a product the one that started first shows the most.
select product, publisher, min(starts) as starts, time_zone, in_term from owned_products where contract_id = $1
group by product, publisher, time_zone, in_term;

-- available_updates: list the updates of these products ($6), publishers ($7) and kinds ($8), without superseded ones: of
-- this product ($9), publisher ($10), kind ($11), severity ($12) and platform ($13), null for any, with the text $14, and
-- with this id ($15), null for any; those of which something was decided so ($17) for the contract $16, "none" for nothing,
-- null for any.
select u.event_id, u.published_at, u.product, u.title, u.severity, u.size_bytes
from updates u
where u.withdrawn is null
    and (
        (u.product, u.publisher, u.kind) in (select * from unnest($6::text[], $7::text[], $8::text[]))
        or (u.product, u.kind) in (
            select product, kind from unnest($6::text[], $7::text[], $8::text[]) as visible (product, publisher, kind)
            where publisher = ''
        )
    )
    and not exists (
        select from updates newer
        where newer.withdrawn is null and newer.precedence > u.precedence
            and (newer.publisher, newer.product, newer.component, newer.platform, newer.kind)
                = (u.publisher, u.product, u.component, u.platform, u.kind)
    )
    and ($9::text is null or u.product = $9) and ($10::text is null or u.publisher = $10)
    and ($11::text is null or u.kind = $11) and ($12::text is null or u.severity = $12)
    and ($13::text is null or u.platform = $13)
    and (
        $14 = '%%' or u.title ilike $14 or u.product ilike $14 or u.version ilike $14 or u.update_id ilike $14
    )
    and ($15::text is null or u.update_id = $15)
    and (
        $17::text is null
        or $17 = 'none' and (u.publisher, u.update_id) not in (
            select publisher, update_id from fleet_decisions where contract_id = $16
        )
        or (u.publisher, u.update_id) in (
            select publisher, update_id from fleet_decisions where contract_id = $16 and decision = $17
        )
    );

-- update_rows: read the updates that these events published, with the groups of the contract $2 by decision.
select u.publisher, u.update_id, u.product, u.kind, u.title, u.version, u.platform, u.severity, u.sha256, u.size_bytes,
    u.location, u.published_at, u.component, u.event_id,
    array(
        select older.version from updates older
        where older.withdrawn is null and older.precedence < u.precedence
            and (older.publisher, older.product, older.component, older.platform, older.kind)
                = (u.publisher, u.product, u.component, u.platform, u.kind)
        order by older.precedence desc limit 20
    ) as supersedes,
    coalesce(d.approved, '{}') as approved, coalesce(d.held, '{}') as held, coalesce(d.scheduled, '{}') as scheduled
from updates u
left join lateral (
    select array_agg(group_id order by group_id) filter (where decision = 'approved') as approved,
        array_agg(group_id order by group_id) filter (where decision = 'held') as held,
        array_agg(group_id order by group_id) filter (where decision = 'scheduled') as scheduled
    from fleet_decisions
    where contract_id = $2 and publisher = u.publisher and update_id = u.update_id
) d on true
where u.event_id = any($1::text[]);

-- rollouts: list the rollouts of the contract $6 and how many of each rollout's targets have installed the update: those
-- of this status ($7), publisher ($8), update ($9) and group ($10), with the text $11, and with the id $12, null for any.
-- Product and title are the update's, whose row may be missing while the tables are rebuilt. Each number is a query of its own, since only that of the order is
-- counted for rollouts that the page does not show.
select r.rollout_id, r.publisher, r.update_id, coalesce(u.product, '') as product, coalesce(u.title, r.update_id) as title,
    r.version, r.groups, r.phases, r.status, r.phase + 1 as phase, r.reason, r.started_by, r.event_id, (
        select count(*)::int from rollout_targets t
        where t.rollout_id = r.rollout_id and t.removed is null and not exists (
            select from rollout_exclusions x
            where x.rollout_id = r.rollout_id and x.account_id = t.account_id and x.machine = ''
        )
    ) as targets, (
        select count(*)::int from (
            select i.account_id from rollout_installs i
            where i.rollout_id = r.rollout_id and not exists (
                select from rollout_exclusions x
                where x.rollout_id = r.rollout_id and x.account_id = i.account_id and x.machine in ('', i.machine)
            )
            group by i.account_id having bool_and(i.succeeded)
        ) as i
        join rollout_targets t on t.rollout_id = r.rollout_id and t.account_id = i.account_id and t.removed is null
    ) as succeeded, (
        select count(distinct i.account_id)::int
        from rollout_installs i join rollout_targets t using (rollout_id, account_id)
        where i.rollout_id = r.rollout_id and not i.succeeded and t.removed is null and not exists (
            select from rollout_exclusions x
            where x.rollout_id = r.rollout_id and x.account_id = i.account_id and x.machine in ('', i.machine)
        )
    ) as failed
from rollouts r
left join updates u using (publisher, update_id)
where r.contract_id = $6 and ($7::text is null or r.status = $7) and ($8::text is null or r.publisher = $8)
    and ($9::text is null or r.update_id = $9) and ($10::text is null or $10 = any(r.groups))
    and (
        $11 = '%%' or r.update_id ilike $11 or u.title ilike $11 or r.version ilike $11 or r.reason ilike $11
        or r.rollout_id ilike $11
    )
    and ($12::text is null or r.rollout_id = $12);

-- groups: list the groups of the contract $6 with their members, the default group ($7) first, even without a row: those
-- of the user $8, "" for nobody, null for any, with the text $9 in their name.
with every as (
    select * from fleet_groups where contract_id = $6
    union all
    select $6, $7, 'default', 'off', null, 0, null, 0, '[]', null
    where not exists (select from fleet_groups where contract_id = $6 and group_id = $7)
)
select g.*, case when g.group_id = $7 then '' else g.name end as by_name,
    coalesce((select array_agg(m.account_id order by m.account_id) from fleet_members m
        where m.contract_id = $6 and m.group_id = g.group_id), '{}') as members
from every g
where ($8::text is null or $8 <> '' and g.group_id = coalesce(
        (select m.group_id from fleet_members m where m.contract_id = $6 and m.account_id = $8), $7))
    and ($9 = '%%' or g.name ilike $9);

-- decisions: list the latest decisions of the contract $6: of this group ($7), decision ($8), publisher ($9) and update
-- ($10), null for any, with the text $11.
select publisher, update_id, group_id, decision, starts_at, reason, rollout_id, decided_by, event_id,
    event_id || ' ' || group_id as cursor, coalesce(starts_at, '9000-01-01T00:00Z') as by_starts_at
from fleet_decisions
where contract_id = $6 and ($7::text is null or group_id = $7) and ($8::text is null or decision = $8)
    and ($9::text is null or publisher = $9) and ($10::text is null or update_id = $10)
    and ($11 = '%%' or update_id ilike $11 or reason ilike $11);

-- my_updates: list the updates that a user's machine ($2) should install, or, with $4, those of every rollout of the user
-- that is not stopped; $3 is the default group's id.
select r.rollout_id, g.windows, t.phase <= r.phase as begun, r.status = 'paused' as paused,
    array(
        select machine from rollout_installs i
        where i.rollout_id = r.rollout_id and i.account_id = t.account_id and i.succeeded order by machine
    ) as installed_on,
    array(
        select machine from rollout_installs i
        where i.rollout_id = r.rollout_id and i.account_id = t.account_id and not i.succeeded order by machine
    ) as failed_on, u.*
from rollout_targets t
join rollouts r using (rollout_id)
join updates u on u.publisher = r.publisher and u.update_id = r.update_id and u.withdrawn is null
left join fleet_members m on m.contract_id = r.contract_id and m.account_id = t.account_id
left join fleet_groups g on g.contract_id = r.contract_id and g.group_id = coalesce(m.group_id, $3)
where t.account_id = $1 and t.removed is null and r.status in ('running', 'completed', 'paused')
    and ($4 or t.phase <= r.phase and r.status <> 'paused')
    and not exists (
        select from rollout_installs i
        where i.rollout_id = r.rollout_id and i.machine = $2 and i.account_id = t.account_id and i.succeeded
    )
    and not exists (
        select from rollout_exclusions x
        where x.rollout_id = r.rollout_id and x.account_id = t.account_id and x.machine in ('', $2)
    )
order by r.event_id;
