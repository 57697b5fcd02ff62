-- keep: keep what a route refused, or its latest refusal of the same command.
insert into engine.refusals (id, request, refusal, time) values ($1, $2, $3, $4)
on conflict (id) do update set request = excluded.request, refusal = excluded.refusal, time = excluded.time;

-- prune: delete refusals of routes from before $1, the oldest first, at most $2, and count them.
with old as (
    select id from engine.refusals where time < $1 order by time, id limit $2
), gone as (
    delete from engine.refusals r using old where r.id = old.id and r.time < $1 returning 1
)
select count(*) from gone;

-- one: read the refusal of a command, the latest if a route has refused it, too; of this account ($2, null for anybody).
select id, stream, '' as request, refusal::text, time from log.commands
where id = $1 and refusal is not null and ($2::text is null or split_part(id, ':', 1) = $2)
union all
select id, '', request, refusal::text, time from engine.refusals
where id = $1 and ($2::text is null or split_part(id, ':', 1) = $2)
order by time desc limit 1;

-- refusals: list the refusals of an account's commands ($6), of a rule ($7), null for all, with the text $8 in their
-- reason. Filters are outside of the union: inside of it they would keep its rows from being read in the indexes' order.
select *
from (
    select id, stream, '' as request, refusal::text as refusal, time, refusal ->> 'rule' as rule,
        refusal ->> 'reason' as reason, split_part(id, ':', 1) as sender
    from log.commands where refusal is not null
    union all
    select id, '', request, refusal::text, time, refusal ->> 'rule', refusal ->> 'reason', split_part(id, ':', 1)
    from engine.refusals
) as refusals
where ($6::text is null or sender = $6) and ($7::text is null or rule = $7) and ($8 = '%%' or reason ilike $8);
