-- exists: tell whether a table is there.
select to_regclass($1);

-- loses: tell whether a table has triggers or foreign keys, which a copy would not have.
select exists (select from pg_trigger where tgrelid = $1::text::regclass
    and not tgisinternal) or exists (select from pg_constraint where 'f' = contype
    and $1::text::regclass in (conrelid, confrelid));

-- create_schema: make the schema.
create schema {schema};

-- create_table: make an empty table with the structure of the live one.
create table {schema}.{table} (like {home}.{table} including all);

-- create_progress: make the tables of each stream's last folded version, and of how far each source was read.
create table {schema}._seen (stream text collate "C" primary key, version integer not null);
create table {schema}._progress (source text, number integer, done bigint not null, primary key (source, number));

-- columns: list a table's columns.
select attname from pg_attribute
where attrelid = $1::text::regclass and attnum > 0 and not attisdropped
order by attname;

-- rows: read a table's rows as text, in their order.
select row({columns})::text as row from {schema}.{table} order by row({columns})::text collate "C";

-- progress: read how far each source was read.
select source, number, done from _progress;

-- seen: read the last folded versions of these streams.
select stream, version from _seen where stream = any($1::text[]);

-- see: note the last folded versions of streams.
insert into _seen (stream, version) select * from unnest($1::text[], $2::int[])
on conflict (stream) do update set version = excluded.version;

-- note_progress: note how far a source was read.
insert into _progress (source, number, done) values ($1, $2, $3)
on conflict (source, number) do update set done = excluded.done;
