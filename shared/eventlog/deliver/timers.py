"""Durable timers, which become commands of the service when they are due.

A timer is due in the time of its organisation. A service's events set and cancel timers, so they are folded into a
table and a replay makes them again. The command's id is derived from the timer's name, key and time, so firing a timer
twice changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, TypeVar

import structlog
import uuid_utils

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.projection import Connection, Projection, ReactionContext
from shared.eventlog.write.log import Log, Meta, Refused
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Lease, Unavailable
from shared.events.base import Event
from shared.events.envelope import Envelope, derived_id
from shared.sql import statements

logger = structlog.get_logger(__name__)

E = TypeVar("E", bound=Event)
X = TypeVar("X")

POLL_EVERY_S: Final = 0.2
REST: Final = 20
"""After a poll that fires nothing, the pause is this many times as long as the poll.

A poll reads the clock of every sandbox, so its duration grows with their number."""
LEASE_S: Final = 6.0
AT_ONCE: Final = 500
ACTOR: Final = "timer"
"""The actor of events that a timer has led to."""


SQL: Final = statements(__file__)


@dataclass(frozen=True, slots=True)
class Set:
    """Set a timer. It replaces an earlier one with the same name and key.

    Attributes:
        name: The timer's name. A colon and a suffix distinguish timers that become the same command.
        key: The business key of the stream that gets the command.
        due: When the timer fires, in the time of the organisation `customer`.
    """

    name: str
    key: str
    due: datetime
    customer: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel the timer with this name and key."""

    name: str
    key: str


Change: TypeAlias = Set | Cancel
_Changes: TypeAlias = Callable[[X, Envelope], Sequence[Change]]
Fire = Callable[[str, datetime, ReactionContext], Awaitable[Any]]


class Timers:
    """The timers of one service: the events that set them, and the commands that they become.

    Args:
        topics: The topics to read.
        ignores: The events of the topics that neither set nor cancel a timer, on purpose.
    """

    def __init__(self, *, topics: Sequence[str], ignores: Sequence[type[Event]] = ()) -> None:
        self.projection = Projection(
            "timers",
            topics=topics,
            tables=("engine.timers",),
            ignores=ignores,
            carry_over_sql=SQL["carry_over"],
        )
        self._fires: dict[str, tuple[Stream[Any, Any, Any], Fire]] = {}

    def on(self, event_type: type[E]) -> Callable[[_Changes[E | X]], _Changes[E | X]]:
        """Declare which timers this event type sets and cancels.

        A function for several event types has one such decorator for each, and takes the union of the types.
        """

        def declare(changes: _Changes[E | X]) -> _Changes[E | X]:
            async def fold(tx: Connection, event: E | X, envelope: Envelope) -> None:
                for change in changes(event, envelope):
                    await _apply(tx, change, envelope)

            fold.__dict__["__wrapped__"] = changes  # `inspect.unwrap` finds the service's function by it.
            self.projection.on(event_type)(fold)
            return changes

        return declare

    def fires(self, name: str, stream: Stream[Any, Any, Any]) -> Callable[[Fire], Fire]:
        """Declare the command that the timer `name` becomes.

        The function gets the timer's key, the time of its organisation, and the service's streams, but no lookups.
        """

        def declare(fire: Fire) -> Fire:
            if name in self._fires:
                raise ValueError(f"the timer {name} is declared twice")
            self._fires[name] = (stream, fire)
            return fire

        return declare

    @property
    def names(self) -> frozenset[str]:
        """The names of the declared timers."""
        return frozenset(self._fires)

    async def command(
        self, name: str, key: str, now: datetime, context: ReactionContext
    ) -> tuple[Stream[Any, Any, Any], Any]:
        """Return the stream and the command of a timer that is due."""
        stream, fire = self._fires[name.partition(":")[0]]
        return stream, await fire(key, now, context)


async def _apply(tx: Connection, change: Change, envelope: Envelope) -> None:
    if isinstance(change, Cancel):
        await tx.execute(SQL["cancel"], change.name, change.key)
        return
    await tx.execute(
        SQL["set"], change.name, change.key, change.due, change.customer, envelope.id, envelope.correlation_id
    )


class TimerService:
    """The task that fires timers, in one process of the service at a time."""

    def __init__(self, service: str, timers: Timers, db: Any, commands: Log, clocks: Clocks) -> None:
        self._service, self._timers, self._db, self._commands, self._clocks = service, timers, db, commands, clocks
        self._owner = str(uuid_utils.uuid7())
        self._name = f"timers:{service}"
        self._poll_s = 0.0

    async def run(self) -> None:
        """Fire timers until cancelled. Temporary errors of the database lead to another attempt."""
        lease: Lease | None = None
        renew_at = 0.0
        try:
            while True:
                fired = 0
                try:
                    now = asyncio.get_running_loop().time()
                    if lease is None or now >= renew_at:
                        lease = await self._commands.store.lease(self._name, self._owner, LEASE_S)
                        renew_at = now + LEASE_S / 3
                    if lease is not None:
                        fired = await self.fire()
                except (*TRANSIENT, Unavailable, Conflict) as fault:
                    logger.warning("timers cannot be fired: trying again", service=self._service, fault=repr(fault))
                    await asyncio.sleep(1)
                if not fired:
                    await asyncio.sleep(max(POLL_EVERY_S, REST * self._poll_s))
        finally:
            if lease is not None:
                await self._commands.store.release(self._name, lease)

    async def fire(self) -> int:
        """Fire the timers that are due, those of each stream in order. Return how many were due."""
        began = asyncio.get_running_loop().time()
        rows = await self._db.fetch(SQL["due"], self._clocks.real(), AT_ONCE)
        self._poll_s = asyncio.get_running_loop().time() - began
        by_key: dict[str, list[Any]] = {}
        for row in rows:
            by_key.setdefault(row["key"], []).append(row)
        results = await asyncio.gather(*(self._in_order(timers) for timers in by_key.values()), return_exceptions=True)
        if fired := [timer for result in results if not isinstance(result, BaseException) for timer in result]:
            await self._db.execute(SQL["fired"], *(list(column) for column in zip(*fired, strict=True)))
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(rows)

    async def _in_order(self, rows: Sequence[Any]) -> list[tuple[str, str, datetime]]:
        """Fire the timers of one key in order. Return those that have fired.

        After a temporary error none of them counts as fired, because firing one again changes nothing.
        """
        return [(row["name"], row["key"], row["due"]) for row in rows if await self._fire(row)]

    async def _fire(self, row: Any) -> bool:
        name, key, due = row["name"], row["key"], row["due"]
        # This is the clock by which the timer was found due. The clocks in this process may be older, and a timer must
        # not fire early.
        now = self._clocks.real() + timedelta(seconds=row["ahead_s"])
        first_due = row["first_due"] or due  # A postponed timer keeps its command's id.
        meta = Meta(
            derived_id("timer", name, key, first_due.isoformat()),
            ACTOR,
            self._clocks.real(),
            row["correlation_id"] or row["set_by"],
            row["set_by"],
        )
        try:
            context = ReactionContext(None, self._commands, self._clocks.real(), self._clocks)
            stream, command = await self._timers.command(name, key, now, context)
            answer = await self._commands.execute(stream, key, command, meta)
        except (*TRANSIENT, Unavailable, Conflict):
            raise
        except Exception:
            # This timer has a bug. It is tried again in an hour, and the others go on.
            logger.exception("a timer cannot be fired: it is postponed by an hour", timer=name, key=key)
            await self._db.execute(SQL["postpone"], name, key, due, now + timedelta(hours=1))
            return False
        logger.info(
            "timer", timer=name, stream=answer.stream, rule=answer.rule if isinstance(answer, Refused) else None
        )
        return True
