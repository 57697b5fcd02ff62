-- service: a service's head, its relay's checkpoint, and the numbers of parked records and timers.
select h.position as head, h.fenced, r.position as relayed, r.owner, r.until > clock_timestamp() as led,
    extract(epoch from clock_timestamp() - (select time from log.events where position = r.position + 1))::float8
        as relay_behind_s,
    (select count(*) from engine.parked) as parked,
    (select count(*) from engine.timers) as timers,
    (select count(*) from engine.timers t left join engine.clocks c on c.organisation_id = t.customer
     where t.due <= clock_timestamp() + coalesce(c.ahead_s, 0) * interval '1 s') as due,
    pg_database_size(current_database()) as bytes
from log.head h left join engine.leases r on r.name like 'relay:%';

-- horizon: the open transactions of other sessions that have written in this database, or that hold or wait for the
-- head's row, and how many appends wait for each of them. Transactions that only read are left out, and so are those of
-- this command. An append waits for the head's row, or holds it and waits for another lock: it is counted for the
-- transaction at the end of that queue.
with recursive heads as (
    select distinct pid from pg_locks
    where database = (select oid from pg_database where datname = current_database())
      and relation = 'log.head'::regclass and mode not in ('AccessShareLock', 'ShareUpdateExclusiveLock')
), waiting as (
    select l.pid, extract(epoch from clock_timestamp() - min(l.waitstart))::float8 as waits_s
    from pg_locks l join heads using (pid) where not l.granted group by l.pid
), queue (first, pid, waits_s) as (
    select w.pid, b.pid, w.waits_s from waiting w, unnest(pg_blocking_pids(w.pid)) as b(pid)
    union
    select q.first, b.pid, q.waits_s from queue q, unnest(pg_blocking_pids(q.pid)) as b(pid)
), blocking as (
    select pid, count(distinct first) as blocks, max(waits_s) as waits_s from queue
    where cardinality(pg_blocking_pids(pid)) = 0 group by pid
)
select coalesce(a.pid, b.pid) as pid, coalesce(a.application_name, '') as application, coalesce(a.usename, '') as user,
    coalesce(a.state, 'in an unknown state') as state,
    coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8 as age_s,
    coalesce(extract(epoch from clock_timestamp() - a.state_change), 0)::float8 as state_s,
    coalesce(a.pid in (select pid from heads), true) as head,
    coalesce(b.blocks, 0) as blocks, coalesce(b.waits_s, 0) as waits_s
from pg_stat_activity a full join blocking b using (pid)
where b.pid is not null or (
    a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
    and a.xact_start is not null and (a.backend_xid is not null or a.pid in (select pid from heads)));

-- checkpoints: each consumer's checkpoints, and its number of parked records.
select consumer, topic, partition, "offset", time,
    (select count(*) from engine.parked p where p.consumer = c.consumer) as parked
from engine.checkpoints c order by consumer, topic, partition;
