"""What a service does with events: fold them into tables, or turn them into commands of its own."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

import asyncpg

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.readers import names
from shared.eventlog.write.log import Log
from shared.events.base import Event
from shared.events.envelope import Envelope

E = TypeVar("E", bound=Event)
X = TypeVar("X")
"""What else a fold or a reaction takes: of events it is declared for on other lines."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_Folds: TypeAlias = Callable[[Any, X, Envelope], Awaitable[None]]
Fold: TypeAlias = _Folds[Any]


class Projection:
    """Tables folded from events: one consumer group, one checkpoint, `<service>.<name>`.

    Each fold runs in the transaction that moves the checkpoint: once per event, in the stream's order, without gaps.
    Between streams there is no order. `ignores` are the events of its topics that it has no fold for, on purpose: a
    service does not start with a projection that has no answer to an event (`readers.py`).

    Args:
        tables: all that the folds write, and no other projection does. A rebuild makes them anew in another schema, so
            folds name them unqualified (or `log.`), and sends a fold's `execute`s in bundles, so no fold reads what
            `execute` returns.
        excluded_from_digest: columns that depend on the order between streams.
        carry_over_sql: brings into rebuilt tables (schema `{new}`) what only the live ones know. Safe to repeat.
    """

    def __init__(
        self,
        name: str,
        *,
        topics: Sequence[str],
        tables: Sequence[str] = (),
        ignores: Sequence[type[Event]] = (),
        excluded_from_digest: Sequence[str] = (),
        carry_over_sql: str = "",
    ) -> None:
        self.name, self.topics, self.tables = name, tuple(topics), tuple(tables)
        self.ignored = names(ignores)
        self.excluded_from_digest, self.carry_over_sql = frozenset(excluded_from_digest), carry_over_sql
        self._folds: dict[str, Fold] = {}

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self._folds)

    def on(self, event: type[E]) -> Callable[[_Folds[E | X]], _Folds[E | X]]:
        """Declares the fold of this event type. One that folds several is declared for each, one line above the next:
        it takes their union, which is checked."""

        def declare(fold: _Folds[E | X]) -> _Folds[E | X]:
            if self._folds.setdefault(event.type(), fold) is not fold:
                raise ValueError(f"projection {self.name} already folds {event.type()}")
            return fold

        return declare

    @property
    def folds(self) -> Sequence[Fold]:
        return list(self._folds.values())

    @property
    def handlers(self) -> Mapping[str, Fold]:
        """The fold of each event type, by its name."""
        return self._folds

    async def apply(self, tx: Any, event: Event, envelope: Envelope) -> None:
        await self._folds[envelope.type](tx, event, envelope)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A command that follows from an event."""

    stream: Stream[Any, Any, Any]
    key: str
    command: Any


@dataclass(frozen=True, slots=True)
class ReactionContext:
    """What a reaction may look at: the service's read models and streams, and the time."""

    db: Any
    log: Log
    now: datetime
    clocks: Clocks

    def time_of(self, organisation_id: str) -> datetime:
        """Now for this organisation: a sandbox's may be ahead."""
        return self.clocks.time_of(organisation_id)


_Reacts: TypeAlias = Callable[[X, Envelope, ReactionContext], Awaitable[Sequence[Dispatch]]]
React: TypeAlias = _Reacts[Any]


class Reactions:
    """Commands that follow from events. Each is executed once: its id derives from the consumer, the event, its stream
    and its place among the answer's commands for that stream, and a repeated id gets its first answer. So an answer may
    name other streams when it is asked for again, but each stream's own commands should stay what they were.

    `ignores` are the events of its topics that nothing follows from, as with projections."""

    def __init__(self, name: str, *, topics: Sequence[str], ignores: Sequence[type[Event]] = ()) -> None:
        self.name, self.topics, self.ignored = name, tuple(topics), names(ignores)
        self._reactions: dict[str, React] = {}

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self._reactions)

    @property
    def handlers(self) -> Mapping[str, React]:
        """The reaction to each event type, by its name."""
        return self._reactions

    def on(self, event: type[E]) -> Callable[[_Reacts[E | X]], _Reacts[E | X]]:
        """Declares the reaction to this event type; for several, one line above the next, as with projections."""

        def declare(reaction: _Reacts[E | X]) -> _Reacts[E | X]:
            if self._reactions.setdefault(event.type(), reaction) is not reaction:
                raise ValueError(f"{self.name} already reacts to {event.type()}")
            return reaction

        return declare

    async def react(self, event: Event, envelope: Envelope, reach: ReactionContext) -> Sequence[Dispatch]:
        return await self._reactions[envelope.type](event, envelope, reach)
