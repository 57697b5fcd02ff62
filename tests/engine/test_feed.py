"""What a feed makes a batch of, without Kafka: a consumer that has records in store, and is told where to go on."""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from shared.eventlog.deliver import host
from shared.eventlog.deliver.consumer import BATCH_RECORDS
from shared.eventlog.deliver.host import Feed, Stalled
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.projection import Reactions
from shared.eventlog.deliver.received import Received
from shared.eventlog.write.log import utc_now
from shared.events.registry import INBOUND, inbound_topic

PLACE = ("entitlements.events.v1", 0)
END = 9


def record(offset: int, event_type: str = "Boring", place: tuple[str, int] = PLACE) -> ConsumerRecord:
    headers = [("ce_id", None), ("ce_type", event_type.encode())]
    return ConsumerRecord(*place, offset, 0, 0, b"k", b"{}", None, 1, 2, headers)


class Kafka:
    """Gives one of these fetches after the other, then nothing more."""

    def __init__(self, *fetches: Sequence[ConsumerRecord] | Callable[[], Sequence[ConsumerRecord]]) -> None:
        self.fetches = list(fetches)
        self.paused: set[tuple[str, int]] = set()

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, Sequence[ConsumerRecord]]:
        if not self.fetches:
            await asyncio.sleep(timeout_ms / 1000)
            return {}
        fetch = self.fetches.pop(0)
        found = fetch() if callable(fetch) else fetch
        return {TopicPartition(*PLACE): found[:max_records]}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """What comes next is in `fetches`."""

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, END)

    async def commit(self, offsets: Any) -> None: ...

    def pause(self, partition: TopicPartition) -> None:
        self.paused.add(tuple(partition))

    def resume(self, partition: TopicPartition) -> None:
        self.paused.discard(tuple(partition))


class Subscriber:
    consumer: Any = None
    get_msg: Any = None

    def __call__(self, _handle: Any) -> None: ...


@pytest.fixture
async def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setattr(host, "LINGER_S", 0.2)
    definition = SimpleNamespace(types=frozenset({"Wanted"}), topics=(PLACE[0],))
    broker = SimpleNamespace(subscriber=lambda *_, **__: Subscriber())

    async def set_back(_partitions: Any) -> list[Any]:
        return []

    consumer = SimpleNamespace(name="test.feed", definition=definition, set_back=set_back, now=utc_now)
    made = Feed(cast(Any, consumer), cast(Any, broker), None)
    made._subscriber.consumer = Kafka()
    return made


async def offsets(feed: Feed, kafka: Kafka) -> list[int]:
    return [r.offset for r in await feed._subscriber.get_msg(kafka)]


async def test_a_record_of_use_comes_at_once_with_those_before_it(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "LINGER_S", 60.0)
    kafka = Kafka([record(0)], [record(1), record(2, "Wanted")], [record(3, "Wanted")])
    async with asyncio.timeout(30):
        assert await offsets(feed, kafka) == [0, 1, 2]


async def test_records_of_no_use_come_after_a_while(feed: Feed) -> None:
    began = asyncio.get_running_loop().time()
    assert await offsets(feed, Kafka([record(0)], [record(1)])) == [0, 1]
    assert asyncio.get_running_loop().time() - began >= host.LINGER_S


async def test_a_batch_never_has_more_than_a_restore_goes_back(feed: Feed) -> None:
    many = [record(n) for n in range(BATCH_RECORDS)]
    assert len(await offsets(feed, Kafka(many[:400], many))) == BATCH_RECORDS


async def test_what_was_fetched_before_a_seek_is_forgotten(feed: Feed) -> None:
    def gone_back() -> list[ConsumerRecord]:
        feed._seek(PLACE, 3)
        return [record(3), record(4, "Wanted")]

    assert await offsets(feed, Kafka([record(7)], gone_back)) == [3, 4]
    feed._seek(PLACE, 1)
    await feed.handle(())  # deals with nothing: this consumer has no `consume`
    assert not feed._fetched


async def test_who_has_records_to_go_and_makes_no_progress_ends_its_process(feed: Feed) -> None:
    feed._seek(PLACE, END - 2)
    feed._seek((PLACE[0], 1), 0)
    await feed.check_progress()
    assert feed.lag == 2 + END
    feed._stands = {place: (offset, since - host.STALLED_S) for place, (offset, since) in feed._stands.items()}
    feed._seek((PLACE[0], 1), 1)  # another partition's progress does not count
    with pytest.raises(Stalled, match=r"test\.feed has 2 records to process in .* \[0\]"):
        await feed.check_progress()


async def test_who_has_nothing_to_do_or_says_why_it_waits_is_left_alone(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "STALLED_S", 0.0)
    feed._seek(PLACE, END)
    await feed.check_progress()
    await feed.check_progress()
    feed._seek(PLACE, END - 2)
    feed._pauses[PLACE] = 30.0
    await feed.check_progress()
    assert feed.lag == 2


async def test_a_wait_with_a_reason_does_not_count_when_the_reason_is_gone(feed: Feed) -> None:
    """A store that was fenced for minutes, say."""
    feed._seek(PLACE, END - 2)
    await feed.check_progress()
    feed._stands = {place: (offset, since - host.STALLED_S) for place, (offset, since) in feed._stands.items()}
    feed._pauses[PLACE] = 30.0
    await feed.check_progress()
    del feed._pauses[PLACE]
    await feed.check_progress()
    assert feed.lag == 2


async def test_a_slow_sender_is_left_apart_and_delays_nobody(feed: Feed) -> None:
    slow, other = (inbound_topic("slow"), 0), (inbound_topic("other"), 0)
    go_on, done = asyncio.Event(), list[str]()

    async def consume(records: Sequence[Received], _impatient: Any) -> BatchPlan:
        (topic,) = {each.raw.topic for each in records}
        if topic == slow[0]:
            await go_on.wait()
        done.append(topic)
        return BatchPlan(offsets={(each.raw.topic, each.raw.partition): each.raw.offset for each in records})

    consumer = cast(Any, feed.consumer)
    consumer.consume, consumer.definition = consume, Reactions("feed", topics=(INBOUND,))
    kafka = feed._subscriber.consumer
    places = (slow, other, PLACE)
    for place in places:
        feed._seek(place, 0)
    feed._fetched = [record(0, place=place) for place in places]
    async with asyncio.timeout(30):
        await feed.handle(())
        assert sorted(done) == sorted([other[0], PLACE[0]])
        assert kafka.paused == {slow} and feed._mine == {slow: 0, other: 1, PLACE: 1}
        kafka.paused.clear()  # a pause that is over
        feed._fetched = [record(1, place=slow)]
        await feed.handle(())
        assert kafka.paused == {slow} and len(done) == 2, "its records go on after those before them"
        go_on.set()
        while kafka.paused:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert feed._mine[slow] == 1
