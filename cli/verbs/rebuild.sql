-- switched: list the rebuilds of a consumer that keep old tables.
select id, ended from engine.rebuilds where consumer = $1 and state = 'switched' order by id;

-- rows: count a table's rows.
select count(*) from {schema}.{table};

-- state: read a rebuild's state.
select state from engine.rebuilds where id = $1;
