-- fenced: read why the log takes no events, if it takes none.
select fenced from log.head;

-- parked: count the parked records.
select count(*) from engine.parked;

-- held: count a consumer's parked records that hold their streams.
select count(*) from engine.parked where consumer = $1 and holds_stream;

-- head: read the last position, and the chain there.
select position, chain from log.head;

-- has_log: tell whether the database has a log: null where it has none.
select to_regclass('log.head');

-- alone: lock out other restores until the connection ends; false if another one is running.
select pg_try_advisory_lock(hashtext('tenure restore'));

-- runs: tell whether a restore has this lock now.
select exists (
    select from pg_locks
    where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
        and objsubid = 1 and (classid::bigint << 32 | objid::bigint) = hashtext('tenure restore')::bigint
) as runs;

-- done: release the lock, so that others can restore.
select pg_advisory_unlock(hashtext('tenure restore'));
