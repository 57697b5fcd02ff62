"""A topic in its store's order: pure merges, and on a real Kafka with repeats and losses."""

import asyncio
import random
import time
from collections.abc import Iterable

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from shared.eventlog.deliver.ordered import (
    COMES_S,
    InOrder,
    Lost,
    OrderedTopic,
    Placed,
    dense_end,
    exists,
    head_before,
    placed,
)
from shared.eventlog.deliver.relay import partition_of
from shared.events.envelope import StoredEvent
from tests.examples.engine import new_id
from tests.examples.positions import PARTITIONS, Store, all_placed, make_topic, publish, records
from tests.system import parts


def positions(events: Iterable[Placed]) -> list[int]:
    return [event.position for event in events]


def by_partition(events: list[StoredEvent], seed: int) -> list[Placed]:
    """Each partition's events in order, and the partitions in any."""
    left = {n: [e for e in all_placed(events) if e.raw.partition == n] for n in range(PARTITIONS)}
    mixed, choose = [], random.Random(seed)
    while any(left.values()):
        n = choose.choice([n for n, waiting in left.items() if waiting])
        mixed.append(left[n].pop(0))
    return mixed


@pytest.mark.parametrize("seed", range(5))
def test_partitions_in_any_turn_come_in_the_stores_order(seed: int) -> None:
    order, taken = InOrder(0, range(PARTITIONS)), []
    for event in by_partition(Store().grow(200), seed):
        order.add(event)
        taken += order.take(50)
    assert positions(taken) == [*range(1, 201)]


def test_a_repeat_is_taken_once() -> None:
    store = Store()
    store.grow(30)
    order, taken = InOrder(0, range(PARTITIONS)), []
    for event in [*all_placed(store.events[:20]), *all_placed(store.events[5:20]), *all_placed(store.events[10:])]:
        order.add(event)
        taken += order.take(50)
    assert positions(taken) == [*range(1, 31)]


def test_what_follows_a_gap_waits() -> None:
    events = all_placed(Store().grow(20))
    order = InOrder(0, range(PARTITIONS))
    for event in [*events[:7], *events[8:]]:
        order.add(event)
    assert positions(order.take(50)) == [*range(1, 8)] and order.take(50) == [] and order.nearest == 9
    order.add(events[7])
    assert order.take(50) == []  # its partition has come further: it is behind what waits there


def test_the_dense_end_leaves_out_what_is_before_a_gap() -> None:
    events = all_placed(Store().grow(20))
    assert positions(dense_end([*events[12:], *events[:11], *events[15:]])) == [*range(13, 21)]
    assert dense_end([]) == []


def test_a_record_that_was_altered_is_no_event() -> None:
    raw = records(Store().grow(1))[0]
    assert placed(raw) is not None and placed(raw._replace(value=b"{}")) is None


# ── On Kafka ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def topic(kafka: parts.Kafka) -> str:
    name = f"entitlements.{new_id()}"
    await make_topic(kafka.access, name)
    return name


async def read_on(reader: OrderedTopic, order: InOrder, count: int) -> list[Placed]:
    events: list[Placed] = []
    async with asyncio.timeout(30):
        while len(events) < count:
            events += await reader.following(order)
    return events


@pytest.mark.system
async def test_the_newest_and_what_follows_are_read_without_a_gap_or_a_repeat(kafka: parts.Kafka, topic: str) -> None:
    store = Store()
    await publish(kafka.access, topic, store.grow(300))
    async with OrderedTopic(topic, kafka.access) as reader:
        newest, order = await reader.newest(60)
        assert newest[-1].position == 300 and 30 < len(newest) <= 60
        await publish(kafka.access, topic, store.events[250:])  # a relay that begins again
        await publish(kafka.access, topic, store.grow(100))
        assert positions(await read_on(reader, order, 100)) == [*range(301, 401)]


@pytest.mark.system
async def test_the_events_after_any_position_are_found_also_among_repeats(kafka: parts.Kafka, topic: str) -> None:
    store = Store()
    store.grow(400)
    await publish(kafka.access, topic, [*store.events[:200], *store.events[120:200], *store.events[150:]])
    async with OrderedTopic(topic, kafka.access) as reader:
        for after in (0, 1, 119, 160, 199, 200, 399):
            assert positions(await reader.after(after, 1_000)) == [*range(after + 1, 401)]
        assert await reader.after(400, 10) == [] == await reader.after(1_000, 10)
        page: list[int] = [0]
        while events := await reader.after(page[-1], 70):
            page += positions(events)
        assert page == [*range(401)]


@pytest.mark.system
async def test_a_position_that_is_not_kept_is_told_with_the_nearest(kafka: parts.Kafka, topic: str) -> None:
    store = Store()
    await publish(kafka.access, topic, store.grow(120))
    admin = AIOKafkaAdminClient(**kafka.access.client())
    await admin.start()
    kept = {TopicPartition(topic, n): RecordsToDelete(before_offset=8) for n in range(PARTITIONS)}
    await admin.delete_records(kept)
    await admin.close()
    async with OrderedTopic(topic, kafka.access) as reader:
        with pytest.raises(Lost) as lost:
            await reader.after(3, 100)
        assert lost.value.nearest > 4
        assert positions(await reader.after(119, 100)) == [120]


@pytest.mark.system
async def test_a_later_event_that_is_there_first_is_no_loss(kafka: parts.Kafka, topic: str) -> None:
    """A relay publishes to all partitions at once, and whoever reads from Kafka may see one before the others."""
    store = Store()
    events = store.grow(40)
    there = {event.envelope.position: partition_of(event.envelope.stream, PARTITIONS) for event in events}
    late = next(n for n in range(20, 40) if there[n] != there[n + 1])
    await publish(kafka.access, topic, [*events[: late - 1], events[late]])
    async with OrderedTopic(topic, kafka.access) as reader:
        reading = asyncio.create_task(reader.after(late - 1, 100))
        await asyncio.sleep(COMES_S / 2)
        assert not reading.done()
        await publish(kafka.access, topic, events[late - 1 :])
        assert positions(await reading) == [*range(late, 41)]


@pytest.mark.system
async def test_a_forged_position_far_ahead_keeps_nothing_back(kafka: parts.Kafka, topic: str) -> None:
    """No hash is over the position, so an intact event may have any."""
    store = Store()
    await publish(kafka.access, topic, store.grow(60))
    forged = [StoredEvent(envelope._replace(position=10**9), data) for envelope, data in store.events[:20]]
    await publish(kafka.access, topic, forged)
    async with OrderedTopic(topic, kafka.access) as reader:
        newest, order = await reader.newest(600)
        assert positions(newest) == [*range(1, 61)]
        await publish(kafka.access, topic, store.grow(40))
        assert positions(await read_on(reader, order, 40)) == [*range(61, 101)]
        assert positions(await reader.after(60, 100)) == [*range(61, 101)]
        assert await reader.after(100, 100) == []


@pytest.mark.system
async def test_an_empty_topic_is_followed_from_its_first_event(kafka: parts.Kafka, topic: str) -> None:
    async with OrderedTopic(topic, kafka.access) as reader:
        assert await reader.after(0, 10) == []
        newest, order = await reader.newest(60)
        assert newest == []
        await publish(kafka.access, topic, Store().grow(20))
        assert positions(await read_on(reader, order, 20)) == [*range(1, 21)]


@pytest.mark.system
async def test_a_position_is_known_to_be_beyond_the_head_also_while_a_relay_repeats(
    kafka: parts.Kafka, topic: str
) -> None:
    store = Store()
    assert await head_before(topic, 1, kafka.access) == 0
    await publish(kafka.access, topic, [*store.grow(200), *store.events[150:190]])
    assert [await head_before(topic, n, kafka.access) for n in (1, 150, 200, 201, 10**15)] == [*[None] * 3, 200, 200]


@pytest.mark.system
async def test_where_all_is_gone_the_head_is_unknown(kafka: parts.Kafka, topic: str) -> None:
    await publish(kafka.access, topic, Store().grow(20))
    admin = AIOKafkaAdminClient(**kafka.access.client())
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, n): RecordsToDelete(-1) for n in range(PARTITIONS)})
    finally:
        await admin.close()
    async with OrderedTopic(topic, kafka.access) as reader:
        newest, order = await reader.newest(60)
        assert (newest, order.known, reader.complete_since(order, 0.0)) == ([], False, False)
    assert await head_before(topic, 1_000, kafka.access) is None


@pytest.mark.system
async def test_what_follows_is_complete_once_kafka_has_said_so(kafka: parts.Kafka, topic: str) -> None:
    store = Store()
    await publish(kafka.access, topic, store.grow(20))
    async with OrderedTopic(topic, kafka.access) as reader:
        _, order = await reader.newest(60)
        asked = time.time()
        assert not reader.complete_since(order, asked)
        await publish(kafka.access, topic, store.grow(1))
        found: list[Placed] = []
        async with asyncio.timeout(10):
            while not reader.complete_since(order, asked):
                found += await reader.following(order)
        assert positions(found) == [21]


@pytest.mark.system
async def test_whether_a_topic_exists_is_known_at_once(kafka: parts.Kafka, topic: str) -> None:
    """A consumer of a topic that does not exist would wait for it for 40 s."""
    async with asyncio.timeout(10):
        assert not await exists(f"no.{new_id()}", kafka.access)
        while not await exists(topic, kafka.access):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.system
async def test_a_connection_that_is_closed_at_once_holds_nobody_up(kafka: parts.Kafka, topic: str) -> None:
    """Its client waits for a task that has missed its cancellation, without end."""
    async with asyncio.timeout(30):
        for _ in range(5):
            async with OrderedTopic(topic, kafka.access):
                pass
