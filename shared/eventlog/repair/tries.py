"""Records of restore attempts, written as the reason of the store's fence.

Whether the attempt failed or was killed, the record says who began it, how far it came, where it stopped and why, and
what to do.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from shared.eventlog.deliver.relay import READ_EVENTS
from shared.eventlog.repair.guard import FENCE
from shared.eventlog.repair.topic import ReportProgress, TopicReader
from shared.sql import statements

SQL: Final = statements(__file__)

MENDING: Final = "the store is being restored from its topic: "
LAST: Final = READ_EVENTS // 2
"""How many records of a partition say how far it has come: a block of repeats is spread over all partitions."""
_AGAIN: Final = re.compile(r"run `tenure (?P<verb>[a-z ]+) \S+` again, which continues from there$")


@dataclass(frozen=True, slots=True)
class RestoreAttempt:
    """An attempt to restore or reconcile a service's store."""

    service: str
    verb: str
    """The verb that starts it again."""
    by: str
    """Who started it; "" if unknown."""

    @property
    def again(self) -> str:
        """What its record ends with: how to continue it."""
        return f"run `tenure {self.verb} {self.service}` again, which continues from there"

    def begun(self) -> str:
        return f"begun {_now()}" + (f" by {self.by}" if self.by else "")


def continued_by(fence: str) -> str | None:
    """Return the verb that continues an attempt, by the end of its record.

    What people wrote stands before it.
    """
    found = _AGAIN.search(fence)
    return None if found is None else found["verb"]


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


@asynccontextmanager
async def recorded(
    attempt: RestoreAttempt, pool: Any, reader: TopicReader, before: int, progress: ReportProgress
) -> AsyncIterator[ReportProgress]:
    """Fence the store with the attempt's record, and lift the fence when the block succeeds.

    A failure is added to the record. An attempt that is killed leaves the record of its beginning.

    Yields:
        A progress function that also notes the current step for the record.
    """
    goal = max(before, await highest_position(reader, attempt.service))
    begun, step = attempt.begun(), ""

    def report(name: str, done: int, total: int) -> None:
        nonlocal step
        step = name
        progress(name, done, total)

    await _record(
        pool,
        f"{begun}, at position {before:,} of {goal:,}. If it no longer runs: what it imported stays; {attempt.again}",
    )
    try:
        yield report
    except BaseException as error:
        cancelled = isinstance(error, asyncio.CancelledError)
        why = str(error) or "interrupted" if cancelled else f"{type(error).__name__}: {error}"
        with suppress(Exception):  # if the database is unavailable, the record of the beginning remains
            async with asyncio.timeout(10):
                await _record_failure(pool, f"{step or 'the beginning'} ({why[:300]}), {begun}", goal, attempt.again)
        raise
    await pool.execute(SQL["unfence"], MENDING, FENCE)


async def highest_position(reader: TopicReader, service: str) -> int:
    """Estimate the highest position in the topic from each partition's last records.

    It is too low only if the last records of all partitions are a late block of repeats, by less than READ_EVENTS. No
    event has a higher position than the topic has records: a record that claims one is forged.
    """
    tails = [await reader.tail(partition, service, LAST) for partition in reader.ends]
    return max((each.position for tail in tails for each in tail if each.position <= reader.records), default=0)


async def _record_failure(pool: Any, where: str, goal: int, again: str) -> None:
    position = await pool.fetchval(SQL["position"])
    so_far = f"{position:,} of {goal:,} events are imported" if position < goal else f"all {goal:,} events are imported"
    await _record(pool, f"it stopped {_now()} at {where}; {so_far}. They stay: {again}")


async def _record(pool: Any, text: str) -> None:
    await pool.execute(SQL["fence"], MENDING + text)
