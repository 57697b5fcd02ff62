"""What one stream was at a time in the past, for those who may see it now.

@QUERIES.get("/pools/{subscription_id}")
async def pool(subscription_id: Identifier, actor: CurrentActor, db: Database, as_of: AsOf) -> PoolView:
    ...  # 404 unless the caller may see the pool now
    if as_of is not None:
        return await as_of.show(SEAT_POOL, subscription_id, customer, pool_then)

Only the stream's own events count, those up to the first one after the time, so that the state is one that the stream
had. What the caller may see is decided as for the present.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Annotated, Final, Generic, NamedTuple, TypeAlias, TypeVar, cast

from fastapi import Depends, Query, Request

from shared import rules
from shared.eventlog.decision import Stream
from shared.events.base import Event
from shared.events.envelope import Envelope
from shared.runtime.auth import Actor
from shared.runtime.http import CurrentActor
from shared.runtime.parts import Parts
from shared.runtime.problems import Problem
from shared.runtime.written import WrittenInstant

S = TypeVar("S")
C = TypeVar("C")
V = TypeVar("V")
E = TypeVar("E", bound=Event)

EVENTS_AT_MOST: Final = 10_000
"""The number of events that are folded for an answer at most."""
_BATCH: Final = 500


class Happened(NamedTuple, Generic[E]):
    """An event of the past, with its envelope."""

    envelope: Envelope
    event: E


@dataclass(frozen=True, slots=True, kw_only=True)
class Past(Generic[S, E]):
    """A stream as it was at a time."""

    at: datetime
    events: Sequence[Happened[E]]
    now: datetime
    """The time of the stream's organisation then, in UTC.

    A sandbox's clock counts as it is ahead now, as services know no earlier move of it."""
    initial: S
    evolve: Callable[[S, E], S]

    def state(self) -> S:
        """Fold the events into the state."""
        return reduce(self.evolve, (event for _, event in self.events), self.initial)


@dataclass(frozen=True, slots=True)
class PastReader:
    """The reader of what streams were at the time that a request asks for."""

    at: datetime
    parts: Parts
    actor: Actor

    async def show(self, stream: Stream[S, C, E], key: str, organisation_id: str, view: Callable[[Past[S, E]], V]) -> V:
        """Return the view of the stream as it was.

        It is made in a thread, so that the process goes on with other requests: of 10,000 events it takes a second.

        Args:
            organisation_id: The stream's organisation, in whose time `as_of` may not be in the future.

        Raises:
            Problem: What `read` or the view raises.
        """
        past = await self.read(stream, key, organisation_id)
        return await asyncio.to_thread(view, past)

    async def read(self, stream: Stream[S, C, E], key: str, organisation_id: str) -> Past[S, E]:
        """Return the stream as it was.

        Args:
            organisation_id: The stream's organisation, in whose time `as_of` may not be in the future.

        Raises:
            Problem: 422 if the time is in the future, or if too many events would have to be read; 404 if it is before
                the stream's first event; 429 if the caller asks too often.
        """
        clocks = self.parts.clocks
        present = clocks.time_of(organisation_id)
        if self.at > present:
            raise Problem(
                rule=rules.AS_OF_IN_FUTURE,
                reason=f"as_of is {_shown(self.at)}; for this organisation it is {_shown(present)}.",
                remedy="Name a time in the past, or leave as_of out for the present.",
            )
        self.parts.limits.take("as-of", self.actor.account_id)
        events, begins = await self._events(stream, key)
        if not events:
            raise nothing_then(self.at, begins)
        ahead = timedelta(seconds=clocks.ahead_s(organisation_id))
        return Past(
            at=self.at,
            events=events,
            now=min(self.at + ahead, present),
            initial=stream.initial,
            evolve=stream.evolve,
        )

    async def _events(self, stream: Stream[S, C, E], key: str) -> tuple[list[Happened[E]], datetime | None]:
        """Return the stream's events up to the time, and the time of the next one.

        They end before the first event after the time, even if a later one has an earlier time. The next one's time is
        None if there is none.
        """
        log = self.parts.log
        events: list[Happened[E]] = []
        while True:
            stored = await log.store.history(stream.id(key), len(events), _BATCH, newest_first=False)
            until = next((n for n, each in enumerate(stored) if each.envelope.time > self.at), len(stored))
            opened = await log.opened(stored[:until])
            events += [
                Happened(each.envelope, cast("E", event)) for each, event in zip(stored[:until], opened, strict=True)
            ]
            if until < len(stored):
                return events, stored[until].envelope.time
            if len(stored) < _BATCH:
                return events, None
            if len(events) >= EVENTS_AT_MOST:
                raise Problem(
                    rule=rules.AS_OF_TOO_LONG,
                    reason=f"More than {EVENTS_AT_MOST} events would have to be read for the state at that time.",
                    remedy="Name an earlier time, or read its history.",
                )


def nothing_then(at: datetime, begins: datetime | None = None) -> Problem:
    """Return Problem 404 for what did not exist at the time.

    Args:
        begins: The time of its first event, if that is known.
    """
    since = "" if begins is None else f" It begins at {_shown(begins)}."
    return Problem(
        rule=rules.AS_OF_TOO_EARLY,
        reason=f"There was nothing of this at {_shown(at)} yet.{since}",
        remedy="Name a later time. The history lists the time of each event.",
    )


def _shown(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _reader(
    request: Request,
    actor: CurrentActor,
    as_of: Annotated[
        WrittenInstant | None,
        Query(description="Show what was at this time, such as 2027-01-31T20:00Z, not what is now."),
    ] = None,
) -> PastReader | None:
    return None if as_of is None else PastReader(as_of, request.app.state.parts, actor)


AsOf: TypeAlias = Annotated[PastReader | None, Depends(_reader)]
"""The parameter `as_of` of a query; None if the present is asked for."""
