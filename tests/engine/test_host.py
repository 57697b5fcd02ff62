"""Consumers on real Kafka: the database's checkpoint is the truth, through rebalances and against Kafka's own notes."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.eventlog.deliver import host
from shared.eventlog.deliver.projection import Reactions
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.repair import resuming
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
    liar = AIOKafkaConsumer(**bench.kafka.access.client(), group_id=f"test.{bench.name}", enable_auto_commit=False)
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


async def test_processes_of_two_versions_side_by_side_apply_everything_once(bench: Bench) -> None:
    """Formerly each consumer had a group of its own: for a time both read every partition."""
    former = asyncio.create_task(bench.host(group=f"test.former-{bench.name}").run())
    await bench.fill(3)
    present = asyncio.create_task(bench.host().run())
    for _ in range(10):
        await bench.fill(1)
        await asyncio.sleep(0.1)
    await stopped(former)
    await bench.fill(3)
    await bench.applied()
    await stopped(present)


async def test_what_a_consumer_reached_is_known_to_a_restore_by_its_own_offset(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its service's group says it; where that says nothing, the group that the consumer had formerly."""
    monkeypatch.setattr(host, "WATCH_EVERY_S", 0.1)
    service = f"test-{bench.name}"
    reactions: Reactions[None] = Reactions(bench.name, topics=(MARKETPLACE,))
    running = asyncio.create_task(bench.host(group=f"{service}.consumers", name=f"{service}.{bench.name}").run())
    await bench.fill(2)
    await bench.applied()
    async with asyncio.timeout(30):
        while (marked := await _marked(service, reactions, bench)) != await _reached(bench):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await stopped(running)
    number = max(marked, key=lambda each: marked[each])
    assert set((await _marked("test-other", reactions, bench)).values()) == {-1}
    await bench.fill(1)
    partition = TopicPartition(MARKETPLACE, number)
    for former, offset in (("test-former", 1), (service, marked[number] + 2)):
        liar = AIOKafkaConsumer(
            **bench.kafka.access.client(), group_id=f"{former}.{bench.name}", enable_auto_commit=False
        )
        await liar.start()
        liar.assign([partition])
        async with asyncio.timeout(30):
            while (await liar.end_offsets([partition]))[partition] < offset:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await liar.commit({partition: offset})
        await liar.stop()
        del liar
        await forgotten()
    assert (await _marked("test-former", reactions, bench))[number] == 0
    assert await _marked(service, reactions, bench) == marked, "a former group's offset does not count"


async def _reached(bench: Bench) -> dict[int, int]:
    rows = await bench.pool.fetch('select partition, "offset" from engine.checkpoints')
    return {row["partition"]: row["offset"] for row in rows}


async def _marked(service: str, reactions: Reactions[None], bench: Bench) -> dict[int, int]:
    marks = await resuming.marks(service, reactions, frozenset(), bench.kafka.access)
    return {mark.partition: mark.offset for mark in marks}
