"""Durable timers, which become commands of the service when they are due.

A timer is due in the time of its organisation. A service's events set and cancel timers, so they are folded into a
table and a replay makes them again. The command's id is derived from the timer's name, key and time, so firing a timer
twice changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar

import structlog
import uuid_utils

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.notices import Pause
from shared.eventlog.deliver.projection import Connection, Projection, ReactionContext
from shared.eventlog.write.log import Log, Meta, Refused
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Lease, Unavailable
from shared.events.base import Event
from shared.events.envelope import Envelope, derived_id
from shared.sql import Queryable, statements

logger = structlog.get_logger(__name__)

E = TypeVar("E", bound=Event)
X = TypeVar("X")

POLL_EVERY_S: Final = 0.2
QUIET_S: Final = 1.0
"""How often timers are polled while no checkpoint moves; a timer may fire so much later than it is due."""
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


class DueTimer(NamedTuple):
    """A timer that is due.

    Attributes:
        first_due: The time that it was set to, if it was postponed.
        ahead_s: How many seconds the clock of its organisation is ahead of the real time.
        set_by: The id of the event that set it.
    """

    name: str
    key: str
    due: datetime
    first_due: datetime | None
    ahead_s: int
    set_by: str
    correlation_id: str | None


Fired: TypeAlias = tuple[str, str, datetime]
"""The name and the key of a timer, and the time at which it was due."""


class TimerTable(Protocol):
    """The timers that a service stores, read and written over one connection, or over a pool."""

    async def set(self, timer: Set, envelope: Envelope) -> None:
        """Set a timer. It replaces an earlier one with the same name and key, also a postponed one.

        Args:
            envelope: The envelope of the event that sets it.
        """
        ...

    async def cancel(self, timer: Cancel) -> None:
        """Delete the timer, if it is set."""
        ...

    async def due(self, now: datetime, limit: int) -> Sequence[DueTimer]:
        """Return timers that are due in the time of their organisation, the earliest first.

        Args:
            now: The real time.
            limit: The greatest number of timers. Which ones of those with the same time are left out is undefined.
        """
        ...

    async def delete(self, fired: Sequence[Fired]) -> None:
        """Delete the timers that have fired, unless they were set to another time since."""
        ...

    async def postpone(self, timer: Fired, until: datetime) -> None:
        """Set the timer to a later time, and keep the time it was first due.

        A timer that was set to another time since stays.
        """
        ...


class PostgresTimers:
    """`TimerTable` in the table `engine.timers`."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def set(self, timer: Set, envelope: Envelope) -> None:
        event = envelope.id, envelope.correlation_id
        await self._db.execute(SQL["set"], timer.name, timer.key, timer.due, timer.customer, *event)

    async def cancel(self, timer: Cancel) -> None:
        await self._db.execute(SQL["cancel"], timer.name, timer.key)

    async def due(self, now: datetime, limit: int) -> Sequence[DueTimer]:
        return [DueTimer(*row) for row in await self._db.fetch(SQL["due"], now, limit)]

    async def delete(self, fired: Sequence[Fired]) -> None:
        await self._db.execute(SQL["fired"], *(list(column) for column in zip(*fired, strict=True)))

    async def postpone(self, timer: Fired, until: datetime) -> None:
        await self._db.execute(SQL["postpone"], *timer, until)


class Timers:
    """The timers of one service: the events that set them, and the commands that they become.

    Args:
        topics: The topics to read.
        ignores: The events of the topics that neither set nor cancel a timer, on purpose.
        table: Makes the table of timers from a connection, or from a pool.
    """

    def __init__(
        self,
        *,
        topics: Sequence[str],
        ignores: Sequence[type[Event]] = (),
        table: Callable[[Any], TimerTable] = PostgresTimers,
    ) -> None:
        self._ignores, self.table = ignores, table
        self._changes: dict[type[Event], _Changes[Any]] = {}
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
                table = self.table(tx)
                for change in changes(event, envelope):
                    await (table.cancel(change) if isinstance(change, Cancel) else table.set(change, envelope))

            self._changes[event_type] = changes
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

    def kept_in(self, table: Callable[[Any], TimerTable]) -> "Timers":
        """Return the same timers in another table: a simulation has a twin in memory."""
        other = Timers(topics=self.projection.topics, ignores=self._ignores, table=table)
        for event_type, changes in self._changes.items():
            other.on(event_type)(changes)
        other._fires = self._fires
        return other

    def changes(self, event: Event, envelope: Envelope) -> Sequence[Change]:
        """Return the timers that an event sets and cancels."""
        changes = self._changes.get(type(event))
        return [] if changes is None else changes(event, envelope)

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


class TimerService:
    """The task that fires timers, in one process of the service at a time."""

    def __init__(
        self, service: str, timers: Timers, db: Any, commands: Log, clocks: Clocks, pause: Pause | None = None
    ) -> None:
        self._pause = pause or Pause()
        self._service, self._timers, self._commands, self._clocks = service, timers, commands, clocks
        self._table = timers.table(db)
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
                    await self._pause.wait(max(POLL_EVERY_S, REST * self._poll_s), QUIET_S)
        finally:
            if lease is not None:
                await self._commands.store.release(self._name, lease)

    async def fire(self) -> int:
        """Fire the timers that are due, those of each stream in order. Return how many were due."""
        began = asyncio.get_running_loop().time()
        due = await self._table.due(self._clocks.real(), AT_ONCE)
        self._poll_s = asyncio.get_running_loop().time() - began
        by_key: dict[str, list[DueTimer]] = {}
        for timer in due:
            by_key.setdefault(timer.key, []).append(timer)
        results = await asyncio.gather(*(self._in_order(timers) for timers in by_key.values()), return_exceptions=True)
        if fired := [timer for result in results if not isinstance(result, BaseException) for timer in result]:
            await self._table.delete(fired)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(due)

    async def _in_order(self, timers: Sequence[DueTimer]) -> list[Fired]:
        """Fire the timers of one key in order. Return those that have fired.

        After a temporary error none of them counts as fired, because firing one again changes nothing.
        """
        return [(timer.name, timer.key, timer.due) for timer in timers if await self._fire(timer)]

    async def _fire(self, timer: DueTimer) -> bool:
        name, key, due = timer.name, timer.key, timer.due
        # This is the clock by which the timer was found due. The clocks in this process may be older, and a timer must
        # not fire early.
        now = self._clocks.real() + timedelta(seconds=timer.ahead_s)
        first_due = timer.first_due or due  # A postponed timer keeps its command's id.
        meta = Meta(
            derived_id("timer", name, key, first_due.isoformat()),
            ACTOR,
            self._clocks.real(),
            timer.correlation_id or timer.set_by,
            timer.set_by,
        )
        try:
            context = ReactionContext(lookups=None, log=self._commands, now=self._clocks.real(), clocks=self._clocks)
            stream, command = await self._timers.command(name, key, now, context)
            answer = await self._commands.execute(stream, key, command, meta)
        except (*TRANSIENT, Unavailable, Conflict):
            raise
        except Exception:
            # This timer has a bug. It is tried again in an hour, and the others go on.
            logger.exception("a timer cannot be fired: it is postponed by an hour", timer=name, key=key)
            await self._table.postpone((name, key, due), now + timedelta(hours=1))
            return False
        logger.info(
            "timer", timer=name, stream=answer.stream, rule=answer.rule if isinstance(answer, Refused) else None
        )
        return True
