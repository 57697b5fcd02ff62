"""A restore folds its own topic while it imports it: the tables are those of a fold that reads the topic again."""

from typing import Any

import pytest

from shared.eventlog.repair.folding import FoldAlong
from shared.eventlog.repair.restore import restore_store
from tests.engine.forging import KINDS, copied, plant
from tests.engine.restoring import Bench

pytestmark = pytest.mark.system

STATES = (
    "select * from counted order by 1",
    'select consumer, partition, "offset" from engine.checkpoints order by 1, 2',
    "select consumer, stream, version, hash, tenant from engine.seen order by 1, 2",
    'select consumer, partition, "offset", stream, version, reason, holds_stream, key, headers, value '
    "from engine.parked order by 1, 2, 3",
)


async def test_forged_records_and_repeats_between_the_events_change_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.eventlog.repair.topic.FETCHED", 25)
    await bench.fill(60)
    await bench.relay()
    in_their_partitions = [kind for kind in KINDS if kind is not copied]  # between partitions there is no order
    await plant(bench, *in_their_partitions)
    await bench.query("update engine.leases set position = 20")  # the relay publishes the events after it again
    await bench.fill(60, seed=1)
    await bench.relay()

    async def restored() -> tuple[list[Any], int, int]:
        """What the tables are, how many records were read for them, and how many of these were read again."""
        await bench.empty()
        again = 0

        def progress(step: str, _done: int, total: int) -> None:
            nonlocal again
            again = total if step.startswith("folding") else again

        done = await restore_store(bench.whole, bench.operator, bench.access, dry_run=False, progress=progress)
        rows = [await bench.query(state) for state in STATES]
        return [[tuple(row) for row in each] for each in rows], done.folded, again

    along, folded, again = await restored()
    assert sum(n for _, n in along[0]) == 120
    assert again < folded / 2

    async def never(_along: FoldAlong, _offsets: object) -> bool:
        return False

    monkeypatch.setattr(FoldAlong, "begin", never)
    assert await restored() == (along, folded, folded)
