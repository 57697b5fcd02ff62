-- Whoever writes into the schema `log` calls one of these functions: they run as the owner of the tables, so that the
-- role of a service needs no right to insert, update or delete there. Each has a search_path of its own, so that its
-- caller can't put another table, type or operator in a name's place.

-- As append.sql has it, and besides: an event continues its stream (version and prevhash follow from the head that its
-- command was decided on, and from the command's event before), and a command has as many events as it says. Nobody
-- who calls this breaks a stream's chain. Whether a hash fits its event's bytes is not judged here, as it would take a
-- tenth of the time under the head's lock: `verify` does, and whoever consumes the topic.
create or replace function log.append(
    commands log.new_command[], events log.new_event[], taken log.new_claim[], released log.new_claim[]
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
    failed boolean;
    added integer;
    event log.new_event;
    now_chain bytea;
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

-- Ends all appends for this reason, unless there is a reason already. The reason begins as shared/eventlog/guard.py says;
-- any other belongs to the operator (a restore), and is neither given nor lifted here.
create function log.fence(why text) returns void
language sql security definer
set search_path = log, pg_temp
begin atomic
    update log.head set fenced = why where fenced is null and starts_with(why, 'the store and its topic differ: ');
end;

-- Lets appends go on that log.fence has ended.
create function log.unfence() returns void
language sql security definer
set search_path = log, pg_temp
begin atomic
    update log.head set fenced = null where starts_with(fenced, 'the store and its topic differ: ');
end;

-- Erases the fingerprints of what a person asked, as a name or an address could be guessed and compared: of commands
-- whose id begins with the account's, and of those that made the account's events. The one that closed it keeps its own.
create function log.erase_fingerprints(account_id text, account_stream text) returns void
language sql security definer
set search_path = log, pg_temp
begin atomic
    update log.commands c set fingerprint = '' where c.id in (
        (select k.id from log.commands k where k.id between account_id || ':' and account_id || ';'
         union select e.causation_id from log.events e where e.stream = account_stream)
        except select e.causation_id from log.events e where e.stream = account_stream and e.type = 'AccountClosed');
end;
