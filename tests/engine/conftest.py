"""Both stores, for the suite that each of them has to pass, and a Kafka whose topics may be lost."""

from collections.abc import AsyncIterator, Iterator

import pytest

from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Store
from tests.engine.restoring import Bench, a_bench
from tests.system import parts


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.system)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    opened = await PostgresStore(request.getfixturevalue("database"), "entitlements").open()
    yield opened
    await opened.close()


@pytest.fixture(scope="package")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Kafka]:
    """For tests that make topics anew: one that nobody else is reading."""
    with parts.kafka(tmp_path_factory.mktemp("restore") / "kafka") as server:
        yield server
        server.kill()


@pytest.fixture
async def bench(database: str, own_kafka: parts.Kafka) -> Bench:
    return await a_bench(database, own_kafka)
