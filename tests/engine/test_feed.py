"""What a process's reader makes of what it fetched, without Kafka: who processes what, together or apart."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from shared.eventlog.deliver import feed as feeds
from shared.eventlog.deliver import lane as lanes
from shared.eventlog.deliver import reader as readers
from shared.eventlog.deliver.consumer import BATCH_RECORDS
from shared.eventlog.deliver.lag import times_of
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.projection import Reactions
from shared.eventlog.deliver.received import Received
from shared.events import PlanListed
from shared.events.registry import ENTITLEMENTS, INBOUND, MARKETPLACE, inbound_topic
from tests.engine.feeding import PLACE, Kafka, Member, World, projection, record


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


async def test_who_was_overtaken_by_another_member_stays_ready_and_tries_again(together: set[str]) -> None:
    member = Member("slow", projection("slow"))
    world = World(member)
    await world.assign(PLACE)
    together.add("slow")
    member.overtaken = 1
    await world.give(record(0))
    feed = world.reader.feeds[0]
    await world.until(lambda: not member.overtaken)
    assert feed.fault is None and not member.alone
    await world.until(lambda: feed._lane.idle)
    assert member.alone == [[0]]


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
    times = times_of([record(1, place=place)])
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


@pytest.mark.parametrize("broken", ["receive_all", "offer"])
async def test_records_that_cannot_be_offered_are_fetched_again_and_the_reader_goes_on(
    broken: str, together: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug must neither repeat the batch without a pause nor skip its records."""
    members = Member("a", projection("a")), Member("b", projection("b"))
    world = World(*members)
    await world.assign(PLACE)

    def breaks(*_: object) -> None:
        raise RuntimeError("a bug")

    where: object = readers if broken == "receive_all" else world.reader.feeds[1]
    with monkeypatch.context() as patch:
        patch.setattr(where, broken, breaks)
        await world.give(record(0), record(1))
    assert not world.reader._fetched and world.reader.position(PLACE) == 2
    await world.until(lambda: all(feed.next == {PLACE: 2} and feed._lane.idle for feed in world.reader.feeds))
    await world.give(record(2))
    assert [each.alone + each.together for each in members] == [[[0, 1], [2]]] * 2


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
