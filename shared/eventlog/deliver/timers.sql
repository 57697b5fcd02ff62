-- carry_over: delete the timers of a rebuilt table ({new}.timers) whose commands exist, because they have fired, and
-- postpone those that are postponed in the live table. A command's id is the one that `derived_id` makes of 'timer', the
-- name, the key and the time.
with parts as (
    select name, key,
        to_char(due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
            || case when extract(microseconds from due)::bigint % 1000000 = 0 then ''
               else to_char(due at time zone 'UTC', '.US') end || '+00:00' as due,
        case when length(name) <= 71 then name
        else 'sha256-' || encode(sha256(convert_to(name, 'UTF8')), 'hex') end as short_name,
        case when length(key) <= 71 then key
        else 'sha256-' || encode(sha256(convert_to(key, 'UTF8')), 'hex') end as short_key
    from {new}.timers
), commands as (
    select name, key, case when length('timer:' || name || ':' || key || ':' || due) <= 500
        then 'timer:' || name || ':' || key || ':' || due
        else 'timer:' || short_name || ':' || short_key || ':' || due end as id
    from parts
)
delete from {new}.timers t using commands m, log.commands c
where t.name = m.name and t.key = m.key and c.id = m.id;
update {new}.timers t set due = l.due, first_due = l.first_due from engine.timers l
where l.name = t.name and l.key = t.key and l.set_by = t.set_by and l.first_due in (t.due, t.first_due);

-- cancel: delete a timer.
delete from engine.timers where name = $1 and key = $2;

-- set: set a timer, which replaces an earlier one.
insert into engine.timers (name, key, due, customer, set_by, correlation_id)
values ($1, $2, $3, $4, $5, $6)
on conflict (name, key) do update set due = excluded.due, customer = excluded.customer,
    set_by = excluded.set_by, correlation_id = excluded.correlation_id, first_due = null;

-- due: list the timers that are due in the time of their organisation, the earliest first.
select name, key, due, first_due, coalesce(c.ahead_s, 0) as ahead_s, set_by, correlation_id from (
    (select * from engine.timers where due <= $1 order by due limit $2)
    union
    (select t.* from engine.clocks c join engine.timers t on t.customer = c.organisation_id
     where c.ahead_s > 0 and t.due <= $1::timestamptz + c.ahead_s * interval '1 s' order by t.due limit $2)
) as due left join engine.clocks c on c.organisation_id = due.customer
order by due, key, name limit $2;

-- fired: delete the timers that have fired, unless they were set to another time since.
delete from engine.timers t using unnest($1::text[], $2::text[], $3::timestamptz[]) as f(name, key, due)
where (t.name, t.key, t.due) = (f.name, f.key, f.due);

-- postpone: postpone a timer that cannot be fired.
update engine.timers set due = $4, first_due = coalesce(first_due, due)
where name = $1 and key = $2 and due = $3;
