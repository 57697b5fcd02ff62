"""Both stores, for the suite that each of them has to pass."""

from collections.abc import AsyncIterator

import pytest

from shared.eventlog.memory import MemoryStore
from shared.eventlog.postgres import PostgresStore
from shared.eventlog.store import Store


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.system)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    opened = await PostgresStore(request.getfixturevalue("database"), "entitlements").open()
    yield opened
    await opened.close()
