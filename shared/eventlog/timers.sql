-- carry_over: of a rebuilt table ({new}.timers), deletes the timers that have fired: the ids of their commands are known.
-- The id is the one that `derived_id` makes of 'timer', the name, the key and the time. One that was put off stays so.
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
-- put_off: of a rebuilt table, puts off again those that are put off in the live one.
update {new}.timers t set due = l.due, first_due = l.first_due from engine.timers l
where l.name = t.name and l.key = t.key and l.set_by = t.set_by and l.first_due in (t.due, t.first_due);
