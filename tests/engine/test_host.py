"""Consumers on real Kafka: the database's checkpoint is the truth, through rebalances and against Kafka's own notes."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.eventlog.deliver import host
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.host import ConsumerHost
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Head
from shared.events import CsnIssued
from shared.events.envelope import Envelope
from shared.events.registry import MARKETPLACE
from tests.databases import execute_as_operator
from tests.examples.engine import head_of, next_events, write
from tests.system import parts

pytestmark = pytest.mark.system

BODY = CsnIssued(csn="1", organisation_id="o", publisher="p").data()


class Bench:
    """A store that is relayed, and a consumer of its topic with a table of what it applied."""

    def __init__(self, store: PostgresStore, pool: Any, kafka: parts.Kafka, name: str) -> None:
        self.store, self.pool, self.kafka, self.name = store, pool, kafka, name
        self.streams = {f"{name}-{n}": Head() for n in range(12)}

    def host(self) -> ConsumerHost:
        table = Projection(self.name, topics=(MARKETPLACE,))

        @table.on(CsnIssued)
        async def csn_issued(tx: Any, _event: CsnIssued, envelope: Envelope) -> None:
            await tx.execute("insert into applied values ($1, $2)", envelope.stream, envelope.version)

        consumer = Consumer("test", table, self.pool, Log(self.store, "marketplace"), Clocks(utc_now))
        return ConsumerHost([consumer], self.kafka.access)

    async def fill(self, rounds: int) -> None:
        for _ in range(rounds):
            writes = []
            for stream, head in self.streams.items():
                made = write(stream, head)
                made.events = next_events(stream, head, 1, BODY, service="marketplace", event_type="CsnIssued")
                writes.append(made)
            await asyncio.gather(*(self.store.append(w) for w in writes))
            self.streams |= {w.stream: head_of(w.events) for w in writes}

    async def applied(self, patience_s: float = 40) -> None:
        """Returns once everything was applied; the primary key sees to it that nothing was twice."""
        expected = sum(head.version for head in self.streams.values())
        async with asyncio.timeout(patience_s):
            while await self.pool.fetchval("select count(*) from applied") < expected:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        # Of its own: other tests leave records on this Kafka that nobody can read.
        assert await self.pool.fetch("select * from engine.parked where stream is not null") == []


@pytest.fixture
async def bench(database: str, kafka: parts.Kafka) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "marketplace").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=6)
    await execute_as_operator(
        database, "create table applied (stream text, version int, primary key (stream, version))"
    )
    relay = asyncio.create_task(Relay(store, MARKETPLACE, kafka.access).run())
    yield Bench(store, pool, kafka, database.rsplit("/", 1)[1])
    await stopped(relay)
    await store.close()
    await pool.close()


async def stopped(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await forgotten()


async def forgotten() -> None:
    """A client that is stopped while it connects leaves that connection to the garbage collector, which says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
        await asyncio.sleep(0.05)
        gc.collect()


async def test_members_that_come_and_go_apply_everything_once(bench: Bench) -> None:
    first = asyncio.create_task(bench.host().run())
    await bench.fill(3)
    second = asyncio.create_task(bench.host().run())
    await bench.fill(5)
    await asyncio.sleep(1.5)  # in the middle of the rebalance or after it: both have to do
    await bench.fill(3)
    await stopped(first)
    await bench.fill(3)
    await bench.applied()
    await stopped(second)


async def test_a_database_that_was_set_back_is_caught_up_though_nothing_new_comes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that lost its last moments: consumers' transactions don't wait for the disk."""
    monkeypatch.setattr(host, "WATCH_EVERY_S", 0.2)
    running = asyncio.create_task(bench.host().run())
    await bench.fill(3)
    await bench.applied()
    async with bench.pool.acquire() as db, db.transaction():
        await db.execute(
            """update engine.checkpoints set "offset" = -1; delete from engine.seen; delete from applied"""
        )
    await bench.applied()
    await stopped(running)


@pytest.mark.parametrize("told", [0, 10_000])
async def test_what_kafka_was_told_does_not_count(bench: Bench, told: int) -> None:
    """Kafka's offset of the group is wrong, far behind or ahead; the database knows better."""
    running = asyncio.create_task(bench.host().run())
    await bench.fill(3)
    await bench.applied()
    await stopped(running)
    liar = AIOKafkaConsumer(**bench.kafka.access.client(), group_id=f"test.{bench.name}")
    await liar.start()
    partitions = [TopicPartition(MARKETPLACE, n) for n in range(6)]
    liar.assign(partitions)
    await liar.commit(dict.fromkeys(partitions, told))
    await liar.stop()
    del liar
    await forgotten()
    await bench.fill(2)
    running = asyncio.create_task(bench.host().run())
    await bench.applied()
    await stopped(running)
