"""How far consumers are behind, and whether they go on, as a check of a process's reader finds it."""

from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition

from shared.eventlog.deliver import feed as feeds
from shared.eventlog.deliver.feed import Feed, Stalled
from tests.engine.feeding import END, PLACE, Member, World, projection, record


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


async def test_a_consumer_that_is_apart_is_as_far_behind_as_its_own_next_record(together: set[str]) -> None:
    good, bad = Member("good", projection("good")), Member("bad", projection("bad"))
    world = World(good, bad)
    await world.assign(PLACE)
    together.add("bad")
    bad.fails = True
    await world.give(record(0, age_s=500))
    await world.until(lambda: world.reader.feeds[1].fault == "it fails")
    await world.give(record(1))
    await world.reader.check_progress()
    assert world.lags["bad"][PLACE].seconds >= 500 and world.lags["good"][PLACE].seconds < 400
    world.reader.close()


async def test_a_time_without_checks_does_not_count(world: World) -> None:
    """Kafka or PostgreSQL could not be reached for minutes; what came in the meantime is still to be processed."""
    world.members[0].at = {PLACE: END - 3}
    await world.assign(PLACE)
    feed = await checked(world)
    stand_still(feed)
    feed._watched_at -= feeds.STALLED_S
    await checked(world)
    stand_still(feed)
    with pytest.raises(Stalled):
        await world.reader.check_progress()


async def test_a_partition_that_comes_back_begins_anew(world: World) -> None:
    world.members[0].at = {PLACE: END - 3}
    await world.assign(PLACE)
    stand_still(await checked(world))
    await world.reader.on_partitions_revoked([TopicPartition(*PLACE)])
    await world.assign(PLACE)
    assert (await checked(world)).lag == 2


async def test_kafka_is_told_the_lowest_offset_and_each_consumers_own(together: set[str]) -> None:
    world = World(Member("a", projection("a"), 3), Member("b", projection("b"), 5))
    await world.assign(PLACE)
    await world.reader.check_progress()
    assert world.kafka.committed == {TopicPartition(*PLACE): (4, '{"a":4,"b":6}')}
    world.reader.close()


async def test_a_consumer_whose_checkpoints_cannot_be_read_hides_nothing_of_the_others(together: set[str]) -> None:
    unreadable, good = Member("unreadable", projection("u"), 3), Member("good", projection("g"), 5)
    world = World(unreadable, good)
    await world.assign(PLACE)
    unreadable.unreadable = True
    await world.reader.check_progress()
    assert world.kafka.committed and world.lags["good"][PLACE].records == END - 6
    stand_still(world.reader.feeds[1])
    with pytest.raises(Stalled, match="good"):
        await world.reader.check_progress()
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


async def test_ends_from_before_the_last_records_make_no_checkpoint_one_beyond_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    member = Member("a", projection("a"), END - 1)
    world = World(member)
    await world.assign(PLACE)
    ends = await world.kafka.end_offsets([TopicPartition(*PLACE)])

    async def late(_partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        await world.give(record(END))
        await world.until(lambda: world.reader.feeds[0].next[PLACE] == END + 1)
        return ends

    monkeypatch.setattr(world.kafka, "end_offsets", late)
    await world.reader.check_progress()
    assert world.reader.feeds[0].ready


async def test_ends_from_before_the_last_records_let_nobody_read_them_again(
    together: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    together.add("slow")
    slow = Member("slow", projection("slow"), END - 1)
    world = World(slow)
    await world.assign(PLACE)
    ends = await world.kafka.end_offsets([TopicPartition(*PLACE)])

    async def late(_partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        slow.go_on.clear()
        await world.give(record(END))
        return ends

    monkeypatch.setattr(world.kafka, "end_offsets", late)
    await world.reader.check_progress()
    assert world.reader.feeds[0].next[PLACE] == END and world.reader.position(PLACE) == END + 1
    world.reader.close()
