"""What a process with one service's credentials is refused by PostgreSQL: all that is another's, and the form of its
own database. What is tried comes from the catalogue, so that a table, a function or a role that is added is in it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from shared.eventlog.migrate import operator_of, owner_of
from shared.services import SERVICES
from tests.databases import as_operator, execute_as_operator, fetch_as_operator
from tests.system import parts

pytestmark = pytest.mark.system

OURS: Final = "nspname in ('log', 'engine', 'public')"
RELATIONS: Final = f"""
    select nspname as schema, relname as name, attname as column, c.oid::regclass::text as full_name
    from pg_class c join pg_namespace n on n.oid = relnamespace
    join pg_attribute a on attrelid = c.oid and attnum = 1
    where {OURS} and relkind in ('r', 'p', 'v', 'm') order by 1, 2"""
ROUTINES: Final = f"""
    select p.oid::regprocedure::text as signature, nspname || '.' || proname as full_name
    from pg_proc p join pg_namespace n on n.oid = pronamespace where {OURS}"""
TRIGGER: Final = "suppress_redundant_updates_trigger()"
NOT_IN_A_TRANSACTION: Final = ("alter system", "create database", "drop database", "checkpoint")
WRITERS: Final = {"log.append", "log.fence", "log.unfence", "log.erase_fingerprints"}
"""What writes into the schema `log` for a service; what else one service has."""
OWN_WRITERS: Final = {"identity": {"log.erase_invitation_fingerprint"}}


@pytest.fixture(params=SERVICES)
async def own(request: pytest.FixtureRequest, databases: Callable[[str], str]) -> str:
    """The URL of a service's database, for its own role; the others' databases are there, too."""
    urls = {service: databases(service) for service in SERVICES}
    return urls[request.param]


@pytest.fixture
async def service(own: str) -> AsyncIterator[Any]:
    db = await asyncpg.connect(own)
    yield db
    await db.close()


class Done(Exception):
    """What should have been refused was not; it is rolled back."""


def role_of(dsn: str) -> str:
    return str(urlsplit(dsn).username)


async def assert_refused(db: Any, statements: Sequence[str]) -> None:
    """Each for want of the right to do it, and for nothing else."""
    done = []
    for statement in statements:
        try:
            if statement.startswith(NOT_IN_A_TRANSACTION):
                await db.execute(statement)
            else:
                async with db.transaction():
                    await db.execute(statement)
                    raise Done
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ReservedNameError):
            continue
        except (asyncpg.PostgresError, Done) as other:
            done.append(f"{statement}: {other!r}")
        else:
            done.append(statement)
    assert not done, "\n".join(done)


async def test_no_other_database_lets_it_in(own: str, service: Any) -> None:
    rows = await service.fetch("select datname from pg_database where datallowconn and datname <> current_database()")
    others = {row["datname"] for row in rows}
    prefix = role_of(own).rpartition("_")[0]
    assert {f"{prefix}_{name}" for name in SERVICES} - {role_of(own)} <= others
    for name in others:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(urlunsplit(urlsplit(own)._replace(path=f"/{name}")))


async def test_another_services_password_is_not_its_own(own: str) -> None:
    prefix = role_of(own).rpartition("_")[0]
    for name in (operator_of(prefix), owner_of(role_of(own))):
        host = urlsplit(own).netloc.rpartition("@")[2]
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(urlunsplit(urlsplit(own)._replace(netloc=f"{name}:wrong@{host}")))


async def test_the_log_is_read_and_not_written(own: str, service: Any) -> None:
    tables = [each for each in await fetch_as_operator(own, RELATIONS) if each["schema"] == "log"]
    assert {"head", "events", "batches", "commands", "claims"} <= {each["name"] for each in tables}
    for each in tables:
        name, column = each["full_name"], each["column"]
        await service.fetch(f"select * from {name} limit 1")
        await assert_refused(
            service,
            [
                f"insert into {name} select * from {name}",
                f"update {name} set {column} = {column}",
                f"delete from {name}",
                f"truncate {name} cascade",
                f"select * from {name} for update",
                f"lock table {name} in row exclusive mode",
            ],
        )


async def test_the_form_of_its_own_database_is_not_the_services(own: str, service: Any) -> None:
    statements = []
    for each in await fetch_as_operator(own, RELATIONS):
        name, column = each["full_name"], each["column"]
        statements += [
            f"alter table {name} add column mine text",
            f"alter table {name} disable trigger all",
            f"alter table {name} owner to current_user",
            f"create index on {name} ({column})",
            f"create trigger mine before insert on {name} for each row execute function {TRIGGER}",
            f"create rule mine as on insert to {name} do instead nothing",
            f"truncate {name}",
            f"drop table {name} cascade",
            f"grant all on {name} to public",
        ]
    for each in await fetch_as_operator(own, ROUTINES):
        statements += [f"alter routine {each['signature']} owner to current_user", f"drop routine {each['signature']}"]
    for schema in ("log", "engine", "public"):
        statements += [
            f"create table {schema}.mine (n int)",
            f"create function {schema}.mine() returns int language sql return 1",
            f"create type {schema}.mine as (n int)",
            f"create sequence {schema}.mine",
            f"create view {schema}.mine as select 1",
            f"alter schema {schema} rename to mine",
            f"drop schema {schema} cascade",
        ]
    # A warning where the role has some right on the table: it grants nothing, as it has none to grant.
    granted = [each for each in statements if each.startswith("grant")]
    await assert_refused(service, [each for each in statements if each not in granted])
    for statement in granted:
        with suppress(asyncpg.InsufficientPrivilegeError):
            await service.execute(statement)
    found = await fetch_as_operator(
        own,
        f"select relname from pg_class c join pg_namespace n on n.oid = relnamespace, aclexplode(relacl) a "
        f"where {OURS} and grantee = 0",
    )
    assert found == [], "nothing is everybody's"


async def test_the_server_is_not_the_services(own: str, service: Any) -> None:
    names = [
        row["rolname"] for row in await service.fetch("select rolname from pg_roles where rolname <> current_user")
    ]
    assert {owner_of(role_of(own)), operator_of(role_of(own).rpartition("_")[0])} <= set(names)
    await assert_refused(
        service,
        [
            *(f'set role "{name}"' for name in names),
            *(f'set session authorization "{name}"' for name in names),
            *(
                f'grant "{name}" to current_user' for name in names if name != "pg_database_owner"
            ),  # it takes no members
            *(f'alter role "{name}" password null' for name in names),
            *(f'drop role "{name}"' for name in names),
            "alter role current_user superuser",
            "alter role current_user createrole",
            "create role mine",
            "create database mine",
            "create schema mine",
            "create temporary table mine (n int)",
            "drop extension plpgsql",
            "create publication mine for all tables",
            "alter system set log_statement = 'all'",
            "set session_replication_role = replica",
            "select * from pg_authid",
            "select * from pg_shadow",
            "select * from pg_largeobject",
            "copy (select 1) to program 'cat'",
            "copy (select 1) to '/tmp/mine'",
            "select pg_read_file('PG_VERSION')",
            "select pg_ls_dir('.')",
            "select pg_reload_conf()",
            "select lo_import('/etc/passwd')",
            "checkpoint",
        ],
    )


async def test_nobody_elses_session_is_ended(own: str, service: Any) -> None:
    operator = await asyncpg.connect(as_operator(own))
    await assert_refused(service, [f"select pg_terminate_backend({operator.get_server_pid()})"])
    await operator.close()


async def test_rows_are_all_that_it_may_change(own: str) -> None:
    """What the role may do on each table, by the catalogue: no more, and no less."""
    rights = await fetch_as_operator(
        own,
        f"""select nspname || '.' || relname as name, array(
                select right_ from unnest(
                    array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']
                ) as right_ where has_table_privilege('{role_of(own)}', c.oid, right_)) as rights
            from pg_class c join pg_namespace n on n.oid = relnamespace where {OURS} and relkind in ('r', 'p')""",
    )
    found = {row["name"]: row["rights"] for row in rights}
    for name, may in found.items():
        if name.startswith("log.") or name == "public.alembic_version":
            assert may == ["select"], name
        else:
            assert may == ["select", "insert", "update", "delete"], name


async def test_the_log_is_written_by_its_own_functions_alone(own: str) -> None:
    rows = await fetch_as_operator(
        own,
        f"""select nspname || '.' || proname as name, prosecdef, proconfig, pg_get_userbyid(proowner) as owner,
                has_function_privilege('{role_of(own)}', p.oid, 'execute') as may
            from pg_proc p join pg_namespace n on n.oid = pronamespace where {OURS}""",
    )
    writers = WRITERS | OWN_WRITERS.get(role_of(own).rpartition("_")[2], set())
    assert {row["name"] for row in rows if row["prosecdef"]} == writers
    assert {row["name"] for row in rows if row["name"].startswith("log.")} == writers
    assert all(row["may"] for row in rows)
    for row in rows:
        assert row["owner"] == owner_of(role_of(own))
        if row["prosecdef"]:
            assert "search_path=log, pg_temp" in row["proconfig"], row["name"]


async def test_a_table_of_a_later_migration_is_covered_at_once(own: str, service: Any) -> None:
    later = [f"create table {schema}.later (n int)" for schema in ("log", "engine", "public")]
    await execute_as_operator(own, *later)
    await service.execute("insert into engine.later values (1); update public.later set n = 1; select from log.later")
    await assert_refused(service, ["insert into log.later values (1)", "drop table public.later"])
    await execute_as_operator(own, *(f"drop table {schema}.later" for schema in ("log", "engine", "public")))


async def test_no_role_of_ours_is_the_servers(own: str, postgres: parts.Postgres) -> None:
    db = await asyncpg.connect(f"{postgres.url}/postgres")
    prefix = role_of(own).rpartition("_")[0]
    rows = await db.fetch("select * from pg_roles where starts_with(rolname, $1)", f"{prefix}_")
    await db.close()
    assert len(rows) == 2 * len(SERVICES) + 1
    for row in rows:
        powers = {
            name for name in ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls") if row[name]
        }
        assert powers == ({"rolcreatedb"} if row["rolname"] == operator_of(prefix) else set()), row["rolname"]
        assert row["rolcanlogin"] != row["rolname"].endswith("_owner"), row["rolname"]


async def test_the_operator_is_no_superuser(own: str) -> None:
    db = await asyncpg.connect(as_operator(own))
    await assert_refused(
        db,
        ["select * from pg_authid", "copy (select 1) to program 'cat'", "create role mine", "alter system reset all"],
    )
    await db.close()
