-- applied: read which migrations were applied, one file with its digest on each line.
select obj_description('public.alembic_version'::regclass, 'pg_class');

-- note_applied: build the statement that records what was applied, for `applied` to read. COMMENT takes no parameter.
select format('comment on table public.alembic_version is %L', $1::text);

-- lock: take the migration lock until the transaction ends. The number is arbitrary, but the same as in `lock_session`.
select pg_advisory_xact_lock(32327);

-- lock_session: take the migration lock until the connection ends.
select pg_advisory_lock(32327);

-- create: create a database.
create database {database} owner {owner};

-- close: revoke the right of all other roles to connect to it.
revoke all on database {database} from public;
