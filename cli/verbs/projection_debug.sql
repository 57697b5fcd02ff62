-- kept: list the schemas with kept tables of a consumer.
select schema, position, time, folds, covers::text as covers, made from engine.scratches
where consumer = $1
order by time, position;

-- rows: read some rows of a table as JSON.
select to_jsonb(t)::text as row from {schema}.{table} t order by 1 limit $1;

-- is_there: tell whether a schema exists.
select to_regnamespace($1) is not null;
