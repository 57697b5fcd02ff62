-- What the role of a service may do in its database: the database's name is the role's, and whoever runs this is the
-- owner of all that is in it. Run after the migrations, again each time: what is granted elsewhere is taken back.
do $$
declare
    service constant text := current_database();
begin
    execute format('revoke all on database %I from public, %I', service, service);
    execute format('grant connect on database %I to %I', service, service);
    execute format('revoke all on schema public, log, engine from public, %I', service);
    execute format('grant usage on schema public, log, engine to %I', service);

    -- The log: read, and written by the functions that keep its promises, which is all that a function there is for.
    execute format('revoke all on all tables in schema log from public, %I', service);
    execute format('grant select on all tables in schema log to %I', service);
    execute format('revoke all on all functions in schema log from public, %I', service);
    execute format('grant execute on all functions in schema log to %I', service);

    -- The engine's working tables and the read models: rows, and nothing of their form.
    execute format('revoke all on all tables in schema engine, public from public, %I', service);
    execute format('grant select, insert, update, delete on all tables in schema engine, public to %I', service);
    execute format('revoke insert, update, delete on table public.alembic_version from %I', service);
    execute format('revoke all on all functions in schema engine, public from public, %I', service);
    execute format('grant execute on all functions in schema engine to %I', service);

    -- Tables and functions of later migrations, until this runs after them.
    alter default privileges revoke execute on functions from public;
    execute format('alter default privileges in schema log grant select on tables to %I', service);
    execute format('alter default privileges in schema log, engine grant execute on functions to %I', service);
    execute format('alter default privileges in schema engine, public '
                   'grant select, insert, update, delete on tables to %I', service);
end $$;
