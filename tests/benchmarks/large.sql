-- filled: read the position of a store's last event.
select position from log.head;

-- forget: forget what was published and consumed when a former run had this store, with a Kafka that is gone.
update log.head set fenced = null;
delete from engine.leases;
delete from engine.checkpoints;
delete from engine.seen;

-- begin: empty the log and drop its indexes: to make them of all rows at once takes a tenth of the time.
truncate log.events, log.commands, log.batches;
alter table log.events drop constraint events_pkey, drop constraint events_stream_version_key;
alter table log.commands drop constraint commands_pkey;
alter table log.batches drop constraint batches_pkey;

-- events: insert the events of these windows: 1,000 streams of 10 events each, two of each command. Their hashes fit, so
-- that the store can be verified.
insert into log.events (position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant,
    traceparent, prevhash, hash, command_id, data)
select w * 10000 + (v - 1) / 2 * 2000 + s * 2 + (v - 1) % 2 + 1, stream, v, id::uuid, 'SeatAssigned', 1,
    '2026-01-01T00:00:00Z', id, cause, tenant, tenant, '', prevhash, hash, '', data::json
from generate_series($1::bigint, $2::bigint - 1) as w
cross join generate_series(0, 999) as s
cross join lateral (
    select 'bench-' || md5('stream' || w * 1000 + s)::uuid as stream,
        md5('tenant' || (w * 1000 + s) % 1000)::uuid::text as tenant
) as names
cross join lateral (
    with recursive chain as (
        select 0 as v, '' as id, '' as cause, '' as data, ''::bytea as prevhash,
            decode(repeat('00', 32), 'hex') as hash
        union all
        select c.v + 1, n.id, n.cause, n.data, c.hash, sha256(c.hash || convert_to(concat_ws(
            E'\n', n.id, $3::text, 'SeatAssigned', stream, c.v + 1, '2026-01-01T00:00:00.000000Z', 1, n.id, n.cause,
            tenant, tenant, '', n.data
        ), 'UTF8'))
        from chain c
        cross join lateral (select (w * 1000 + s) * 10 + c.v as number) as numbered
        cross join lateral (
            select md5('event' || number)::uuid::text as id, md5('command' || number / 2)::uuid::text as cause,
                '{"subscription_id":"' || substr(stream, 7) || '","contract_id":"' || lpad(number::text, 36, '0')
                || '","seat":' || c.v + 1 || ',"account_id":"' || c.v + 1 || '","assigned_by":""}' as data
        ) as n
        where c.v < 10
    )
    select * from chain where v > 0
) as chain;

-- commands: insert the commands of the events.
insert into log.commands (id, fingerprint, stream, first, count, time)
select causation_id, sha256(causation_id::bytea), stream, version - 1, 2, time from log.events where version % 2 = 1;

-- batches: insert the chain at the end of each batch of 50 events, and move the head.
do $$
declare
    event record;
    chain bytea := decode(repeat('00', 32), 'hex');
begin
    for event in select position, hash from log.events order by position loop
        chain := sha256(chain || event.hash);
        if event.position % 50 = 0 then
            insert into log.batches (last_position, chain) values (event.position, chain);
        end if;
    end loop;
    update log.head h set (position, chain) = (select last_position, b.chain from log.batches b order by 1 desc limit 1);
end $$;

-- index: make the indexes again.
alter table log.events add primary key (position), add unique (stream, version);
alter table log.commands add primary key (id);
alter table log.batches add primary key (last_position);

-- vacuum_events: what a vacuum of the events costs.
vacuum (analyze) log.events;

-- vacuum_commands: what a vacuum of the commands costs.
vacuum (analyze) log.commands;

-- checkpoint: let no checkpoint fall into what follows, and no store begin with pages that are still to be written.
checkpoint;
