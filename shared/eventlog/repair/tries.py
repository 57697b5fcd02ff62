"""A restore that has begun, noted where nobody overlooks it: the fence of the store that it makes.

It tells who began it, how far it came, where it stopped and why, and what to do, whether the try failed or was killed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from shared.eventlog.repair.guard import FENCE
from shared.eventlog.repair.topic import ReportProgress, TopicReader
from shared.sql import statements

SQL: Final = statements(__file__)

MENDING: Final = "the store is being restored from its topic: "


@dataclass(frozen=True, slots=True)
class RestoreAttempt:
    """How a restore of this service is begun `again`, and `by` whom it was begun now."""

    service: str
    again: str
    by: str

    def begun(self) -> str:
        return f"begun {_now()}" + (f" by {self.by}" if self.by else "")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


@asynccontextmanager
async def recorded(
    this: RestoreAttempt, pool: Any, reader: TopicReader, before: int, progress: ReportProgress
) -> AsyncIterator[ReportProgress]:
    """Fences the store with the record of this try, and lifts the fence at its good end. A try that fails says so
    there; one that is killed leaves the record of its beginning."""
    goal = max([before] + [await _top(reader, n, this.service) for n in reader.ends])
    begun, step = this.begun(), ""

    def told(name: str, done: int, total: int) -> None:
        nonlocal step
        step = name
        progress(name, done, total)

    await _record(
        pool,
        f"{begun}, at position {before:,} of {goal:,}. If it runs no more: what it imported stays; run "
        f"`{this.again}` again, which goes on from there",
    )
    try:
        yield told
    except BaseException as error:
        why = "interrupted" if isinstance(error, asyncio.CancelledError) else f"{type(error).__name__}: {error}"
        with suppress(Exception):  # without its database there is the record of the beginning
            async with asyncio.timeout(10):
                await _stopped(pool, f"{step or 'the beginning'} ({why[:300]}), {begun}", goal, this.again)
        raise
    await pool.execute(SQL["unfence"], MENDING, FENCE)


async def _top(reader: TopicReader, partition: int, service: str) -> int:
    """How far the partition goes, for whoever reads the record. No event has a higher position than there are records;
    what claims one is none."""
    tail = await reader.tail(partition, service)
    return max((found.position for found in tail if found.position <= reader.records), default=0)


async def _stopped(pool: Any, where: str, goal: int, again: str) -> None:
    position = await pool.fetchval(SQL["position"])
    so_far = f"{position:,} of {goal:,} events are imported" if position < goal else f"all {goal:,} events are imported"
    await _record(
        pool, f"it stopped {_now()} at {where}; {so_far}. They stay: run `{again}` again, which goes on from there"
    )


async def _record(pool: Any, text: str) -> None:
    await pool.execute(SQL["fence"], MENDING + text)
