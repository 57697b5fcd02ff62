"""The time of an organisation: real time, or for a sandbox so many seconds ahead, as identity's events say.

Business decisions take their `now` from here, in every service. An event's own time stays real.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from shared.eventlog.postgres import TRANSIENT
from shared.eventlog.projection import Connection, Projection
from shared.events import ClockMoved
from shared.events.envelope import Envelope
from shared.events.registry import IDENTITY

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.1
"""How late another process of the service may know that a clock was moved."""

CLOCKS: Final = Projection(
    "clocks", topics=(IDENTITY,), tables=("engine.clocks",), apart=("change",),
    # Whoever has looked at the old table has to find all of the new one changed.
    takes_over="update {new}.clocks set change = change + (select coalesce(max(change), 0) from engine.clocks)",
)  # fmt: skip


@CLOCKS.on(ClockMoved)
async def _(tx: Connection, event: ClockMoved, _of: Envelope) -> None:
    await tx.execute(
        "insert into engine.clocks (organisation_id, ahead_s, change) "
        "values ($1, $2, (select coalesce(max(change), 0) + 1 from engine.clocks)) on conflict (organisation_id) "
        "do update set ahead_s = excluded.ahead_s, change = excluded.change",
        event.organisation_id, event.ahead_s,
    )  # fmt: skip


class Clocks:
    """What time it is for whom, as this process knows it."""

    def __init__(self, real: Callable[[], datetime], ahead_s: Mapping[str, int] | None = None) -> None:
        self.real = real
        self._ahead = {name: timedelta(seconds=s) for name, s in (ahead_s or {}).items()}
        self._change = 0

    def time_of(self, organisation_id: str) -> datetime:
        """Now, UTC, for this organisation."""
        ahead = self._ahead.get(organisation_id)
        return self.real() if ahead is None else self.real() + ahead

    async def look(self, db: Any) -> None:
        """Learns the clocks that were moved since the last look."""
        for row in await db.fetch("select * from engine.clocks where change > $1 order by change", self._change):
            self._ahead[row["organisation_id"]] = timedelta(seconds=row["ahead_s"])
            self._change = row["change"]

    async def follow(self, db: Any) -> None:
        """Looks until cancelled."""
        while True:
            try:
                await self.look(db)
            except TRANSIENT as fault:
                log.warning("the clocks can't be read", fault=repr(fault))
            await asyncio.sleep(LOOK_EVERY_S)
