-- applied: read what was applied: a line a file, with its digest.
select obj_description('public.alembic_version'::regclass, 'pg_class');

-- note_applied: write the statement that notes what was applied, for `applied` to read: COMMENT takes no parameter.
select format('comment on table public.alembic_version is %L', $1::text);

-- lock: wait for others that migrate, until the transaction ends. The number is any, the same as in `lock_session`.
select pg_advisory_xact_lock(32327);

-- lock_session: wait for others that migrate, until the connection ends.
select pg_advisory_lock(32327);

-- create: create a database.
create database {database} owner {owner};

-- close: let nobody else connect to it.
revoke all on database {database} from public;
