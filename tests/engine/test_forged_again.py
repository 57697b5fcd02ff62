"""What forged records do that lie in a topic before the genuine ones, when the topic is read again: nothing."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Literal

import asyncpg
import pytest

from services.entitlements.projections import POOLS
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import Partition, Raw, receive
from shared.eventlog.repair import asof, rebuild
from shared.eventlog.repair.asof import as_of
from shared.eventlog.repair.rebuild import Rebuild
from shared.eventlog.repair.scratch import Piece
from shared.eventlog.write.log import utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events.envelope import StoredEvent, chained
from shared.events.registry import ENTITLEMENTS
from tests.databases import as_operator
from tests.engine.rebuilding import Bench

pytestmark = pytest.mark.system
NO_KAFKA = KafkaAccess(bootstrap="127.0.0.1:1")
PLACE: Partition = (ENTITLEMENTS, 0)


class Topic:
    """Stands in for what is read of the topic's one partition: all of its records, in their order."""

    records: list[Raw]

    def __init__(self, _access: KafkaAccess, types: frozenset[str]) -> None:
        self.types = types

    async def __aenter__(self) -> "Topic":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def ends(self, places: Iterable[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(places, len(self.records) - 1)

    async def between(
        self, done: Mapping[Partition, int], upto: Mapping[Partition, int]
    ) -> AsyncIterator[tuple[dict[Partition, int], list[Piece]]]:
        if done.get(PLACE, -1) < upto.get(PLACE, -1):
            read = [receive(raw, frozenset()) for raw in self.records[: upto[PLACE] + 1]]
            yield {PLACE: upto[PLACE]}, [Piece(one.envelope, one.raw.value) for one in read if one.envelope is not None]


@pytest.fixture
async def bench(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    for module in (rebuild, asof):
        monkeypatch.setattr(module, "Topics", Topic)
    yield Bench(database, pool, store, POOLS)
    await store.close()
    await pool.close()


def forged(stored: StoredEvent, **differs: Any) -> StoredEvent:
    """Another event of the same type, stream and version, with a hash that fits it."""
    data = stored.data.replace(b"a-1", b"a-7")
    envelope = stored.envelope._replace(id=stored.envelope.id[:-12] + "f" * 12, **differs)
    return StoredEvent(envelope._replace(hash=chained(envelope, data)), data)


async def parked_of_forgeries(bench: Bench, reader: str) -> list[str]:
    """A pool with seats, and forged events before each of its genuine ones; all consumed. Answers what was parked."""
    await bench.pools(1)
    genuine = await bench.store.read(0, 100)
    records = []
    for stored in genuine:
        records += [forged(stored, prevhash=b"\7" * 32), stored, forged(stored)]
    Topic.records = [Raw(*PLACE, n, e.envelope.stream.encode(), e.headers(), e.data) for n, e in enumerate(records)]
    consumer = Consumer(reader, POOLS, bench.pool, bench.log, Clocks(utc_now))
    await consumer.assigned([PLACE])
    await consumer.consume([receive(raw, POOLS.types) for raw in Topic.records])
    return [row["reason"] for row in await bench.pool.fetch("select reason from engine.parked")]


@pytest.mark.parametrize(("reader", "source"), [("distribution", "store"), ("entitlements", "kafka")])
async def test_a_rebuild_folds_what_its_consumer_has_applied(
    bench: Bench, reader: str, source: Literal["store", "kafka"]
) -> None:
    """By what it knows of another service's streams, and by the store of those that are its own."""
    parked = await parked_of_forgeries(bench, reader)
    foreign = {"forged", "broken-chain", "conflict"}  # forged: a first version after another event
    assert set(parked) == (foreign if reader == "distribution" else {"forged"})
    assert len(parked) == 2 * 5
    seats = await bench.rows("seats")
    report = await Rebuild(reader, POOLS, as_operator(bench.dsn), NO_KAFKA, source=source).run()
    assert (report.state, report.agrees, report.events) == ("switched", True, 5)
    assert await bench.rows("seats") == seats != []


async def test_the_tables_as_of_a_time_have_what_the_consumer_has_applied_by_then(bench: Bench) -> None:
    """Not what it has not judged yet, either."""
    await parked_of_forgeries(bench, "distribution")
    last = (await bench.store.read(0, 100))[-1]
    follows = forged(last, version=6, prevhash=last.envelope.hash)
    key, headers = follows.envelope.stream.encode(), follows.headers()
    Topic.records.append(Raw(*PLACE, len(Topic.records), key, headers, follows.data))
    async with as_of("distribution", POOLS, as_operator(bench.dsn), NO_KAFKA, time=utc_now()) as now:
        assert (now.events, await bench.rows("seats", now.schema)) == (5, await bench.rows("seats"))
