-- standing: how far a store and its relay are, why the store takes no commands, and whether a restore runs now, which
-- holds a lock (see `alone` in shared/eventlog/repair/restore.sql).
select h.position, h.fenced, coalesce(r.position, 0) as relayed, exists (
        select from pg_locks
        where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
            and objsubid = 1 and (classid::bigint << 32 | objid::bigint) = hashtext('tenure restore')::bigint
    ) as runs
from log.head h left join engine.leases r on r.name like 'relay:%';
