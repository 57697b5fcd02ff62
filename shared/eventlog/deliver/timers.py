"""Durable timers: what a service does when time has come, in the time of the organisation that it is about.

A service's events set and cancel them, so they are a table like any other and a replay makes them again. A timer that
is due becomes a command under an id made of its name, key and time: firing it twice changes nothing.
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

LOOK_EVERY_S: Final = 0.2
REST: Final = 20
"""A look where nothing is due asks every sandbox's clock. It is followed by a pause so many times as long."""
LEASE_S: Final = 6.0
AT_ONCE: Final = 500
ACTOR: Final = "timer"
"""Who an event is by that only time has brought about."""


SQL: Final = statements(__file__)


@dataclass(frozen=True, slots=True)
class Set:
    """Set the timer `name` of `key`, a business key of the stream that it fires into, instead of one set before.
    `due` is in the time of the organisation `customer`. What follows a colon in the name tells apart timers that become
    the same command."""

    name: str
    key: str
    due: datetime
    customer: str


@dataclass(frozen=True, slots=True)
class Cancel:
    name: str
    key: str


Change: TypeAlias = Set | Cancel
_Changes: TypeAlias = Callable[[X, Envelope], Sequence[Change]]
Fire = Callable[[str, datetime, ReactionContext], Awaitable[Any]]


class Timers:
    """The timers of one service: which events set them, and the command that each becomes.

    `ignores` are the events of its topics that set and cancel none, as with projections."""

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
        """Declares which timers this event sets and cancels; for several, one line above the next."""

        def declare(changes: _Changes[E | X]) -> _Changes[E | X]:
            async def fold(tx: Connection, event: E | X, envelope: Envelope) -> None:
                for change in changes(event, envelope):
                    await _keep(tx, change, envelope)

            fold.__dict__["__wrapped__"] = changes  # for whoever asks what the fold is made of
            self.projection.on(event_type)(fold)
            return changes

        return declare

    def fires(self, name: str, stream: Stream[Any, Any, Any]) -> Callable[[Fire], Fire]:
        """Declares the command that the timer `name` becomes, from its key, the time of its customer, and what the
        service knows."""

        def declare(fire: Fire) -> Fire:
            if name in self._fires:
                raise ValueError(f"the timer {name} is declared twice")
            self._fires[name] = (stream, fire)
            return fire

        return declare

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._fires)

    async def command(
        self, name: str, key: str, now: datetime, reach: ReactionContext
    ) -> tuple[Stream[Any, Any, Any], Any]:
        stream, fire = self._fires[name.partition(":")[0]]
        return stream, await fire(key, now, reach)


async def _keep(tx: Connection, change: Change, envelope: Envelope) -> None:
    if isinstance(change, Cancel):
        await tx.execute(SQL["cancel"], change.name, change.key)
        return
    await tx.execute(
        SQL["set"], change.name, change.key, change.due, change.customer, envelope.id, envelope.correlation_id
    )


class TimerService:
    """Fires what is due, in one process of the service at a time."""

    def __init__(self, service: str, timers: Timers, db: Any, commands: Log, clocks: Clocks) -> None:
        self._service, self._timers, self._db, self._commands, self._clocks = service, timers, db, commands, clocks
        self._owner = str(uuid_utils.uuid7())
        self._name = f"timers:{service}"
        self._looked_s = 0.0

    async def run(self) -> None:
        """Until cancelled. Faults of the database are waited out."""
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
                    logger.warning("timers wait", service=self._service, fault=repr(fault))
                    await asyncio.sleep(1)
                if not fired:
                    await asyncio.sleep(max(LOOK_EVERY_S, REST * self._looked_s))
        finally:
            if lease is not None:
                await self._commands.store.release(self._name, lease)

    async def fire(self) -> int:
        """Fires what is due now, of each stream in order. Says how many timers that were."""
        began = asyncio.get_running_loop().time()
        rows = await self._db.fetch(SQL["due"], self._clocks.real(), AT_ONCE)
        self._looked_s = asyncio.get_running_loop().time() - began
        by_key: dict[str, list[Any]] = {}
        for row in rows:
            by_key.setdefault(row["key"], []).append(row)
        ends = await asyncio.gather(*(self._in_order(of_one) for of_one in by_key.values()), return_exceptions=True)
        if fired := [timer for end in ends if not isinstance(end, BaseException) for timer in end]:
            await self._db.execute(SQL["fired"], *(list(column) for column in zip(*fired, strict=True)))
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return len(rows)

    async def _in_order(self, rows: Sequence[Any]) -> list[tuple[str, str, datetime]]:
        """Those that are done with. Of a stream that meets a fault none is: to fire one again changes nothing."""
        return [(row["name"], row["key"], row["due"]) for row in rows if await self._fire(row)]

    async def _fire(self, row: Any) -> bool:
        name, key, due = row["name"], row["key"], row["due"]
        # The very clock that made it due: what this process knows of clocks may be older, and too early is never.
        now = self._clocks.real() + timedelta(seconds=row["ahead_s"])
        first_due = row["first_due"] or due  # of one that was put off: its command's id stays the same
        meta = Meta(
            derived_id("timer", name, key, first_due.isoformat()),
            ACTOR,
            self._clocks.real(),
            row["correlation_id"] or row["set_by"],
            row["set_by"],
        )
        try:
            reach = ReactionContext(self._db, self._commands, self._clocks.real(), self._clocks)
            stream, command = await self._timers.command(name, key, now, reach)
            answer = await self._commands.execute(stream, key, command, meta)
        except (*TRANSIENT, Unavailable, Conflict):
            raise
        except Exception:
            # A bug of this one timer's: it is tried again in an hour, the others go on.
            logger.exception("a timer can't be fired", timer=name, key=key)
            await self._db.execute(SQL["postpone"], name, key, due, now + timedelta(hours=1))
            return False
        logger.info(
            "timer", timer=name, stream=answer.stream, rule=answer.rule if isinstance(answer, Refused) else None
        )
        return True
