"""Both stores for their suite, a Kafka whose topics may be lost, and consumers of a Kafka in memory."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from shared.eventlog.deliver import reader as readers
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Store
from tests.engine.feeding import PLACE, Member, World
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


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of consumers whose fold fails when they fold with others."""
    failing = set[str]()

    async def consume_together(shares: Sequence[tuple[Any, Any]]) -> Mapping[str, BatchPlan]:
        done = {}
        for member, share in shares:
            if member.name not in failing:
                member.together.append([each.raw.offset for each in share.records])
                done[member.name] = member.plan(share.records)
        return done

    monkeypatch.setattr(readers, "consume_together", consume_together)
    return failing


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(readers, "LINGER_S", 0.2)
    definition = SimpleNamespace(types=frozenset({"Wanted"}), topics=(PLACE[0],))
    return World(Member("test.feed", definition))
