-- keep: keep what a route refused, or its latest refusal of the same command.
insert into engine.refusals (id, request, refusal, time) values ($1, $2, $3, $4)
on conflict (id) do update set request = excluded.request, refusal = excluded.refusal, time = excluded.time;

-- one: read the refusal of a command, the latest if a route has refused it, too; of this account ($2, null for anybody).
select id, stream, '' as request, refusal::text, time from log.commands
where id = $1 and refusal is not null and ($2::text is null or split_part(id, ':', 1) = $2)
union all
select id, '', request, refusal::text, time from engine.refusals
where id = $1 and ($2::text is null or split_part(id, ':', 1) = $2)
order by time desc limit 1;

-- of_account: list the refusals of an account's commands before a time and an id, the newest first.
(select id, stream, '' as request, refusal::text, time from log.commands
 where refusal is not null and split_part(id, ':', 1) = $1 and (time, id) < (coalesce($2, 'infinity'::timestamptz), $3)
 order by time desc, id desc limit $4)
union all
(select id, '', request, refusal::text, time from engine.refusals
 where split_part(id, ':', 1) = $1 and (time, id) < (coalesce($2, 'infinity'::timestamptz), $3)
 order by time desc, id desc limit $4)
order by time desc, id desc limit $4;

-- of_all: list the refusals of all commands before a time and an id, the newest first.
(select id, stream, '' as request, refusal::text, time from log.commands
 where refusal is not null and (time, id) < (coalesce($1, 'infinity'::timestamptz), $2)
 order by time desc, id desc limit $3)
union all
(select id, '', request, refusal::text, time from engine.refusals
 where (time, id) < (coalesce($1, 'infinity'::timestamptz), $2)
 order by time desc, id desc limit $3)
order by time desc, id desc limit $3;
