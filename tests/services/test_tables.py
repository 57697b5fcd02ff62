"""Every table of a service is one projection's, so that a rebuild of them all makes all of them again."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from services import definitions
from shared.eventlog.repair.scratch import bare, code_of, live, make
from shared.runtime.service import Service
from tests.databases import as_operator


@pytest.mark.system
@pytest.mark.parametrize("service", definitions(), ids=lambda s: s.name)
async def test_every_table_belongs_to_one_projection(service: Service, databases: Callable[[str], str]) -> None:
    db: Any = await asyncpg.connect(as_operator(databases(service.name)))
    try:
        rows = await db.fetch("select tablename from pg_tables where schemaname = 'public'")
        kept = {"alembic_version", *service.private_tables}
        declared = Counter(live(table) for p in service.projections for table in p.tables)
        assert {f"public.{row['tablename']}" for row in rows} - {f"public.{name}" for name in kept} == {
            name for name in declared if name.startswith("public.")
        }
        assert set(declared.values()) == {1}
        for projection in service.projections:
            await make(db, projection, f"scratch_{projection.name}")
            copied = await db.fetch(
                "select tablename from pg_tables where schemaname = $1", f"scratch_{projection.name}"
            )
            assert {row["tablename"] for row in copied} == {*map(bare, projection.tables), "_seen", "_progress"}
            assert len(code_of(projection)) == 32
    finally:
        await db.close()
