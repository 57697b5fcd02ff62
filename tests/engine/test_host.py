"""Consumers on real Kafka: the database's checkpoint is the truth, through rebalances and against Kafka's own notes."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.eventlog.deliver import host
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.write.postgres import PostgresStore
from shared.events.registry import MARKETPLACE
from tests.databases import execute_as_operator
from tests.engine.hosting import Bench, forgotten, stopped
from tests.system import parts

pytestmark = pytest.mark.system


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
