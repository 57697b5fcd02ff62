-- drop_if_exists: drop what was folded, as far as it was begun.
drop schema if exists {schema} cascade;

-- forget: forget that tables are kept.
delete from engine.scratches where schema = $1 returning 1;

-- drop: drop kept tables.
drop schema {schema} cascade;

-- position: read the position of the last event.
select position from log.head;

-- position_at: find the position of the last event up to a time.
select coalesce(max(position), 0) from log.events where time <= $1;

-- time_at: find the time of the latest event up to a position.
select max(time) from log.events where position <= $1;

-- now: read the server's time.
select now();

-- nearest: find the latest kept tables of the same folds that are of no later moment.
select schema from engine.scratches
where consumer = $1 and folds = $2 and position <= $3 and time <= $4
order by time desc, position desc limit 1;

-- copy: copy a kept table.
insert into {schema}.{table} select * from {kept}.{table};

-- offsets: read how far the consumer is in the partitions of these topics.
select topic, partition, "offset" from engine.checkpoints where consumer = $1 and topic = any($2::text[]);

-- streams: count the streams that were folded.
select count(*) from {schema}._seen;

-- rows: count a table's rows.
select count(*) from {schema}.{table};

-- keep: note that the tables are kept, and what they cover.
insert into engine.scratches (schema, consumer, folds, position, time, covers)
values ($1, $2, $3, $4, $5, $6::text::jsonb);

-- search: look for tables in this schema only, until the transaction ends.
set local search_path = {schema};

-- key: list the columns of a table's primary key.
select attname from pg_index join pg_attribute on attrelid = indrelid and attnum = any(indkey)
where indrelid = $1::text::regclass and indisprimary
order by attname;

-- table: read a table's rows as JSON.
select to_jsonb(t)::text as row from {schema}.{table} t;
