-- role: create a role without rights, unless it exists.
do $$ begin
    if not exists (select from pg_roles where rolname = '{role}') then
        create role {role} nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
    end if;
end $$;

-- login: allow a service's role to log in. With a verifier, so that the server's logs don't contain the password.
alter role {role} login password '{verifier}';

-- operator: allow the operator to log in, and to create a lost database again from the database postgres.
alter role {role} login createdb password '{verifier}';
grant connect on database postgres to {role};

-- owner: make the operator a member of the owner role, which can see open transactions and end the service's.
grant {owner} to {operator};
grant {service} to {owner};
grant pg_read_all_stats to {owner};

-- others: close the databases that are open to everybody, such as the one that an image creates for its user.
do $$
declare
    open_database text;
begin
    for open_database in
        select datname from pg_database
        where datacl is null or exists (select from aclexplode(datacl) where grantee = 0)
    loop
        execute format('revoke all on database %I from public', open_database);
    end loop;
end $$;

-- powerful: find roles with attributes that they must not have.
select rolname from pg_roles
where rolname = any($1::text[])
    and (rolsuper or rolcreaterole or rolreplication or rolbypassrls or (rolcreatedb and rolname <> $2));

-- end_sessions: end all sessions of a role.
select pg_terminate_backend(pid) from pg_stat_activity where usename = $1;

-- owned_by: who owns a database.
select pg_get_userbyid(datdba) from pg_database where datname = $1;

-- adopt: what somebody else owns in this database becomes its owner's: it was made before there were such roles.
do $$
declare
    statement text;
    owner constant oid := to_regrole('{owner}');
begin
    for statement in
        select format('alter schema %I owner to {owner}', nspname) from pg_namespace
        where nspname not like 'pg\_%' and nspname <> 'information_schema' and nspowner <> owner
            and nspowner <> 'pg_database_owner'::regrole
        union all
        select format(
            'alter %s %s owner to {owner}', case relkind when 'c' then 'type' else 'table' end, c.oid::regclass
        )
        from pg_class c join pg_namespace n on n.oid = relnamespace
        where nspname not like 'pg\_%' and nspname <> 'information_schema' and relowner <> owner
            and relkind in ('r', 'p', 'v', 'm', 'f', 'c', 'S')
            and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid
                            and (deptype = 'e' or relkind = 'S' and deptype in ('a', 'i')))
        union all
        select format('alter routine %s owner to {owner}', p.oid::regprocedure)
        from pg_proc p join pg_namespace n on n.oid = pronamespace
        where nspname not like 'pg\_%' and nspname <> 'information_schema' and proowner <> owner
            and not exists (
                select from pg_depend where classid = 'pg_proc'::regclass and objid = p.oid and deptype = 'e'
            )
    loop
        execute statement;
    end loop;
end $$;

-- lock: wait for others that make roles, until the transaction ends.
select pg_advisory_xact_lock(hashtext('tenure roles'));

-- exists: tell whether a database is there.
select exists (select from pg_database where datname = $1);

-- give: make a role the database's owner.
alter database {database} owner to {owner};
