-- relayed: read how far a relay is.
select coalesce(max(position), 0) from engine.leases where name = $1;

-- count: count the events.
select count(*) from log.events;

-- remake: make an empty table like the log's.
drop table if exists public.copied;
create table public.copied (like log.events including all);
checkpoint;

-- copy_out: write all events to psql.
copy log.events to stdout (format binary);

-- copy_in: write all events into the empty table.
copy public.copied from stdin (format binary);
