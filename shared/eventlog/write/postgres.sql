-- append: append writes. See `append.sql` and `log_0013.sql` among the migrations.
select * from log.append($1, $2, $3, $4, $5);

-- history: read at most $4 of a stream's events: those after the version $2, or, if $3, those before it, the newest first.
(
    select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
        prevhash, hash, command_id, data::text
    from log.events where stream = $1 and not $3 and version > $2 order by version limit $4
)
union all
(
    select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
        prevhash, hash, command_id, data::text
    from log.events where stream = $1 and $3 and version < $2 order by version desc limit $4
);

-- load: for each of these streams, read its snapshot of the definition beside it, if its event is in the log, and the
-- events after it, or without one those after the version $3. Each row names the stream by its number; a stream without
-- events has one row.
select r.n, s.version, s.hash, s.tenant,
    case when e.version is null or e.version = s.version + 1 then s.state end as state, s.digest, e.*
from unnest($1::text[], $2::text[], $3::int[]) with ordinality as r(stream, definition, after, n)
left join lateral (
    select version, hash, tenant, state, digest from engine.snapshots k
    where k.stream = r.stream and k.definition = r.definition
    and exists (select from log.events where stream = k.stream and version = k.version and hash = k.hash)
    limit 1
) as s on true
left join lateral (
    select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
        prevhash, hash, command_id, data::text
    from log.events where stream = r.stream and version > coalesce(s.version, r.after)
    order by version
) e on true
order by r.n, e.version;

-- read: read the events after a position.
select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
    prevhash, hash, command_id, data::text
from log.events where position > $1 order by position limit $2;

-- between: read events after a position, up to another one.
select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
    prevhash, hash, command_id, data::text
from log.events where position > $1 and position <= $2 order by position limit $3;

-- lease: take or renew a lease. Another owner's lease is taken only after it has expired, with the next fencing token.
insert into engine.leases as l (name, owner, token, until)
values ($1, $2, 1, clock_timestamp() + $3 * interval '1 s')
on conflict (name) do update set owner = excluded.owner, until = excluded.until,
    token = case when l.owner = excluded.owner then l.token else l.token + 1 end
where l.owner = excluded.owner or l.until < clock_timestamp()
returning token, position;

-- notify: wake the processes that wait for new events.
notify log;

-- of_streams: read all events of these streams.
select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
    prevhash, hash, command_id, data::text
from log.events where stream = any($1::text[]) order by stream, version;

-- heads: find the last event of each of these streams, up to a position.
select s.stream, e.version, e.hash
from unnest($1::text[]) as s(stream), lateral (
    select version, hash from log.events where stream = s.stream and position <= $2 order by version desc limit 1
) as e;

-- holder: find the stream that holds a unique name.
select stream from log.claims where key = $1;

-- fingerprints: read the fingerprints of these commands.
select id, fingerprint from log.commands where id = any($1::text[]);

-- fence: fence the store for a reason, so that it refuses appends.
select log.fence($1);

-- unfence: lift the fence, if this service has set it.
select log.unfence();

-- chain_at: find the end of the last batch up to a position, and the chain there.
select last_position, chain from log.batches where last_position <= $1 order by 1 desc limit 1;

-- position: read the position of the last event.
select position from log.head;

-- advance: move a lease's checkpoint, while the token is current. Repeating it changes nothing.
update engine.leases set position = $4 where name = $1 and token = $2 and position in ($3, $4) returning 1;

-- advance_and_read: the same, and read the events from the checkpoint on.
with moved as (
    update engine.leases set position = $4 where name = $1 and token = $2 and position in ($3, $4) returning 1
)
select position, stream, version, id, type, schema, time, correlation_id, causation_id, actor, tenant, traceparent,
    prevhash, hash, command_id, data::text
from log.events where position >= $4 and exists (select from moved) order by position limit $5;

-- release: end a lease.
update engine.leases set until = clock_timestamp(), owner = '' where name = $1 and token = $2;

-- in_store: look up what the store holds at the position and version of each of these records, in their order: the hash
-- at its position, the hash of the version before its own, and the position of its version.
select here.hash, previous.hash as previous, version.position as version_at
from unnest($1::bigint[], $2::text[], $3::int[]) with ordinality as r(position, stream, version, nth)
left join log.events here on here.position = r.position
left join log.events previous on previous.stream = r.stream and previous.version = r.version - 1
left join log.events version on version.stream = r.stream and version.version = r.version
order by r.nth;
