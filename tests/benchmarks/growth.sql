-- connections: list the processes of a database's connections.
select pid from pg_stat_activity where datname = $1 and backend_type = 'client backend';

-- fill_table: insert rows as if so many events had been consumed.
insert into bench (subscription_id, seat, account_id, assigned_by, assigned_at, event_id)
select 'former-' || number % 1000, number, 'account', 'manager', now(), 'former-' || number
from generate_series(1, $1::bigint) as number;

-- fill_hashes: note the hash of each of so many events.
insert into engine.hashes (stream, version, hash)
select 'former-' || number % $2::bigint, 1 + number / $2::bigint, decode(md5(number::text), 'hex')
from generate_series(0, $1::bigint - 1) as number;

-- fill_seen: note the last version of each of these streams.
insert into engine.seen (consumer, stream, version, hash)
select $1, stream, max(version), decode(md5(stream), 'hex') from engine.hashes group by stream;

-- analyse: let the planner know the tables' sizes.
analyze bench, engine.hashes, engine.seen;
