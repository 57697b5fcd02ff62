-- Appends a batch of commands, each whole or not at all, in one transaction and one round trip.
--
-- Per command: its id, fingerprint, stream, the version and hash of the stream's head that it was decided on, how
-- many events it has, its refusal. Per event: the number of its command (from 1) and its fields. Per claim: the
-- number of its command and the name. The caller sees to it that no two commands of a batch share a stream, an id
-- or a name. Verdicts: 0 written, 1 the stream moved, 2 repeated, 3 a name is taken.
--
-- plpgsql and not one statement: each statement here has a snapshot of its own, taken after the head's lock was
-- got. A single statement would judge by a snapshot from before it waited for the lock.
-- Plans are made once and not for each batch (half the time of a small one); sequential scans and hash joins are off
-- because a plan made while the tables were empty would use them for ever.
create function log.append(
    c_id text[], c_fingerprint bytea[], c_stream text[], c_version integer[], c_hash bytea[], c_count integer[],
    c_refusal text[], c_time timestamptz[],
    e_command integer[], e_id uuid[], e_stream text[], e_version integer[], e_type text[], e_schema smallint[],
    e_time timestamptz[], e_correlation text[], e_causation text[], e_actor text[], e_tenant text[],
    e_traceparent text[], e_prevhash bytea[], e_hash bytea[], e_data text[],
    t_command integer[], t_key text[], r_command integer[], r_key text[]
) returns table (verdict integer, "position" bigint, key text, fingerprint bytea, stream text, first integer,
                 count integer, refusal text)
language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    before log.head;
    verdicts integer[];
    added bigint;
    now_chain bytea;
begin
    select * into before from log.head for update;

    verdicts := array(
        select case
            when exists (select from log.commands k where k.id = c.id) then 2
            when exists (select from log.events e where e.stream = c.stream and e.version = c.version + 1) then 1
            when c.version > 0 and not exists (
                select from log.events e where e.stream = c.stream and e.version = c.version and e.hash = c.hash
            ) then 1
            else 0
        end
        from unnest(c_id, c_stream, c_version, c_hash) with ordinality as c(id, stream, version, hash, n)
        order by c.n
    );
    if cardinality(t_key) > 0 then
        verdicts := array(
            select case when v.v = 0 and exists (
                select from unnest(t_command, t_key) as t(command, key)
                join log.claims k on k.key = t.key and k.stream <> c_stream[v.n]
                where t.command = v.n
            ) then 3 else v.v end
            from unnest(verdicts) with ordinality as v(v, n) order by v.n
        );
    end if;

    with new as (
        insert into log.events (position, stream, version, id, type, schema, time, correlation_id, causation_id,
                                actor, tenant, traceparent, prevhash, hash, data)
        select before.position + row_number() over (order by e.n), e.stream, e.version, e.id, e.type, e.schema,
               e.time, e.correlation, e.causation, e.actor, e.tenant, e.traceparent, e.prevhash, e.hash, e.data::json
        from unnest(e_command, e_id, e_stream, e_version, e_type, e_schema, e_time, e_correlation, e_causation,
                    e_actor, e_tenant, e_traceparent, e_prevhash, e_hash, e_data) with ordinality
             as e(command, id, stream, version, type, schema, time, correlation, causation, actor, tenant,
                  traceparent, prevhash, hash, data, n)
        where verdicts[e.command] = 0
        order by e.n
        returning position, hash
    )
    select count(*), sha256(before.chain || string_agg(new.hash, ''::bytea order by new.position))
    into added, now_chain from new;

    if added > 0 then
        update log.head set position = before.position + added, chain = now_chain;
        insert into log.batches (last_position, chain) values (before.position + added, now_chain);
        perform pg_notify('log', (before.position + added)::text);
    end if;

    insert into log.commands (id, fingerprint, stream, first, count, refusal, time)
    select c.id, c.fingerprint, c.stream, c.version, c.count, c.refusal::json, c.time
    from unnest(c_id, c_fingerprint, c_stream, c_version, c_count, c_refusal, c_time) with ordinality
         as c(id, fingerprint, stream, version, count, refusal, time, n)
    where verdicts[c.n] = 0;

    if cardinality(r_key) > 0 then
        delete from log.claims k using unnest(r_command, r_key) as r(command, key)
        where k.key = r.key and k.stream = c_stream[r.command] and verdicts[r.command] = 0;
    end if;
    if cardinality(t_key) > 0 then
        insert into log.claims (key, stream)
        select t.key, c_stream[t.command] from unnest(t_command, t_key) as t(command, key)
        where verdicts[t.command] = 0
        on conflict (key) do nothing;
    end if;

    if 0 = all (verdicts) then  -- the common case: positions follow from the counts
        return query
            select 0, before.position + sum(c.count) over (order by c.n), null::text, null::bytea, null::text,
                   null::integer, null::integer, null::text
            from unnest(c_count) with ordinality as c(count, n) order by c.n;
        return;
    end if;
    return query
        select v.v,
               before.position + sum(case when v.v = 0 then c_count[v.n] else 0 end) over (order by v.n),
               (select t.key from unnest(t_command, t_key) as t(command, key)
                join log.claims k on k.key = t.key and k.stream <> c_stream[v.n] where t.command = v.n limit 1),
               k.fingerprint, k.stream, k.first, k.count, k.refusal::text
        from unnest(verdicts) with ordinality as v(v, n)
        left join log.commands k on v.v = 2 and k.id = c_id[v.n]
        order by v.n;
end
$$;
