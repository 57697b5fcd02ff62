-- claim: record the contents of these publishers' events, unless contents are recorded for their identities, and return
-- the recorded content of each. An identity is the digest of an event's source and id.
with asked as (
    select * from unnest($2::bytea[], $3::bytea[]) with ordinality as a(identity, content, n)
), new as (
    insert into engine.inbound (consumer, identity, content)
    select distinct on (identity) $1, identity, content from asked order by identity, n
    on conflict do nothing
    returning identity, content
)
select identity, content from new
union all
select i.identity, i.content from engine.inbound i where i.consumer = $1 and i.identity = any($2::bytea[])
and not exists (select from new n where n.identity = i.identity);

-- unclaim: delete the recorded contents of events that took no effect.
delete from engine.inbound i using unnest($2::bytea[], $3::bytea[]) as f(identity, content)
where i.consumer = $1 and i.identity = f.identity and i.content = f.content;

-- noted: read the recorded content of an event.
select content from engine.inbound where consumer = $1 and identity = $2;
