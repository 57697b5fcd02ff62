"""The declarations of projections and reactions.

A projection folds events into tables. Reactions turn events into commands of the service.
"""

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import asyncpg

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.bundles import InBulk
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.readers import names
from shared.eventlog.write.log import Log
from shared.events.base import Event
from shared.events.envelope import Envelope
from shared.sql import Queryable

# The lookups of a service: what its reactions ask besides streams. TypeVar has defaults from Python 3.13 on, and only
# the type checker needs this one: a plain `Reactions` or `ReactionContext` is one that asks nothing.
if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    L = TypeVarWithDefault("L", default=None)
    L_co = TypeVarWithDefault("L_co", default=None, covariant=True)
else:
    L, L_co = TypeVar("L"), TypeVar("L_co", covariant=True)

E = TypeVar("E", bound=Event)
X = TypeVar("X")
"""The other event types of a fold or a reaction that is declared for several."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_Folds: TypeAlias = Callable[[Any, X, Envelope], Awaitable[None]]
Fold: TypeAlias = _Folds[Any]


class Projection:
    """Tables that are folded from events, as one consumer `<service>.<name>`.

    Each fold runs in the transaction that moves the checkpoint: once per event, in the stream's order, without gaps.
    There is no order between streams.

    Args:
        topics: The topics to read.
        tables: All tables that the folds write. No other projection writes them. A rebuild builds them in another
            schema, so the folds name them without a schema (or with `log.`). It also sends the `execute` calls of folds
            in bundles, as a restore does, so a fold must not use what `execute` returns.
        ignores: The events of the topics that the projection has no fold for, on purpose. A service does not start
            with a projection that neither folds nor ignores an event of its topics (`readers.py`).
        excluded_from_digest: Columns that depend on the order of events of different streams.
        carry_over_sql: A statement that copies into the rebuilt tables (schema `{new}`) what only the live ones have.
            It must be safe to repeat.
        in_bulk: What statements are where many events are folded at once, by a rebuild or a restore.
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
        in_bulk: Mapping[str, InBulk] = MappingProxyType({}),
    ) -> None:
        self.name, self.topics, self.tables = name, tuple(topics), tuple(tables)
        self.ignored = names(ignores)
        self.excluded_from_digest, self.carry_over_sql = frozenset(excluded_from_digest), carry_over_sql
        self.in_bulk = in_bulk
        self._folds: dict[str, Fold] = {}

    @property
    def types(self) -> frozenset[str]:
        """The names of the event types that the projection folds."""
        return frozenset(self._folds)

    def on(self, event: type[E]) -> Callable[[_Folds[E | X]], _Folds[E | X]]:
        """Declare the fold of this event type.

        A fold of several event types has one such decorator for each, and takes the union of the types.
        """

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
        """The fold of each event type, by the name of the type."""
        return self._folds

    async def apply(self, tx: Any, event: Event, envelope: Envelope) -> None:
        """Fold an event into the tables, in the transaction `tx`."""
        await self._folds[envelope.type](tx, event, envelope)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A command that a reaction sends to one of the service's streams."""

    stream: Stream[Any, Any, Any]
    key: str
    command: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ReactionContext(Generic[L_co]):
    """What a reaction or a timer can read: the service's lookups and streams, and the time."""

    lookups: L_co
    log: Log
    now: datetime
    clocks: Clocks
    arrived: datetime | None = None
    """When a publisher's record arrived, or this consumer started if that was later; None if it is not known."""

    def time_of(self, organisation_id: str) -> datetime:
        """Return the current time of this organisation, which may be ahead for a sandbox."""
        return self.clocks.time_of(organisation_id)


_Reacts: TypeAlias = Callable[[X, Envelope, ReactionContext[L]], Awaitable[Sequence[Dispatch]]]
React: TypeAlias = _Reacts[Any, L]


def _no_lookups(_db: Queryable) -> Any:
    """Return the lookups of reactions that read only streams: none."""
    return None


class Reactions(Generic[L]):
    """Functions that turn events into commands, as one consumer `<service>.<name>`.

    Each command is executed once. Its id is derived from the consumer, the event, the command's stream and its number
    among the reaction's commands for that stream, and a repeated id gets its first answer. So a reaction that runs
    again for the same event may address other streams, but must return the same commands for each stream.

    Args:
        topics: The topics to read.
        ignores: The events of the topics that have no reaction, on purpose.
        lookups: Makes what the reactions read besides streams, from the service's database.
        answers_unreadable: Whether they answer publishers' records of no readable type, for the whole system.
    """

    def __init__(
        self,
        name: str,
        *,
        topics: Sequence[str],
        ignores: Sequence[type[Event]] = (),
        lookups: Callable[[Queryable], L] | None = None,
        answers_unreadable: bool = False,
    ) -> None:
        self.answers_unreadable = answers_unreadable
        self.name, self.topics, self.ignored = name, tuple(topics), names(ignores)
        self.lookups: Callable[[Queryable], L] = lookups or _no_lookups
        self._reactions: dict[str, React[L]] = {}

    @property
    def has_lookups(self) -> bool:
        """Whether the reactions read anything besides streams."""
        return self.lookups is not _no_lookups

    def asking(self, lookups: Callable[[Any], L]) -> "Reactions[L]":
        """Return the same reactions with other lookups: a simulation has a twin in memory."""
        other = copy.copy(self)
        other.lookups = lookups
        return other

    @property
    def types(self) -> frozenset[str]:
        """The names of the event types that have a reaction."""
        return frozenset(self._reactions)

    @property
    def handlers(self) -> Mapping[str, React[L]]:
        """The reaction to each event type, by the name of the type."""
        return self._reactions

    def on(self, event: type[E]) -> Callable[[_Reacts[E | X, L]], _Reacts[E | X, L]]:
        """Declare the reaction to this event type.

        A reaction to several event types has one such decorator for each, and takes the union of the types.
        """

        def declare(reaction: _Reacts[E | X, L]) -> _Reacts[E | X, L]:
            if self._reactions.setdefault(event.type(), reaction) is not reaction:
                raise ValueError(f"{self.name} already reacts to {event.type()}")
            return reaction

        return declare

    async def react(self, event: Event, envelope: Envelope, context: ReactionContext[L]) -> Sequence[Dispatch]:
        """Return the commands that follow from an event."""
        return await self._reactions[envelope.type](event, envelope, context)
