-- see: note the last event of each stream that a consumer has processed, never an earlier one than before.
insert into engine.seen as s (consumer, stream, version, hash, tenant)
select $1, * from unnest($2::text[], $3::int[], $4::bytea[], $5::text[])
on conflict (consumer, stream) do update set version = excluded.version, hash = excluded.hash, tenant = excluded.tenant
where s.version < excluded.version;

-- mark: note how far a consumer has processed partitions, never less than before.
insert into engine.checkpoints as c (consumer, topic, partition, "offset")
select $1, * from unnest($2::text[], $3::int[], $4::bigint[])
on conflict (consumer, topic, partition) do update set "offset" = excluded."offset"
where c."offset" < excluded."offset";

-- causes: list the causes of the consumer's commands, of those that led to events.
select distinct command_id, causation_id from log.events where starts_with(command_id, $1);

-- offsets: read how far a consumer is.
select topic, partition, "offset" from engine.checkpoints where consumer = $1;
