-- open: read this consumer's rebuild that has begun and has not switched.
select * from engine.rebuilds where consumer = $1 and state in ('folding', 'differs');

-- known: tell whether this consumer has ever run.
select exists (select from engine.checkpoints where consumer = $1);

-- begin: note a new rebuild.
insert into engine.rebuilds (consumer, source, workers, folds, upto)
select $1, $2, $3, $4, position from log.head
returning *;

-- total: count the events of streams that this consumer has processed.
select coalesce(sum(version), 0) from engine.seen where consumer = $1;

-- versions: read how far the live consumer is in these streams.
select stream, version from engine.seen where consumer = $1 and stream = any($2::text[]);

-- offsets: read how far the live consumer is in the partitions of these topics.
select topic, partition, "offset" from engine.checkpoints where consumer = $1 and topic = any($2::text[]);

-- stop: lock the live consumer's checkpoints, so that it waits.
select "offset" from engine.checkpoints where consumer = $1 order by topic, partition for update;

-- missing: find a stream that is not folded as far as the live consumer has processed it.
select l.stream, l.version as live, coalesce(s.version, 0) as new from engine.seen l
left join {schema}._seen s using (stream)
where l.consumer = $1 and l.version <> coalesce(s.version, 0) limit 1;

-- differs: note that live and new tables differ.
update engine.rebuilds set state = 'differs', tables = $2::text::jsonb, detail = $3 where id = $1;

-- switched: note that the rebuild has switched.
update engine.rebuilds set state = 'switched', tables = $2::text::jsonb, detail = '', ended = clock_timestamp()
where id = $1;

-- end: note that a rebuild's tables are dropped.
update engine.rebuilds set state = $2, ended = coalesce(ended, clock_timestamp()) where id = $1;

-- grants: list the statements that grant others the rights on a table that they have on another.
select format('grant %s on %s to %s', string_agg(privilege_type, ', '), $2::text,
              case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end) as statement
from pg_class, aclexplode(relacl) where oid = $1::text::regclass and grantee <> relowner
group by grantee;

-- unpark: settle the parked events of types that were unknown, once they are folded; keep a copy.
with gone as (
    delete from engine.parked p using {schema}._seen s
    where p.consumer = $1 and p.reason = 'unknown-type' and s.stream = p.stream and s.version >= p.version
    and exists (
        select from jsonb_array_elements(p.headers) h
        where h->>0 = 'ce_type' and decode(h->>1, 'base64') = any($2::bytea[])
    )
    returning p.*
)
insert into engine.settled (consumer, topic, partition, "offset", stream, version, reason, detail, holds_stream, key,
                         headers, value, time, outcome, operation)
select consumer, topic, partition, "offset", stream, version, reason, detail, holds_stream, key, headers, value, time,
       'applied', $3
from gone;

-- alone: lock out other rebuilds of this consumer until the connection ends; false if another one is running.
select pg_try_advisory_lock(hashtext('rebuild'), hashtext($1));

-- drop: drop the new tables, or the old ones.
drop schema {schema} cascade;

-- read_again: forget how far the topics were read.
delete from _progress where source <> $1;

-- snapshot: take the transaction's snapshot, as any first statement does.
select count(*) from log.head;

-- impatient: wait for readers for less time than `deadlock_timeout`.
set local lock_timeout = '500ms';

-- lock: lock a table against readers.
lock table {schema}.{table} in access exclusive mode;

-- keep: make the schema that keeps the old tables.
create schema {schema};

-- move: move a table to another schema.
alter table {schema}.{table} set schema {to};

-- state: read a rebuild's state, and lock it.
select state from engine.rebuilds where id = $1 for update;
