-- terms: count the running terms that end within 90 days (in UTC), by the days until then and by whether they renew;
-- those of sandboxes follow other clocks and are left out.
select p.first_day, p.last_day,
    count(s.*) filter (where s.auto_renew = 'on') as renewing,
    count(s.*) filter (where s.auto_renew = 'asked') as asked,
    count(s.*) filter (where s.auto_renew = 'off') as ending
from (values (0, 6), (7, 29), (30, 59), (60, 89)) as p (first_day, last_day)
left join subscriptions s on s.status = 'confirmed' and left(s.customer, 8) <> 'sandbox-'
    and s.ends between (now() at time zone 'UTC')::date + p.first_day and (now() at time zone 'UTC')::date + p.last_day
group by p.first_day, p.last_day order by p.first_day;

-- rollouts: read the rollouts under way, the paused ones first, and how many of their users have reported what.
select r.rollout_id, r.contract_id, r.publisher, r.update_id, r.version, r.status, r.reason, r.phase + 1 as phase,
    jsonb_array_length(r.phases) as phases, count(*) over () as number, u.title,
    (select count(*) from rollout_targets t where t.rollout_id = r.rollout_id and t.removed is null) as targets,
    (select count(*) from (
        select from rollout_installs i join rollout_targets t using (rollout_id, account_id)
        where i.rollout_id = r.rollout_id and t.removed is null group by i.account_id having bool_and(i.succeeded)
    )) as succeeded,
    (select count(distinct i.account_id) from rollout_installs i join rollout_targets t using (rollout_id, account_id)
     where i.rollout_id = r.rollout_id and t.removed is null and not i.succeeded) as failed
from rollouts r left join updates u using (publisher, update_id)
where r.status in ('running', 'paused')
order by r.status = 'paused' desc, r.event_id desc limit $1;
