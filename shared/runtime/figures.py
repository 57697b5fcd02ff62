"""Figures from a service's database: parked records, log, relay, outcomes, late timers."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import asyncpg
import structlog

from shared.eventlog.deliver.received import ALARMING
from shared.eventlog.write.postgres import TRANSIENT
from shared.sql import statements

logger = structlog.get_logger(__name__)

SQL: Final = statements(__file__)
REFRESH_S: Final = 5.0


class Parked(NamedTuple):
    """The records that a consumer has parked for a reason, and the age of the oldest in seconds."""

    consumer: str
    reason: str
    records: int
    oldest_s: float


@dataclass(kw_only=True, slots=True)
class Figures:
    """The figures of one service, as of the last refresh."""

    service: str
    topic: str
    parked: list[Parked] = field(default_factory=list)
    relay_events: int = 0
    relay_s: float = 0.0
    """The age in seconds of the oldest event that is not published."""
    head: int = 0
    published: int = 0
    fenced: bool = False
    outcomes: int = 0
    outcomes_s: float = 0.0
    """The age in seconds of the oldest outcome of a publisher's record that is not published."""
    timers_due: int = 0
    timers_late_s: float = 0.0
    """For how many seconds the earliest timer that is due has been so."""
    size_bytes: int = 0
    read_at: float = field(default_factory=time.monotonic)
    """When the figures were last read, or the process's start, as `time.monotonic` has it."""

    @property
    def alarms(self) -> int:
        """The number of parked records that are forged or differ from the store."""
        return sum(each.records for each in self.parked if each.reason in ALARMING)

    @property
    def oldest_s(self) -> float:
        return max((each.oldest_s for each in self.parked), default=0.0)

    async def refresh(self, db: Any) -> None:
        """Read the figures from the database."""
        self.parked = [Parked(*row.values()) for row in await db.fetch(SQL["parked"])]
        row = await db.fetchrow(SQL["log"], f"relay:{self.topic}")
        self.relay_events, self.relay_s = row["events"], row["seconds"]
        self.head, self.published, self.fenced, self.size_bytes = (
            row[name] for name in ("head", "published", "fenced", "size_bytes")
        )
        row = await db.fetchrow(SQL["outcomes"])
        self.outcomes, self.outcomes_s = row["waiting"], row["oldest_s"]
        row = await db.fetchrow(SQL["timers"])
        self.timers_due, self.timers_late_s = row["due"], row["late_s"]
        self.read_at = time.monotonic()

    async def follow(self, db: Any) -> None:
        """Refresh the figures every few seconds, until cancelled."""
        while True:
            try:
                await self.refresh(db)
            except (*TRANSIENT, asyncpg.PostgresError) as fault:
                logger.warning("could not refresh the figures", fault=repr(fault))
            await asyncio.sleep(REFRESH_S)

    def as_data(self) -> dict[str, Any]:
        """Return the figures for /ready, which shows them; they never make a process unready."""
        return {
            "parked": [
                {"consumer": each.consumer, "reason": each.reason, "records": each.records} for each in self.parked
            ],
            "oldest_parked_s": round(self.oldest_s, 1),
            "alarms": self.alarms,
            "relay": {"behind": self.relay_events, "behind_s": round(self.relay_s, 1)},
        }
