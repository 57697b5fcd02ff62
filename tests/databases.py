"""Databases for tests: one a service, emptied after each test. To make one takes a hundred times as long.

A test has what a service's process has: the service's own role. Whoever prepares damage, migrates, rebuilds or restores
is the operator (`as_operator`)."""

import asyncio
import os
import time
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy.databases import OPERATOR, make_roles, url_of
from services import migrations_of
from shared.eventlog.migrate import migrate, operator_of, owner_of

_OURS: Final = "nspname not in ('pg_catalog', 'information_schema') and nspname not like 'pg\\_%'"
_SHAPE: Final = f"""
    select md5(string_agg(line, ';' order by line)) from (
        select nspname || '.' || relname || ' ' || attname || ' ' || atttypid::text as line
            from pg_class c join pg_namespace n on n.oid = relnamespace join pg_attribute on attrelid = c.oid
            where {_OURS} and not attisdropped
        union all select nspname || '.' || proname || md5(prosrc)
            from pg_proc join pg_namespace n on n.oid = pronamespace where {_OURS}
        union all select tgname || tgrelid::regclass::text || tgenabled::text from pg_trigger
    ) lines"""
_TABLES: Final = f"""
    select nspname, relname from pg_class c join pg_namespace n on n.oid = relnamespace
    where {_OURS} and relkind = 'r' and relname <> 'alembic_version' order by 1, 2"""
_SEQUENCES: Final = "select schemaname, sequencename from pg_sequences where last_value is not null"
_OTHERS: Final = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
_GONE_WITHIN_S: Final = 5.0


PASSWORD: Final = "tests"


def password(_login: str) -> str:
    """Of every role that a test makes."""
    return PASSWORD


def as_operator(dsn: str) -> str:
    """The same database for the operator, who acts as its owner: to migrate, rebuild, restore, and prepare damage."""
    parts = urlsplit(dsn)
    prefix = parts.path.strip("/").rpartition("_")[0]
    host, owner = parts.netloc.rpartition("@")[2], owner_of(parts.path.strip("/"))
    return urlunsplit(parts._replace(netloc=f"{operator_of(prefix)}:{PASSWORD}@{host}", query=f"role={owner}"))


async def execute_as_operator(dsn: str, *statements: str) -> None:
    """Make a table of the test's own, or damage, in the service's database."""
    db = await asyncpg.connect(as_operator(dsn))
    try:
        for statement in statements:
            await db.execute(statement)
    finally:
        await db.close()


async def fetch_as_operator(dsn: str, query: str) -> list[Any]:
    """What the service's role may not read: tables that are made anew."""
    db = await asyncpg.connect(as_operator(dsn))
    try:
        return list(await db.fetch(query))
    finally:
        await db.close()


async def made(url: str, database: str, service: str) -> str:
    """The URL of a database `<prefix>_<name>` with the service's tables, for the service's role; `url` is the server's,
    for a user that may do everything."""
    prefix, _, name = database.rpartition("_")
    await make_roles(f"{url}/{prefix}", password, [name], whole_cluster=True)
    dsn = f"{url_of(f'{url}/{prefix}', name, 'tests').rpartition('/')[0]}/{database}"
    await migrate(as_operator(dsn), migrations_of(service))
    return dsn


class Databases:
    """What a test asks for is empty, and nobody else's until it ends."""

    def __init__(self, url: str) -> None:
        self._url, self._set = url, 0
        self._new: dict[str, tuple[str, dict[tuple[str, str], list[Any]]]] = {}
        """By name, a database's shape and the rows that it had when it was new."""
        self._used: set[str] = set()

    @property
    def operator_url(self) -> str:
        """The operator's DATABASE_URL."""
        return url_of(f"{self._url}/{self._name}", OPERATOR, PASSWORD)

    @property
    def _name(self) -> str:
        return f"test_{os.getpid()}_{self._set}"

    async def made(self, service: str) -> str:
        """The URL of a database with the service's tables, for the service's role."""
        dsn = url_of(f"{self._url}/{self._name}", service, PASSWORD) + f"_{service}"
        if dsn not in self._new:
            await made(self._url, f"{self._name}_{service}", service)
            db = await asyncpg.connect(self._admin(dsn))
            shape, tables = await db.fetchval(_SHAPE), await db.fetch(_TABLES)
            rows = {tuple(table): await db.fetch('select * from "{}"."{}"'.format(*table)) for table in tables}
            await db.close()
            self._new[dsn] = shape, rows
        self._used.add(dsn)
        return dsn

    def _admin(self, dsn: str) -> str:
        return self._url + urlsplit(dsn).path

    async def emptied(self) -> None:
        """As they were when they were new. Those that a test dropped, or gave another shape, are left behind."""
        used, self._used = self._used, set()
        if not all([await self._emptied(dsn) for dsn in used]):
            self._set += 1

    async def _emptied(self, dsn: str) -> bool:
        shape, rows = self._new[dsn]
        try:
            db = await asyncpg.connect(self._admin(dsn))
        except asyncpg.InvalidCatalogNameError:
            return False
        try:
            await db.execute(f"select pg_terminate_backend(pid) {_OTHERS}")
            deadline = time.monotonic() + _GONE_WITHIN_S
            while await db.fetchval(f"select count(*) {_OTHERS}"):
                if time.monotonic() > deadline:
                    return False
                await asyncio.sleep(0.01)
            if await db.fetchval(_SHAPE) != shape:
                return False
            async with db.transaction():
                await db.execute("set local session_replication_role = replica")  # no trigger, no order among tables
                await db.execute(";".join('delete from "{}"."{}"'.format(*table) for table in rows))
                for sequence in await db.fetch(_SEQUENCES):
                    await db.execute('alter sequence "{}"."{}" restart'.format(*sequence))
                for (schema, table), records in rows.items():
                    if records:
                        await db.copy_records_to_table(table, schema_name=schema, records=map(tuple, records))
            return True
        finally:
            await db.close()
