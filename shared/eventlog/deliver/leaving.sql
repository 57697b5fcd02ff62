-- park: store records whole. The same record may be parked already, unchanged or edited. If another record is parked at
-- its offset, the statement fails.
insert into engine.parked as p (consumer, topic, partition, "offset", stream, version, reason, detail, holds_stream,
    key, headers, value)
select $1, r.topic, r.partition, r."offset", r.stream, r.version, r.reason, r.detail, r.holds_stream, r.key,
    r.headers::jsonb, r.value
from unnest(
    $2::text[], $3::int[], $4::bigint[], $5::text[], $6::int[], $7::text[], $8::text[], $9::boolean[], $10::bytea[],
    $11::text[], $12::bytea[]
) as r(topic, partition, "offset", stream, version, reason, detail, holds_stream, key, headers, value)
on conflict (consumer, topic, partition, "offset") do update set detail = case
    when (p.key, p.headers, p.value) is not distinct from (excluded.key, excluded.headers, excluded.value)
    or exists (
        select from engine.settled s
        where (s.consumer, s.topic, s.partition, s."offset") = (p.consumer, p.topic, p.partition, p."offset")
        and (s.key, s.headers, s.value) is not distinct from (excluded.key, excluded.headers, excluded.value)
    ) then p.detail
    else engine.refused(format(
        '%s has parked another record of %s at partition %s, offset %s. The topic seems to have been created again: '
        '`tenure restore topic` moves what was parked aside', p.consumer, p.topic, p.partition, p."offset"
    )) end;
