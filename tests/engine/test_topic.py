"""Where a topic's partitions end and where a reading must begin, although the topic repeats. Pure."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import pytest

from shared.eventlog.deliver.received import Raw
from shared.eventlog.deliver.relay import READ_EVENTS
from shared.eventlog.repair.chains import OwnRecord
from shared.eventlog.repair.topic import Begin, TopicReader
from shared.eventlog.write.store import InStore, Lookup
from shared.events.envelope import Envelope, StoredEvent
from tests.examples.engine import NOON

ALL: Final = list(range(1, 100_001))
BLOCK: Final = ALL[50_000 : 50_000 + READ_EVENTS]
"""What a relay that has lost its lease may get in late."""
FORGED: Final = 10**7
"""What is added to a position that a forged record claims: no store has that event there."""


def hash_at(position: int) -> bytes:
    return position.to_bytes(32)


class Reader(TopicReader):
    """Reads one partition, whose records have these positions; a negative one is claimed by a forged record."""

    def __init__(self, positions: Sequence[int]) -> None:
        self.topic, self.starts, self.ends = "t", {0: 0}, {0: len(positions)}
        self.positions, self.read_so_far = positions, 0

    async def own_records(self, partition: int, begin: int, end: int, service: str) -> AsyncIterator[list[OwnRecord]]:
        self.read_so_far += end - begin
        yield [self._found(partition, offset) for offset in range(begin, end)]

    def _found(self, partition: int, offset: int) -> OwnRecord:
        position = self.positions[offset]
        hash_ = hash_at(position if position > 0 else FORGED - position)
        envelope = Envelope("1", "s", "t", "stream", NOON, version=1, position=abs(position), hash=hash_)
        return OwnRecord(Raw(self.topic, partition, offset, None, [], b""), StoredEvent(envelope, b""))


def until(head: int) -> Lookup:
    """What a store with these positions holds."""

    async def in_store(events: Sequence[StoredEvent]) -> list[InStore]:
        positions = [event.envelope.position or 0 for event in events]
        return [InStore(hash_at(position) if position <= head else None) for position in positions]

    return in_store


async def begin_of_unknown(reader: Reader, head: int) -> Begin:
    return await reader.begin_of_unknown(0, "s", until(head))


@pytest.mark.parametrize("standing", [90_000, 98_000, 99_000, 99_999])
@pytest.mark.parametrize("head", [20_000, 60_000, 80_000, 97_500, 99_990])
async def test_a_late_block_of_repeats_hides_nothing_that_a_store_lacks(standing: int, head: int) -> None:
    positions = ALL[:standing] + BLOCK + ALL[standing:]
    reader = Reader(positions)
    begin = await begin_of_unknown(reader, head)
    assert all(before <= head for before in positions[: begin.offset])
    assert {*ALL[: begin.published]} <= {*positions}
    if head == 99_990:
        assert begin.offset > 0, "it does not read everything for the sake of the last"
        assert reader.read_so_far < 30_000


@pytest.mark.parametrize("claimed", [-1, -50_000, -99_500, -(10**6)])
@pytest.mark.parametrize("number", [1, READ_EVENTS - 1, 10_000])
async def test_forged_positions_make_it_begin_earlier_at_most(claimed: int, number: int) -> None:
    """The store ends at 99,000; the topic ends with records that claim positions that they have not."""
    positions = ALL + [claimed] * number
    reader = Reader(positions)
    begin = await begin_of_unknown(reader, 99_000)
    assert all(before <= 99_000 for before in positions[: begin.offset])
    assert begin.offset > 50_000, "it does not read everything for their sake"


async def test_a_late_block_of_repeats_at_the_end_is_not_taken_for_the_end() -> None:
    async def top(positions: Sequence[int]) -> int:
        return max([found.position for found in await Reader(positions).tail(0, "s")], default=0)

    assert await top(ALL + BLOCK) == ALL[-1]
    assert await top(ALL[:500] + ALL[:500]) == 500
    assert await top([]) == 0


async def test_a_short_partition_is_read_from_its_beginning() -> None:
    assert await begin_of_unknown(Reader(ALL[:3_000]), 2_900) == Begin(0, 0)
