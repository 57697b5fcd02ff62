-- add_secret: store a webhook's sealed secret, once for each rotation.
insert into webhook_secrets (webhook_id, rotation, sealed) values ($1, $2, $3) on conflict do nothing returning true;

-- secrets: list a webhook's sealed secrets of these rotations, the latest first.
select sealed from webhook_secrets where webhook_id = $1 and rotation = any($2::integer[]) order by rotation desc;

-- begin: set where a webhook begins, once.
insert into webhook_progress (webhook_id, position, resumes, replays) values ($1, $2, $3, $4) on conflict do nothing;

-- progress: return a webhook's progress.
select position, resumes, replays, failures, coalesce(paused_until <= clock_timestamp(), true) as open,
    (select count(*) from webhook_queue q where q.webhook_id = p.webhook_id) as queued
from webhook_progress p where webhook_id = $1;

-- enqueue: add events to a webhook's queue.
insert into webhook_queue (webhook_id, position, stream, event_id, body)
select $1, e.position, e.stream, e.event_id, e.body
from unnest($2::bigint[], $3::text[], $4::text[], $5::bytea[]) as e (position, stream, event_id, body)
on conflict do nothing;

-- advance: set up to where a webhook's events are queued.
update webhook_progress set position = $2 where webhook_id = $1 and position < $2;

-- due: list the first event of each stream whose time has come, the longest due first; not those of the streams $2.
select position, stream, event_id, body, tries from (
    select distinct on (stream) position, stream, event_id, body, tries, due
    from webhook_queue where webhook_id = $1 order by stream, position
) as heads
where due <= clock_timestamp() and not (stream = any($2::text[])) order by due, position limit $3;

-- accepted: remove an event that the address has accepted, and note that it answers. While another event fails, the last
-- answer stays that of a failure.
with done as (delete from webhook_queue where webhook_id = $1 and position = $2)
update webhook_progress set failures = 0, answered_at = clock_timestamp(), delivered_at = clock_timestamp(),
    last_answer = case when exists (
        select from webhook_queue where webhook_id = $1 and position <> $2 and failed_since is not null
    ) then last_answer else $3 end
where webhook_id = $1;

-- postpone: set the next attempt of an event, after a failed one; return how long it has failed, in seconds. Only what
-- concerns this event alone counts as a try ($6).
with noted as (
    update webhook_progress set last_answer = $5, answered_at = clock_timestamp() where webhook_id = $1
)
update webhook_queue set tries = tries + $6, due = clock_timestamp() + $3::interval,
    failed_since = coalesce(failed_since, $4::timestamptz)
where webhook_id = $1 and position = $2
returning extract(epoch from clock_timestamp() - failed_since)::float8;

-- hold: send nothing to a webhook for a while, one step longer than before; several answers at once are one step.
update webhook_progress set
    failures = case when coalesce(paused_until <= clock_timestamp(), true) then failures + 1 else failures end,
    paused_until = greatest(paused_until, clock_timestamp() + $2::interval)
where webhook_id = $1;

-- resume: let everything that waits be sent now.
with due as (
    update webhook_queue set due = clock_timestamp(), tries = 0, failed_since = null where webhook_id = $1
)
update webhook_progress set resumes = $2, failures = 0, paused_until = null where webhook_id = $1;

-- replay: go on after a position.
with emptied as (delete from webhook_queue where webhook_id = $1)
update webhook_progress set position = $2, resumes = $3, replays = $4, failures = 0, paused_until = null
where webhook_id = $1;

-- figures: count the events that wait for these webhooks, and the age of the oldest in seconds.
select count(*) as waiting,
    coalesce(extract(epoch from clock_timestamp() - min(queued_at)), 0)::float8 as oldest_s
from webhook_queue where webhook_id = any($1::text[]);

-- standing: list what became of the events of some webhooks.
select p.webhook_id, p.position, p.paused_until, p.last_answer, p.answered_at, p.delivered_at,
    (select count(*) from webhook_queue q where q.webhook_id = p.webhook_id) as waiting,
    (select min(q.position) from webhook_queue q where q.webhook_id = p.webhook_id) as first_waiting,
    (select min(q.failed_since) from webhook_queue q where q.webhook_id = p.webhook_id) as failing_since
from webhook_progress p where p.webhook_id = any($1::text[]);

-- forget_queues: delete what waits for webhooks that have ended.
delete from webhook_queue q using webhooks w where w.webhook_id = q.webhook_id and w.ended;

-- forget_secrets: delete the secrets of webhooks that have ended.
delete from webhook_secrets s using webhooks w where w.webhook_id = s.webhook_id and w.ended;
