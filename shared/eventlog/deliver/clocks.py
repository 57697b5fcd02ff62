"""The time of an organisation: real time, or for a sandbox some seconds ahead of it.

Decisions take their `now` from here. An event's own time stays real. The table `engine.clocks` says how far ahead each
organisation is; a projection of the service fills it.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from shared.eventlog.write.postgres import TRANSIENT
from shared.sql import statements

SQL: Final = statements(__file__)

logger = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.1
"""How late another process of the service usually knows that a clock was moved."""
FRESH_S: Final = 0.5
"""How late it knows at most, when it decides something: see `Clocks.fresh`."""


class Clocks:
    """What time it is for whom, as this process knows it."""

    def __init__(self, real: Callable[[], datetime], ahead_s: Mapping[str, int] | None = None) -> None:
        self.real = real
        self._ahead = {name: timedelta(seconds=s) for name, s in (ahead_s or {}).items()}
        self._change = 0
        self._looked_at: float | None = None

    def time_of(self, organisation_id: str) -> datetime:
        """Now, UTC, for this organisation."""
        ahead = self._ahead.get(organisation_id)
        return self.real() if ahead is None else self.real() + ahead

    def ahead_s(self, organisation_id: str) -> int:
        """How far ahead of real time this organisation is."""
        ahead = self._ahead.get(organisation_id)
        return 0 if ahead is None else int(ahead.total_seconds())

    async def refresh(self, db: Any) -> None:
        """Learns the clocks that were moved since the last look."""
        began = asyncio.get_running_loop().time()
        for row in await db.fetch(SQL["moved"], self._change):
            if row["change"] > self._change:  # or another look, begun later, has been quicker
                self._ahead[row["organisation_id"]] = timedelta(seconds=row["ahead_s"])
                self._change = row["change"]
        self._looked_at = max(began, self._looked_at or began)

    async def fresh(self, db: Any) -> None:
        """What is decided now is decided by clocks that were read at most FRESH_S ago: looks, if whoever follows them
        has not. Raises the driver's error when that can't be done. Clocks that nobody reads (a test's) stay as they
        are."""
        if self._looked_at is not None and asyncio.get_running_loop().time() - self._looked_at > FRESH_S:
            await self.refresh(db)

    async def follow(self, db: Any) -> None:
        """Looks until cancelled."""
        while True:
            try:
                await self.refresh(db)
            except TRANSIENT as fault:
                logger.warning("the clocks can't be read", fault=repr(fault))
            await asyncio.sleep(LOOK_EVERY_S)
