-- As before, and besides: a command of a batch may continue another one of the batch on the same stream, so that
-- commands which come faster than commits share one. `continues` has for each command the number of that one, or 0; it
-- is empty if no command continues another. A command whose leader was not written has moved (verdict 1), as it was
-- decided on a state that did not come to be. Two commands of a batch may share a stream in this way only, and no id or
-- name.
create function log.append(
    commands log.new_command[], events log.new_event[], taken log.new_claim[], released log.new_claim[],
    continues integer[]
) returns table (command integer, verdict integer, "position" bigint, key text, fingerprint bytea, stream text,
                 first integer, count integer, refusal text)
language plpgsql security definer
set search_path = log, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    genesis constant bytea := '\x0000000000000000000000000000000000000000000000000000000000000000';
    before log.head;
    verdicts integer[];
    ends bytea[];      -- of each command: the hash of its stream's head after it
    failed boolean;
    added integer;
    event log.new_event;
    now_chain bytea;
    leader integer;
    current integer;   -- the command whose events the loop is at, and what its next event has to be
    remaining integer := 0;
    next_version integer;
    last_hash bytea;
begin
    select * into before from log.head for update;
    if before.fenced is not null then
        raise exception using errcode = 'TN001', message = before.fenced;
    end if;

    verdicts := array(
        select case
            when (select true from log.commands k where k.id = c.id) then 2
            when continues[c.n] > 0 then 0
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

    if cardinality(continues) > 0 then
        ends := array(select c.hash from unnest(commands) with ordinality
                      as c(id, fingerprint, stream, version, hash, count, refusal, time, n) order by c.n);
        foreach event in array events loop
            ends[event.command] := event.hash;
        end loop;
        for n in 1 .. cardinality(commands) loop
            leader := continues[n];
            if leader > 0 and verdicts[n] = 0 then
                if leader >= n or (commands[leader]).stream <> (commands[n]).stream
                    or (commands[leader]).version + (commands[leader]).count <> (commands[n]).version
                    or ends[leader] <> (commands[n]).hash
                then
                    raise exception using errcode = 'TN002', message = format(
                        'command %s does not continue the one before it on %s', (commands[n]).id, (commands[n]).stream);
                end if;
                if verdicts[leader] <> 0 then
                    verdicts[n] := 1;
                end if;
            end if;
        end loop;
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
            if remaining = 0 then
                current := event.command;
                remaining := (commands[current]).count;
                next_version := (commands[current]).version + 1;
                last_hash := case when next_version = 1 then genesis else (commands[current]).hash end;
            end if;
            if event.command is distinct from current or event.version is distinct from next_version
                or event.prevhash is distinct from last_hash or octet_length(event.hash) <> 32
            then
                raise exception using errcode = 'TN002', message = format(
                    '%s version %s does not continue its stream', (commands[event.command]).stream, event.version);
            end if;
            now_chain := sha256(now_chain || event.hash);
            remaining := remaining - 1;
            next_version := next_version + 1;
            last_hash := event.hash;
        end loop;
        if remaining <> 0 then
            raise exception using errcode = 'TN002', message = format(
                'command %s says that it has %s events more', (commands[current]).id, remaining);
        end if;
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

-- For processes of the version before.
create or replace function log.append(
    commands log.new_command[], events log.new_event[], taken log.new_claim[], released log.new_claim[]
) returns table (command integer, verdict integer, "position" bigint, key text, fingerprint bytea, stream text,
                 first integer, count integer, refusal text)
language sql security definer
set search_path = log, pg_temp
as $$
select * from log.append(commands, events, taken, released, '{}'::integer[])
$$;
