"""The clocks of organisations: the real time, or for a sandbox a time ahead of it.

Decisions take their `now` from here. An event's own time is always real. The table `engine.clocks`, which a projection
of the service fills, has how many seconds each organisation's clock is ahead.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

import structlog

from shared.eventlog.deliver.notices import Pause
from shared.eventlog.write.postgres import TRANSIENT
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)

logger = structlog.get_logger(__name__)

REFRESH_EVERY_S: Final = 0.1
"""How often a process reads which clocks were moved, while checkpoints move."""
QUIET_S: Final = 0.4
"""How often it reads them while none moves."""
FRESH_S: Final = 0.5
"""The greatest age, in seconds, of the clocks that a decision uses. See `Clocks.fresh`."""


class MovedClock(NamedTuple):
    """An organisation's clock that was moved.

    Attributes:
        ahead_s: How many seconds it is ahead of the real time.
        change: The number of the change. Later changes have greater numbers.
    """

    organisation_id: str
    ahead_s: int
    change: int


class ClockTable(Protocol):
    """The moved clocks that a projection of the service stores."""

    async def moved_after(self, change: int) -> Sequence[MovedClock]:
        """Return the clocks that were moved after a change, in the order of their changes."""
        ...


class PostgresClocks:
    """`ClockTable` in the table `engine.clocks`."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def moved_after(self, change: int) -> Sequence[MovedClock]:
        return [MovedClock(*row) for row in await self._db.fetch(SQL["moved"], change)]


class Clocks:
    """The clocks of all organisations, as this process last read them."""

    def __init__(
        self,
        real: Callable[[], datetime],
        ahead_s: Mapping[str, int] | None = None,
        *,
        table: Callable[[Any], ClockTable] = PostgresClocks,
    ) -> None:
        """Create the clocks.

        Args:
            ahead_s: How many seconds each organisation's clock is ahead, until the first refresh.
            table: Makes the table of moved clocks from what `refresh`, `fresh` and `follow` get.
        """
        self.real, self._table = real, table
        self._ahead = {name: timedelta(seconds=s) for name, s in (ahead_s or {}).items()}
        self._change = 0
        self._refreshed_at: float | None = None

    def time_of(self, organisation_id: str) -> datetime:
        """Return the current time of this organisation, in UTC."""
        ahead = self._ahead.get(organisation_id)
        return self.real() if ahead is None else self.real() + ahead

    def ahead_s(self, organisation_id: str) -> int:
        """Return how many seconds this organisation's clock is ahead of the real time."""
        ahead = self._ahead.get(organisation_id)
        return 0 if ahead is None else int(ahead.total_seconds())

    async def refresh(self, db: Any) -> None:
        """Read the clocks that were moved since the last refresh."""
        began = asyncio.get_running_loop().time()
        for moved in await self._table(db).moved_after(self._change):
            if moved.change > self._change:  # A refresh that began later may have ended first.
                self._ahead[moved.organisation_id] = timedelta(seconds=moved.ahead_s)
                self._change = moved.change
        self._refreshed_at = max(began, self._refreshed_at or began)

    async def fresh(self, db: Any) -> None:
        """Refresh the clocks if they were read more than FRESH_S seconds ago.

        Clocks that were never read, as in a test, stay as they are.

        Raises:
            asyncpg.PostgresError: The clocks cannot be read.
            OSError: The database cannot be reached.
        """
        if self._refreshed_at is not None and asyncio.get_running_loop().time() - self._refreshed_at > FRESH_S:
            await self.refresh(db)

    async def follow(self, db: Any, pause: Pause) -> None:
        """Refresh the clocks regularly, until cancelled."""
        while True:
            try:
                await self.refresh(db)
            except TRANSIENT as fault:
                logger.warning("the clocks cannot be read", fault=repr(fault))
            await pause.wait(REFRESH_EVERY_S, QUIET_S)
