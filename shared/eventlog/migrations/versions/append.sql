-- Appends a batch of commands, each whole or not at all, in one transaction and one round trip.
--
-- A command: its id and fingerprint, its stream, the version and hash of the stream's head that it was decided on, how
-- many events it has, its refusal, its time. An event names its command by number, from 1; so does a claim. The caller
-- sees to it that no two commands of a batch share a stream, an id or a name.
--
-- Answers one row for the batch (command 0, the position before it) and one for each command that was not written:
-- verdict 1 the stream moved, 2 the id is known (with its first answer), 3 a name is taken (with the name).
--
-- plpgsql and not one statement: each statement here has a snapshot of its own, taken after the head's lock was
-- got. A single statement would judge by a snapshot from before it waited for the lock.
-- Plans are made once and not for each batch (half the time of a small one); sequential scans and hash joins are off
-- because a plan made while the tables were empty would use them for ever.
create type log.new_command as (
    id text, fingerprint bytea, stream text, version integer, hash bytea, count integer, refusal text,
    time timestamptz
);
create type log.new_event as (
    command integer, id uuid, version integer, type text, schema smallint, correlation text, causation text,
    actor text, tenant text, traceparent text, prevhash bytea, hash bytea, data text
);
create type log.new_claim as (command integer, key text);

create function log.append(
    commands log.new_command[], events log.new_event[], taken log.new_claim[], released log.new_claim[]
) returns table (command integer, verdict integer, "position" bigint, key text, fingerprint bytea, stream text,
                 first integer, count integer, refusal text)
language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    before log.head;
    verdicts integer[];
    failed boolean;
    added integer;
    event log.new_event;
    now_chain bytea;
begin
    select * into before from log.head for update;
    if before.fenced is not null then
        raise exception using errcode = 'TN001', message = before.fenced;
    end if;

    verdicts := array(
        select case
            when (select true from log.commands k where k.id = c.id) then 2
            when not coalesce((
                select e.version = c.version and e.hash = c.hash from log.events e where e.stream = c.stream
                order by e.version desc limit 1
            ), c.version = 0) then 1
            else 0
        end
        from unnest(commands) with ordinality as c(id, fingerprint, stream, version, hash, count, refusal, time, n)
        order by c.n
    );
    if cardinality(taken) > 0 then
        verdicts := array(
            select case when v.v = 0 and exists (
                select from unnest(taken) as t
                join log.claims k on k.key = t.key and k.stream <> (commands[v.n]).stream
                where t.command = v.n
            ) then 3 else v.v end
            from unnest(verdicts) with ordinality as v(v, n) order by v.n
        );
    end if;

    failed := not 0 = all (verdicts);
    if failed then
        events := array(
            select row(e.command, e.id, e.version, e.type, e.schema, e.correlation, e.causation, e.actor, e.tenant,
                       e.traceparent, e.prevhash, e.hash, e.data)::log.new_event
            from unnest(events) with ordinality
                 as e(command, id, version, type, schema, correlation, causation, actor, tenant, traceparent, prevhash,
                      hash, data, n)
            where verdicts[e.command] = 0
            order by e.n
        );
    end if;
    added := cardinality(events);

    insert into log.events (position, stream, version, id, type, schema, time, correlation_id, causation_id,
                            actor, tenant, traceparent, prevhash, hash, command_id, data)
    select before.position + e.n, (commands[e.command]).stream, e.version, e.id,
           e.type, e.schema, (commands[e.command]).time, e.correlation, e.causation, e.actor, e.tenant,
           e.traceparent, e.prevhash, e.hash,
           case when (commands[e.command]).id = e.causation then '' else (commands[e.command]).id end, e.data::json
    from unnest(events) with ordinality
         as e(command, id, version, type, schema, correlation, causation, actor, tenant, traceparent, prevhash,
              hash, data, n);

    if added > 0 then
        now_chain := before.chain;
        foreach event in array events loop
            now_chain := sha256(now_chain || event.hash);
        end loop;
        update log.head set position = before.position + added, chain = now_chain;
        insert into log.batches (last_position, chain) values (before.position + added, now_chain);
    end if;

    insert into log.commands (id, fingerprint, stream, first, count, refusal, time)
    select c.id, c.fingerprint, c.stream, c.version, c.count, c.refusal::json, c.time
    from unnest(commands) with ordinality as c(id, fingerprint, stream, version, hash, count, refusal, time, n)
    where verdicts[c.n] = 0;

    if cardinality(released) > 0 then
        delete from log.claims k using unnest(released) as r
        where k.key = r.key and k.stream = (commands[r.command]).stream and verdicts[r.command] = 0;
    end if;
    if cardinality(taken) > 0 then
        insert into log.claims (key, stream)
        select t.key, (commands[t.command]).stream from unnest(taken) as t
        where verdicts[t.command] = 0
        on conflict (key) do nothing;
    end if;

    return query select 0, 0, before.position, null::text, null::bytea, null::text, null::integer, null::integer,
                        null::text;
    if failed then
        return query
            select v.n::integer, v.v, null::bigint,
                   (select t.key from unnest(taken) as t
                    join log.claims k on k.key = t.key and k.stream <> (commands[v.n]).stream
                    where t.command = v.n limit 1),
                   k.fingerprint, k.stream, k.first, k.count, k.refusal::text
            from unnest(verdicts) with ordinality as v(v, n)
            left join log.commands k on v.v = 2 and k.id = (commands[v.n]).id
            where v.v <> 0
            order by v.n;
    end if;
end
$$;
