"""Databases for tests: one a service, emptied after each test. To make one takes a hundred times as long."""

import asyncio
import os
import time
from typing import Any, Final

import asyncpg

from shared.eventlog.migrate import migrate

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


class Databases:
    """What a test asks for is empty, and nobody else's until it ends."""

    def __init__(self, url: str) -> None:
        self._url, self._set = url, 0
        self._new: dict[str, tuple[str, dict[tuple[str, str], list[Any]]]] = {}
        """By name, a database's shape and the rows that it had when it was new."""
        self._used: set[str] = set()

    @property
    def prefix(self) -> str:
        """The URL of a service's database, up to `_SERVICE`."""
        return f"{self._url}/test_{os.getpid()}_{self._set}"

    async def made(self, service: str) -> str:
        """The URL of a database with the service's tables."""
        dsn = f"{self.prefix}_{service}"
        if dsn not in self._new:
            await migrate(dsn, service)
            db = await asyncpg.connect(dsn)
            shape, tables = await db.fetchval(_SHAPE), await db.fetch(_TABLES)
            rows = {tuple(table): await db.fetch('select * from "{}"."{}"'.format(*table)) for table in tables}
            await db.close()
            self._new[dsn] = shape, rows
        self._used.add(dsn)
        return dsn

    async def emptied(self) -> None:
        """As they were when they were new. Those that a test dropped, or gave another shape, are left behind."""
        used, self._used = self._used, set()
        if not all([await self._emptied(dsn) for dsn in used]):
            self._set += 1

    async def _emptied(self, dsn: str) -> bool:
        shape, rows = self._new[dsn]
        try:
            db = await asyncpg.connect(dsn)
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
