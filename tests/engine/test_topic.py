"""Where a topic's partitions end and where a reading must begin, although the topic repeats. Pure."""

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from shared.eventlog.relay import READ_EVENTS
from shared.eventlog.topic import TopicReader

ALL = list(range(1, 100_001))
BLOCK = ALL[50_000 : 50_000 + READ_EVENTS]
"""What a relay that has lost its lease may get in late."""


class Reader(TopicReader):
    """Reads one partition, whose records have these positions."""

    def __init__(self, positions: Sequence[int]) -> None:
        self.topic, self.starts, self.ends = "t", {0: 0}, {0: len(positions)}
        self.positions, self.read_so_far = positions, 0

    async def _own(self, partition: int, begin: int, end: int, service: str) -> AsyncIterator[Any]:
        for offset in range(begin, end):
            self.read_so_far += 1
            yield SimpleNamespace(position=self.positions[offset])


@pytest.mark.parametrize("standing", [90_000, 98_000, 99_000, 99_999])
@pytest.mark.parametrize("position", [20_000, 60_000, 80_000, 97_500, 99_990])
async def test_a_late_block_of_repeats_hides_no_first_record(standing: int, position: int) -> None:
    positions = ALL[:standing] + BLOCK + ALL[standing:]
    reader = Reader(positions)
    begin = await reader.offset_before(0, position, "s")
    assert all(before <= position for before in positions[:begin])
    if position == 99_990:
        assert begin > 0, "it does not read everything for the sake of the last"
        assert reader.read_so_far < 30_000


async def test_a_late_block_of_repeats_at_the_end_is_not_taken_for_the_end() -> None:
    assert (await Reader(ALL + BLOCK).last(0, "s") or SimpleNamespace(position=0)).position == ALL[-1]
    assert (await Reader(ALL[:500] + ALL[:500]).last(0, "s") or SimpleNamespace(position=0)).position == 500
    assert await Reader([]).last(0, "s") is None


async def test_a_short_partition_is_read_from_its_beginning() -> None:
    assert await Reader(ALL[:3_000]).offset_before(0, 2_900, "s") == 0
