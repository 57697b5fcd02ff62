-- reached: for each of these streams ($1) and versions ($2), tell whether the tables have it, and the last version that
-- the service itself has written. An own stream's tables are those of all projections $5; another service's stream's
-- are those that follow it. The account ($3) of an organisation ($4, null for one that sees all) asks: a stream that is
-- not the organisation's, and to which the account has written nothing, is treated as one that does not exist.
select w.n, own.version as written, case
    when own.version is null then coalesce((
        select bool_and(s.version >= w.version and (s.tenant = w.organisation) is not false) from engine.seen s
        where s.stream = w.stream
    ), false)
    else (
        select count(*) = cardinality($5::text[]) from engine.seen s
        where s.stream = w.stream and s.version >= w.version and s.consumer = any($5)
    )
end as reached
from unnest($1::text[], $2::int[], $3::text[], $4::text[]) with ordinality
    as w (stream, version, account, organisation, n)
left join lateral (
    select e.version, e.tenant from log.events e where e.stream = w.stream order by e.version desc limit 1
) own on own.tenant = w.organisation or w.organisation is null or exists (
    select from log.commands c where c.id >= w.account || ':' and c.id < w.account || ';' and c.stream = w.stream
    and c.refusal is null
);
