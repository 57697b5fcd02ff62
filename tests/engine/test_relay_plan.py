"""What the relay publishes, and what makes it stop. Pure."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from shared.eventlog.deliver.relay import OutOfOrder, Published, partition_of, plan
from shared.eventlog.write.store import Head
from shared.events.envelope import StoredEvent
from tests.examples.engine import head_of, next_events


def stored(*streams: str) -> list[StoredEvent]:
    """A store's events: one of each stream named, in this order."""
    heads: dict[str, Head] = {}
    events = []
    for position, stream in enumerate(streams, start=1):
        (event,) = next_events(stream, heads.get(stream, Head()), 1)
        heads[stream] = head_of([event])
        events.append(StoredEvent(event.envelope._replace(position=position), event.data))
    return events


@given(st.lists(st.sampled_from("abcdef"), max_size=60), st.integers(1, 7), st.data())
def test_everything_is_sent_once_and_each_stream_in_order(
    names: list[str], partitions: int, data: st.DataObject
) -> None:
    events, published = stored(*names), Published()
    sent: list[StoredEvent] = []
    done = 0
    while done < len(events):
        step = data.draw(st.integers(1, len(events) - done))
        batches = plan(done, events[done : done + step], published, partitions)
        for partition, batch in batches.items():
            assert all(partition_of(e.envelope.stream, partitions) == partition for e in batch)
            sent += batch
        done += step
    assert sorted(e.envelope.position or 0 for e in sent) == list(range(1, len(events) + 1))
    for name in set(names):
        versions = [e.envelope.version for e in sent if e.envelope.stream == name]
        assert versions == list(range(1, len(versions) + 1))


def test_a_missing_position_stops_it() -> None:
    events = stored("a", "b", "c")
    with pytest.raises(OutOfOrder, match="position 2 should come"):
        plan(0, [events[0], events[2]], Published(), 3)


def test_a_repeated_or_skipped_version_stops_it() -> None:
    first, second, third = stored("a", "a", "a")
    moved = StoredEvent(third.envelope._replace(position=2), third.data)
    with pytest.raises(OutOfOrder, match="does not continue"):
        plan(0, [first, moved], Published(), 3)
    again = StoredEvent(first.envelope._replace(position=3), first.data)
    with pytest.raises(OutOfOrder, match="does not continue"):
        plan(0, [first, second, again], Published(), 3)


def test_an_event_that_is_chained_to_something_else_stops_it() -> None:
    first, second = stored("a", "a")
    forged = StoredEvent(second.envelope._replace(prevhash=b"x" * 32), second.data)
    with pytest.raises(OutOfOrder):
        plan(0, [first, forged], Published(), 3)


def test_a_relay_that_starts_in_the_middle_asks_the_store_where_streams_stood() -> None:
    events = stored("a", "b", "a", "c")
    published = Published()
    assert published.unknown(events[2:]) == ["a"]
    with pytest.raises(OutOfOrder):
        plan(2, events[2:], published, 3)
    published = Published({"a": head_of(events[:1])})
    assert published.unknown(events[2:]) == []
    assert sum(len(batch) for batch in plan(2, events[2:], published, 3).values()) == 2


@given(st.text(min_size=1, max_size=40), st.integers(1, 50))
def test_a_streams_partition_is_the_one_every_kafka_client_would_choose(stream: str, partitions: int) -> None:
    numbers = list(range(partitions))
    assert partition_of(stream, partitions) == DefaultPartitioner()(stream.encode(), numbers, numbers)
