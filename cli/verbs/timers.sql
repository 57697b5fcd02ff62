-- timers: the timers that match, soonest first; `due` is by the organisation's clock, `due_real` by the real one.
select t.name, t.key, t.due, t.customer, t.set_by, t.correlation_id, coalesce(c.ahead_s, 0) as ahead_s,
    t.due - coalesce(c.ahead_s, 0) * interval '1 s' as due_real
from engine.timers t left join engine.clocks c on c.organisation_id = t.customer
where ($1::text is null or t.customer = $1) and ($2::text is null or t.name = $2 or t.name like $2 || ':%')
  and (not $3 or t.due <= clock_timestamp() + coalesce(c.ahead_s, 0) * interval '1 s')
order by due_real, t.name, t.key limit $4;

-- clocks: the organisations whose clocks were moved.
select organisation_id, ahead_s from engine.clocks order by organisation_id;

-- count: count the timers.
select count(*) from engine.timers;

-- count_due: count an organisation's timers that are due up to a time.
select count(*) from engine.timers where customer = $1 and due <= $2;
