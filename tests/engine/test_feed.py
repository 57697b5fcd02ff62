"""What a process's reader makes of what it fetched, without Kafka: who processes what, together or apart."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from shared.eventlog.deliver import feed as feeds
from shared.eventlog.deliver import lane as lanes
from shared.eventlog.deliver import reader as readers
from shared.eventlog.deliver.applying import Fault
from shared.eventlog.deliver.consumer import BATCH_RECORDS
from shared.eventlog.deliver.feed import Feed, Stalled
from shared.eventlog.deliver.lag import times_of
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.deliver.reader import SharedReader
from shared.eventlog.deliver.received import Partition, Received
from shared.eventlog.write.log import utc_now
from shared.events import PlanListed
from shared.events.registry import ENTITLEMENTS, INBOUND, MARKETPLACE, inbound_topic

PLACE = (ENTITLEMENTS, 0)
END = 9


def record(offset: int, event_type: str = "Boring", place: tuple[str, int] = PLACE) -> ConsumerRecord:
    headers = [("ce_id", None), ("ce_type", event_type.encode())]
    return ConsumerRecord(*place, offset, 0, 0, b"k", b"{}", None, 1, 2, headers)


class Kafka:
    """Gives one of these fetches after the other, then nothing more."""

    def __init__(self, *fetches: Sequence[ConsumerRecord] | Callable[[], Sequence[ConsumerRecord]]) -> None:
        self.fetches = list(fetches)
        self.paused: set[tuple[str, int]] = set()
        self.committed: dict[Any, Any] = {}

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

    async def commit(self, offsets: Any) -> None:
        self.committed |= offsets

    def pause(self, partition: TopicPartition) -> None:
        self.paused.add(tuple(partition))

    def resume(self, partition: TopicPartition) -> None:
        self.paused.discard(tuple(partition))


class Subscriber:
    consumer: Any = None
    get_msg: Any = None

    def __call__(self, _handle: Any) -> None: ...


class Member:
    """A consumer that notes what it is given, alone or with others, and does with it as it is told."""

    def __init__(self, name: str, definition: Any, at: int = -1) -> None:
        self.name, self.definition, self.at, self.now = name, definition, dict[Partition, int](), utc_now
        self.first = at
        self.alone, self.together = list[list[int]](), list[list[int]]()
        self.fails = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def set_back(self, _partitions: Any) -> list[Any]:
        return []

    async def assigned(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return {partition: self.at.setdefault(partition, self.first) for partition in partitions}

    def share(self, records: Sequence[Received], _impatient: Any) -> Any:
        return SimpleNamespace(consumer=self.name, records=records)

    async def consume(self, records: Sequence[Received], _impatient: Any) -> BatchPlan:
        await self.go_on.wait()
        if self.fails:
            raise Fault("it fails")
        self.alone.append([each.raw.offset for each in records])
        return self.plan(records)

    def plan(self, records: Sequence[Received]) -> BatchPlan:
        done = BatchPlan(offsets={(each.raw.topic, each.raw.partition): each.raw.offset for each in records})
        self.at |= done.offsets
        return done


class World:
    """A reader, its consumers, and what can be fetched again."""

    def __init__(self, *members: Member) -> None:
        self.members, self.kafka, self.topic = members, Kafka(), dict[Partition, list[ConsumerRecord]]()
        self.refetched = list[Mapping[Partition, int]]()
        broker = SimpleNamespace(subscriber=lambda *_, **__: Subscriber())
        refetcher = SimpleNamespace(fetch=self.fetch, close_unused=self.nothing)
        self.reader = SharedReader("test.consumers", cast(Any, members), cast(Any, broker), cast(Any, refetcher))
        self.reader._subscriber.consumer = self.kafka

    async def nothing(self) -> None:
        """There is no connection."""

    async def fetch(self, offsets: Mapping[Partition, int]) -> Sequence[ConsumerRecord]:
        self.refetched.append(offsets)
        found = [each for place, offset in offsets.items() for each in self.topic.get(place, [])[offset:]]
        await asyncio.sleep(0 if found else 0.01)
        return found

    async def assign(self, *places: Partition) -> None:
        await self.reader.on_partitions_assigned([TopicPartition(*place) for place in places])

    async def give(self, *records: ConsumerRecord) -> None:
        """The next records come to the reader."""
        for each in records:
            self.topic.setdefault((each.topic, each.partition), []).append(each)
        self.reader._fetched = [*records]
        await self.reader.handle(())

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


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


def projection(name: str, *topics: str) -> Projection:
    return Projection(name, topics=topics or (ENTITLEMENTS,))


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(readers, "LINGER_S", 0.2)
    definition = SimpleNamespace(types=frozenset({"Wanted"}), topics=(PLACE[0],))
    return World(Member("test.feed", definition))


async def offsets(world: World, kafka: Kafka) -> list[int]:
    return [r.offset for r in await world.reader._subscriber.get_msg(kafka)]


# ── Fetching ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_record_of_use_comes_at_once_with_those_before_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "LINGER_S", 60.0)
    kafka = Kafka([record(0)], [record(1), record(2, "Wanted")], [record(3, "Wanted")])
    async with asyncio.timeout(30):
        assert await offsets(world, kafka) == [0, 1, 2]


async def test_records_of_no_use_come_after_a_while(world: World) -> None:
    began = asyncio.get_running_loop().time()
    assert await offsets(world, Kafka([record(0)], [record(1)])) == [0, 1]
    assert asyncio.get_running_loop().time() - began >= readers.LINGER_S


async def test_a_batch_never_has_more_than_a_restore_goes_back(world: World) -> None:
    many = [record(n) for n in range(BATCH_RECORDS)]
    assert len(await offsets(world, Kafka(many[:400], many))) == BATCH_RECORDS


async def test_what_was_fetched_before_a_seek_is_forgotten(world: World, together: set[str]) -> None:
    def gone_back() -> list[ConsumerRecord]:
        world.reader._seek(PLACE, 3)
        return [record(3), record(4, "Wanted")]

    assert await offsets(world, Kafka([record(7)], gone_back)) == [3, 4]
    world.reader._seek(PLACE, 1)
    await world.reader.handle(())
    assert not world.reader._fetched and not world.members[0].together


async def test_a_reader_begins_at_the_slowest_of_those_that_are_not_far_behind(together: set[str]) -> None:
    ahead, near, far = (
        Member("ahead", projection("a"), 2000),
        Member("near", projection("n"), 1990),
        Member("far", projection("f"), 0),
    )
    world = World(ahead, near, far)
    world.topic[PLACE] = [record(n) for n in range(2005)]
    await world.assign(PLACE)
    assert world.reader.position(PLACE) == 1991
    world.reader._fetched = world.topic[PLACE][1991:]
    await world.reader.handle(())
    assert (near.together, ahead.together) == ([list(range(1991, 2005))], [list(range(2001, 2005))])
    assert not far.together
    await world.until(lambda: world.reader.feeds[2].next[PLACE] == 2005)
    assert not near.alone and [n for batch in far.alone for n in batch] == list(range(1, 2005))
    await world.until(lambda: world.reader.feeds[2]._lane.idle)
    await world.give(record(2005))
    assert [each.together[-1] for each in (ahead, near, far)] == [[2005]] * 3, "it has caught up"


# ── Together and apart ─────────────────────────────────────────────────────────────────────────────────


async def test_who_fails_goes_on_alone_and_holds_nobody(together: set[str]) -> None:
    good, bad = Member("good", projection("good")), Member("bad", projection("bad"))
    world = World(good, bad)
    await world.assign(PLACE)
    await world.give(record(0))
    together.add("bad")
    bad.go_on.clear()
    await world.give(record(1))
    await world.give(record(2))
    assert good.together == [[0], [1], [2]] and bad.together == [[0]]
    bad.go_on.set()
    await world.until(lambda: [n for batch in bad.alone for n in batch] == [1, 2] and world.reader.feeds[1]._lane.idle)
    together.clear()
    await world.give(record(3))
    assert good.together[-1] == bad.together[-1] == [3] and not world.refetched


async def test_who_has_to_try_again_fetches_again_and_says_why_it_waits(together: set[str]) -> None:
    good, bad = Member("good", projection("good")), Member("bad", projection("bad"))
    world = World(good, bad)
    await world.assign(PLACE)
    together.add("bad")
    bad.fails = True
    await world.give(record(0))
    feed = world.reader.feeds[1]
    await world.until(lambda: feed.fault == "it fails")
    await world.give(record(1))
    assert good.together == [[0], [1]] and not world.kafka.paused
    bad.fails = False
    together.clear()
    await world.until(lambda: feed._lane.idle)
    assert bad.alone == [[0, 1]] and world.refetched[-1] == {PLACE: 0} and feed.fault is None


async def test_a_gap_is_fetched_again_and_another_partition_goes_on(
    together: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (ENTITLEMENTS, 1)
    member = Member("m", projection("m"))
    world = World(member)
    plan, gaps = member.plan, [True]

    def with_a_gap(records: Sequence[Received]) -> BatchPlan:
        done = plan(records)
        if gaps and PLACE in done.offsets:
            gaps.clear()
            done.offsets.pop(PLACE)
            done.refetch[PLACE], done.gaps = 0, ["version 2 came after 0"]
        return done

    monkeypatch.setattr(member, "plan", with_a_gap)
    await world.assign(PLACE, other)
    await world.give(record(0), record(0, place=other))
    assert world.reader.feeds[0].fault == "version 2 came after 0"
    assert world.reader.feeds[0].next == {PLACE: 0, other: 1}
    await world.until(lambda: world.reader.feeds[0].next == {PLACE: 1, other: 1})
    assert world.refetched[0] == {PLACE: 0} and world.reader.feeds[0].fault is None


async def test_reactions_with_nothing_to_react_to_move_with_the_others(together: set[str]) -> None:
    fold = Member("fold", projection("fold", MARKETPLACE))
    reactions = Reactions("react", topics=(MARKETPLACE,))
    reactions.on(PlanListed)(cast(Any, None))
    react, place = Member("react", reactions), (MARKETPLACE, 0)
    world = World(fold, react)
    await world.assign(place)
    await world.give(record(0, place=place))
    assert fold.together == react.together == [[0]]
    event = cast(Any, object())
    lane = world.reader.feeds[1]._lane
    raw = SimpleNamespace(topic=place[0], partition=0, offset=1, headers=(), value=b"")
    portion = feeds.Portion([Received(cast(Any, raw), None, event)], [], frozenset())
    world.reader._position[place] = 2
    times = times_of([])
    assert world.reader.feeds[1].offer({place: portion}, times) is None and not lane.idle
    assert world.reader.feeds[0].offer({place: portion}, times) is not None
    await world.until(lambda: react.alone == [[1]])


async def test_a_lane_that_is_too_far_behind_forgets_what_waits_and_fetches_it_later(
    together: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "QUEUED", 3)
    good, slow = Member("good", projection("good")), Member("slow", projection("slow"))
    world = World(good, slow)
    await world.assign(PLACE)
    together.add("slow")
    slow.go_on.clear()
    for number in range(10):
        await world.give(record(number))
        await asyncio.sleep(0)
    assert len(good.together) == 10
    assert sum(map(len, world.reader.feeds[1]._lane._queue.values())) <= 3
    slow.go_on.set()
    together.clear()
    await world.until(lambda: world.reader.feeds[1]._lane.idle)
    assert [n for batch in slow.alone for n in batch] == list(range(10)) and world.refetched


async def test_a_partition_that_nobody_takes_is_not_fetched(together: set[str]) -> None:
    member = Member("m", projection("m"))
    world = World(member)
    await world.assign(PLACE)
    together.add("m")
    member.fails = True
    await world.give(record(0))
    await world.until(lambda: world.kafka.paused == {PLACE})
    member.fails = False
    await world.until(lambda: not world.kafka.paused)


async def test_a_slow_sender_is_left_apart_and_delays_nobody(
    together: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = (inbound_topic("slow"), 0), (inbound_topic("other"), 0)
    member = Member("react", Reactions("react", topics=(INBOUND, ENTITLEMENTS)))
    consume = member.consume

    async def consume_slowly(records: Sequence[Received], impatient: Any) -> BatchPlan:
        if records[0].raw.topic == slow[0]:
            await go_on.wait()
        return await consume(records, impatient)

    go_on = asyncio.Event()
    monkeypatch.setattr(member, "consume", consume_slowly)
    world = World(member)
    await world.assign(slow, other, PLACE)
    await world.give(*(record(0, place=place) for place in (slow, other, PLACE)))
    feed = world.reader.feeds[0]
    await world.until(lambda: feed.next == {slow: 0, other: 1, PLACE: 1})
    await world.give(record(1, place=slow), record(1, place=other))
    await world.until(lambda: feed.next == {slow: 0, other: 2, PLACE: 1})
    go_on.set()
    await world.until(lambda: feed.next == {slow: 2, other: 2, PLACE: 1})
    assert [0, 1] not in member.alone, "its records go on after those before them"


async def test_a_batch_from_before_a_new_assignment_does_not_count(together: set[str]) -> None:
    member = Member("m", projection("m"))
    world = World(member)
    await world.assign(PLACE)
    together.add("m")
    member.go_on.clear()
    await world.give(record(0), record(1))
    await asyncio.sleep(0)
    await world.reader.on_partitions_revoked([TopicPartition(*PLACE)])
    member.go_on.set()
    await world.until(lambda: member.alone == [[0, 1]])
    assert world.reader.feeds[0].next == {}
    member.at[PLACE] = -1
    await world.assign(PLACE)
    assert world.reader.feeds[0].next == {PLACE: 0}


async def test_a_reader_that_is_closed_processes_nothing_more(together: set[str]) -> None:
    """Its connection was lost, and another reader goes on."""
    member = Member("m", projection("m"))
    world = World(member)
    await world.assign(PLACE)
    together.add("m")
    member.go_on.clear()
    await world.give(record(0))
    await asyncio.sleep(0)
    world.reader.close()
    member.go_on.set()
    await world.give(record(1))
    await asyncio.sleep(0.01)
    assert not member.alone and world.reader.feeds[0]._lane.idle


# ── Progress ───────────────────────────────────────────────────────────────────────────────────────────


async def checked(world: World) -> Feed:
    await world.reader.check_progress()
    return world.reader.feeds[0]


def stand_still(feed: Feed) -> None:
    feed._stands = {place: (offset, since - feeds.STALLED_S) for place, (offset, since) in feed._stands.items()}


async def test_who_has_records_to_go_and_makes_no_progress_ends_its_process(world: World) -> None:
    other = (PLACE[0], 1)
    world.members[0].at = {PLACE: END - 3, other: -1}
    await world.assign(PLACE, other)
    feed = await checked(world)
    assert feed.lag == 2 + END
    stand_still(feed)
    feed.place(other, 1)  # another partition's progress does not count
    with pytest.raises(Stalled, match=r"test\.feed has 2 records to process in .* \[0\]"):
        await world.reader.check_progress()


async def test_who_has_nothing_to_do_or_says_why_it_waits_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "STALLED_S", 0.0)
    world.members[0].at = {PLACE: END - 1}
    await world.assign(PLACE)
    feed = await checked(world)
    await checked(world)
    feed.place(PLACE, END - 2)
    feed._lane.pauses[PLACE] = 30.0
    await checked(world)
    assert feed.lag == 2


async def test_a_wait_with_a_reason_does_not_count_when_the_reason_is_gone(world: World) -> None:
    """A store that was fenced for minutes, say."""
    world.members[0].at = {PLACE: END - 3}
    await world.assign(PLACE)
    feed = await checked(world)
    stand_still(feed)
    feed._lane.pauses[PLACE] = 30.0
    await checked(world)
    del feed._lane.pauses[PLACE]
    await checked(world)
    assert feed.lag == 2


async def test_kafka_is_told_the_lowest_offset_and_each_consumers_own(together: set[str]) -> None:
    world = World(Member("a", projection("a"), 3), Member("b", projection("b"), 5))
    await world.assign(PLACE)
    await world.reader.check_progress()
    assert world.kafka.committed == {TopicPartition(*PLACE): (4, '{"a":4,"b":6}')}
    world.reader.close()


async def test_a_checkpoint_beyond_the_end_is_said_and_the_others_go_on(together: set[str]) -> None:
    good, lost = Member("good", projection("good"), END - 1), Member("lost", projection("lost"), END + 50)
    world = World(good, lost)
    await world.assign(PLACE)
    assert world.reader.position(PLACE) == END
    await world.reader.check_progress()
    assert "beyond the end" in (world.reader.feeds[1].fault or "") and world.reader.feeds[0].fault is None
    await world.give(record(END))
    assert good.together == [[END]] and not lost.together
