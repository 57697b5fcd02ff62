"""Roles and databases: made once, taken over from before there were roles, waited for by the services."""

import asyncio
import itertools
import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import pytest

from deploy import ROOT, OperatorError
from deploy.databases import OPERATOR, make_roles, prepare, role_statements, rotate, url_of
from services import migrations_of
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.migrate import NotMigrated, owner_of, require_migrated
from shared.eventlog.repair.verify import verify
from shared.eventlog.write.postgres import PostgresStore, append_arguments
from shared.eventlog.write.store import Written
from shared.runtime.access import ACCESS_TABLES
from shared.runtime.settings import Settings
from tests.databases import PASSWORD, as_operator, password
from tests.examples.engine import head_of, write
from tests.system import parts

pytestmark = pytest.mark.system

SERVICE: Final = "entitlements"
_numbers = itertools.count(1)


@pytest.fixture
def server(postgres: parts.Postgres) -> str:
    """The superuser's DATABASE_URL, with a prefix of the test's own."""
    return f"{postgres.url}/made_{os.getpid()}_{next(_numbers)}"


def own(server: str, login: str = SERVICE, secret: str = PASSWORD) -> str:
    """The URL of the service's database for one of the roles."""
    return f"{url_of(server, login, secret)}_{SERVICE}"


async def asked(dsn: str, query: str) -> list[Any]:
    db = await asyncpg.connect(dsn)
    try:
        return list(await db.fetch(query))
    finally:
        await db.close()


async def made_before(server: str) -> str:
    """A database as it was made when every process was the superuser, with two events; its URL for the superuser."""
    dsn = f"{server}_{SERVICE}"
    database = urlsplit(dsn).path.strip("/")
    admin = await asyncpg.connect(f"{server.rpartition('/')[0]}/postgres")
    await admin.execute(f'create database "{database}"')
    await admin.close()
    versions = ROOT / "shared" / "eventlog" / "migrations" / "versions"
    db = await asyncpg.connect(dsn)
    for file in (versions / "log_0001.sql", versions / "append.sql"):
        await db.execute(file.read_text())
    await db.execute((ROOT / "services" / SERVICE / "migrations" / "0001_read_models.sql").read_text())
    await db.execute(ACCESS_TABLES)
    await db.execute(
        "create table alembic_version (version_num varchar(32) primary key); "
        f"insert into alembic_version values ('{SERVICE}_0001'); "
        f"comment on table alembic_version is '{'0' * 64}'"
    )
    first = write("s")
    for each in (first, write("s", head_of(first.events))):
        *arguments, _ = append_arguments([each])
        assert len(await db.fetch("select * from log.append($1, $2, $3, $4)", *arguments)) == 1
    await db.close()
    return dsn


OWNERS: Final = """
    select distinct pg_get_userbyid(owner) as owner from (
        select relowner from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = any($1)
        union all select proowner from pg_proc p join pg_namespace n on n.oid = pronamespace where nspname = any($1)
        union all select typowner from pg_type t join pg_namespace n on n.oid = typnamespace where nspname = any($1)
        union all select nspowner from pg_namespace where nspname in ('log', 'engine')
        union all select datdba from pg_database where datname = current_database()
    ) as o(owner)""".replace("any($1)", "any('{log,engine,public}')")


async def test_a_store_from_before_there_were_roles_is_taken_over_whole(server: str) -> None:
    superusers = await made_before(server)
    before = await asked(superusers, "select * from log.events order by position")
    await prepare(server, password, [SERVICE])
    await require_migrated(own(server), migrations_of(SERVICE))
    assert await asked(own(server), "select * from log.events order by position") == before
    assert [row["owner"] for row in await asked(superusers, OWNERS)] == [owner_of(urlsplit(superusers).path.strip("/"))]
    store = await PostgresStore(own(server), SERVICE).open()
    assert isinstance(await store.append(write("another")), Written)
    await store.close()
    report = await verify(SERVICE, as_operator(own(server)), KafkaAccess(bootstrap="none is asked"), topic=False)
    assert report.sound


async def test_to_prepare_again_changes_nothing(server: str) -> None:
    await prepare(server, password, [SERVICE])
    rights = "select relname, relacl::text from pg_class where relacl is not null order by 1, 2"
    before = await asked(own(server), rights)
    await prepare(server, password, [SERVICE])
    assert await asked(own(server), rights) == before


async def dropped(operator: "asyncpg.Connection[asyncpg.Record]", database: str) -> None:
    """Drop the database. A worker of autovacuum that is in it just then may be ended by a superuser only."""
    async with asyncio.timeout(30):
        while True:
            try:
                await operator.execute(f'drop database "{database}" with (force)')
            except asyncpg.InsufficientPrivilegeError:
                await asyncio.sleep(0.2)
            else:
                return


async def test_a_lost_database_is_made_again_by_the_operator_alone(server: str) -> None:
    await prepare(server, password, [SERVICE])
    database = urlsplit(own(server)).path.strip("/")
    operator = await asyncpg.connect(f"{url_of(server, OPERATOR, PASSWORD).rpartition('/')[0]}/postgres")
    await dropped(operator, database)
    await operator.close()
    await prepare(url_of(server, OPERATOR, PASSWORD), password, [SERVICE])
    await require_migrated(own(server), migrations_of(SERVICE))


async def test_another_password_takes_the_place_of_the_one_that_was_known(server: str) -> None:
    await prepare(server, password, [SERVICE])
    session = await asyncpg.connect(own(server))
    await rotate(server, SERVICE, "another")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(own(server))
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await session.fetch("select 1")
    assert await asked(own(server, secret="another"), "select 1 as one")


APPLIED: Final = "select obj_description('public.alembic_version'::regclass, 'pg_class')"


async def test_a_process_is_told_which_migration_its_database_lacks(server: str) -> None:
    await made_before(server)
    await make_roles(server, password, [SERVICE])
    with pytest.raises(NotMigrated, match=r"lacks the migration .*run `python -m deploy.databases`"):
        await require_migrated(f"{server}_{SERVICE}", migrations_of(SERVICE))


async def test_a_database_that_is_newer_than_the_code_will_do(server: str) -> None:
    await migrated_further(server)
    await require_migrated(own(server), migrations_of(SERVICE))


async def migrated_further(server: str, *, lacking: str = "") -> str:
    """What the database says of its migrations after a later version has added one; it may lack one of this version."""
    await prepare(server, password, [SERVICE])
    ((applied,),) = await asked(own(server), APPLIED)
    lines = [line for line in applied.splitlines() if not line.startswith(f"{lacking} ")]
    further = "\n".join([*lines, f"log_9999.sql {'0' * 64}"])
    operator = await asyncpg.connect(as_operator(own(server)))
    await operator.execute(f"comment on table public.alembic_version is '{further}'")
    await operator.execute("update alembic_version set version_num = 'log_9999' where version_num like 'log%'")
    await operator.close()
    return further


async def test_the_former_version_leaves_a_database_that_is_newer_as_it_is(server: str) -> None:
    further = await migrated_further(server)
    rights = "select relname, relacl::text from pg_class where relacl is not null order by 1, 2"
    before = await asked(own(server), rights)
    await prepare(server, password, [SERVICE])
    assert await asked(own(server), APPLIED) == [(further,)]
    assert await asked(own(server), rights) == before


async def test_two_versions_of_which_none_has_the_others_migration_are_told_so(server: str) -> None:
    await migrated_further(server, lacking="log_0012.sql")
    with pytest.raises(OperatorError, match=r"has the migration log_9999.sql, .* and lacks log_0012.sql: run"):
        await prepare(server, password, [SERVICE])


async def test_a_role_of_the_name_that_may_too_much_is_refused(server: str) -> None:
    admin = await asyncpg.connect(f"{server.rpartition('/')[0]}/postgres")
    role = f"{urlsplit(server).path.strip('/')}_{SERVICE}"
    await admin.execute(f'create role "{role}" superuser')
    with pytest.raises(OperatorError, match=f"{role} has attributes"):
        await prepare(server, password, [SERVICE])
    await admin.execute(f'drop role "{role}"')
    await admin.close()


async def test_who_may_make_no_roles_is_told_what_to_do(server: str) -> None:
    await prepare(server, password, [SERVICE])
    with pytest.raises(OperatorError, match="--sql"):
        await prepare(url_of(server, SERVICE, PASSWORD), password, [SERVICE])


def test_what_an_administrator_runs_has_no_password_in_it() -> None:
    script = "\n".join(role_statements("tenure", lambda login: f"secret of {login}", [SERVICE], whole_cluster=True))
    assert "secret of" not in script
    assert script.count("SCRAM-SHA-256$4096:") == 2


@pytest.mark.parametrize("prefix", ["Tenure", "a-b", "x" * 42, "1a", 'a"b'])
def test_a_prefix_that_no_name_can_begin_with_is_refused(prefix: str) -> None:
    with pytest.raises(OperatorError, match="DATABASE_URL ends in"):
        url_of(f"postgresql://u@h/{prefix}", SERVICE, None)


def settings(url: str, file: Path | None = None) -> Settings:
    return Settings.model_validate({"DATABASE_URL": url, **({"DATABASE_PASSWORD_FILE": file} if file else {})})


def test_a_password_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p/w@1\n")
    found = settings("postgresql://tenure_identity@h:1/tenure", tmp_path / "secret").dsn("identity")
    assert found == "postgresql://tenure_identity:p%2Fw%401@h:1/tenure_identity"


def test_the_operator_acts_as_each_databases_owner() -> None:
    assert (
        settings("postgresql://tenure_operator:x@h:1")
        .dsn("identity")
        .endswith("/tenure_identity?role=tenure_identity_owner")
    )


def test_how_the_connection_is_protected_is_passed_on() -> None:
    tls = "sslmode=verify-full&sslrootcert=/ca.pem"
    assert settings(f"postgresql://u:x@h:1/a?{tls}").dsn("identity") == f"postgresql://u:x@h:1/a_identity?{tls}"
    assert settings(f"postgresql://a_operator:x@h:1/a?{tls}").dsn("identity").endswith(f"?{tls}&role=a_identity_owner")
    assert url_of(f"postgresql://u:x@h:1/a?{tls}", "identity", "y") == f"postgresql://a_identity:y@h:1/a?{tls}"
