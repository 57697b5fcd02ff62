"""Searches in the services' stores: streams, events by id, and causes and effects."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from cli.context import Context
from shared.eventlog.write.postgres import stored_event
from shared.events.envelope import Envelope, StoredEvent, publisher_of, shortened, source_of
from shared.services import SERVICES
from shared.sql import statements

SQL: Final = statements(__file__)

SKEW: Final = timedelta(minutes=2)
"""How far events' times may deviate from the order of their positions: clock skew and batching."""
MOST: Final = 2_000
"""The most events of one store that a search returns."""


class Outcome(NamedTuple):
    """What became of a publisher's event, by the service that decided on it."""

    service: str
    status: str
    rule: str
    reason: str
    remedy: str
    time: datetime


class FoundEvent(NamedTuple):
    """An event and its service.

    A publisher's event has no service; `where` is then its topic, partition and offset, and `outcomes` is None until
    the services were asked for them.
    """

    service: str
    envelope: Envelope
    data: bytes
    where: str = ""
    outcomes: Sequence[Outcome] | None = None

    @property
    def key(self) -> str:
        """The identity among all events: a publisher's ids are unique within its source only."""
        return self.envelope.id if self.service else f"{self.envelope.source}#{self.envelope.id}"

    @property
    def cause(self) -> str:
        """The `key` of the event that caused it."""
        source = publisher_source(self.envelope)
        return f"{source}#{self.envelope.causation_id}" if source else self.envelope.causation_id


def publisher_source(envelope: Envelope) -> str:
    """Return the source of the publisher's event that caused this event, or "".

    A reaction's command id contains it: `<consumer>:<source>#<id>:<stream>:<number>`. If source and id were too long,
    the command id has their digest instead; the source is then the actor, if its digest is that one.
    """
    before, separator, _ = envelope.command_id.partition(f"#{envelope.causation_id}:")
    if separator and envelope.causation_id:
        return before.partition(":")[2]
    digest = shortened(f"{envelope.actor}#{envelope.causation_id}")
    return envelope.actor if f":{digest}:" in envelope.command_id and publisher_of(envelope.actor) else ""


class Truncation(NamedTuple):
    """A search in a store that ended at its limit.

    `taken` events were found up to the position `after`; the `left` events behind it were not searched.
    """

    service: str
    about: str
    taken: int
    after: int
    left: int


@dataclass(slots=True)
class SearchTally:
    """The number of events that a search has read, and where it ended at its limit."""

    events: int = 0
    truncations: list[Truncation] = field(default_factory=list)

    def add(self, service: str, about: str, low: int, head: int, rows: list[Any]) -> list[FoundEvent]:
        """Count a search from `low` to `head` and return its first MOST events.

        `rows` has up to MOST + 1 rows; the last one only shows that there are more.
        """
        last = head if len(rows) <= MOST else rows[MOST - 1]["position"]
        self.events += max(0, last - low + 1)
        if last < head:
            self.truncations.append(Truncation(service, about, MOST, last, head - last))
        return [FoundEvent(service, *stored(service, row)) for row in rows[:MOST]]


def stored(service: str, row: Any) -> StoredEvent:
    """Return the event of a row of `log.events`."""
    return stored_event(row, source_of(service))


async def read_stream(db: Any, service: str, stream: str) -> list[StoredEvent]:
    rows = await db.fetch(SQL["stream"], stream)
    return [stored(service, row) for row in rows]


async def head(db: Any) -> int:
    """Return the position of the last event."""
    return int(await db.fetchval(SQL["head"]))


async def first_position_at(db: Any, time: datetime) -> int:
    """Return the first position whose event is not older than `time`, by binary search.

    Positions are dense, and ordered by time but for SKEW.
    """
    low, high = 1, await head(db) + 1
    while low < high:
        middle = (low + high) // 2
        if await db.fetchval(SQL["time"], middle) < time:
            low = middle + 1
        else:
            high = middle
    return low


def time_of_id(event_id: str) -> datetime | None:
    """Return the time of an event's id, a UUID of version 7; None for any other id."""
    try:
        found = uuid.UUID(event_id)
        return datetime.fromtimestamp(int(found.hex[:12], 16) / 1000, UTC) if found.version == 7 else None
    except (ValueError, OverflowError):  # a publisher's id may be any text
        return None


async def find_event(
    context: Context, event_id: str, tally: SearchTally, *, everywhere: bool = True
) -> FoundEvent | None:
    """Search all stores for an event, around the time of its id first.

    Args:
        everywhere: Whether to read all events then.
    """
    try:
        wanted = uuid.UUID(event_id)
    except ValueError:
        return None
    made = time_of_id(event_id)

    async def search_store(service: str, near: bool) -> FoundEvent | None:
        db = await context.db(service)
        low, high = 1, await head(db)
        if made is not None and near:
            low, high = await first_position_at(db, made - SKEW), min(high, await first_position_at(db, made + SKEW))
        tally.events += max(0, high - low + 1)
        row = await db.fetchrow(SQL["event"], low, high, wanted)
        return None if row is None else FoundEvent(service, *stored(service, row))

    for near in (True, False):
        if near or everywhere:
            for found in await asyncio.gather(*(search_store(service, near) for service in SERVICES)):
                if found is not None:
                    return found
    return None


async def find_effects(context: Context, event_id: str, tally: SearchTally) -> list[FoundEvent]:
    """Return the direct effects of the event of this id in all stores, oldest first.

    Reads all events: causation ids have no index, and a publisher's id contains no time.
    """

    async def search_store(service: str) -> list[FoundEvent]:
        db = await context.db(service)
        last = await head(db)
        rows = await db.fetch(SQL["caused_by"], last, event_id, MOST + 1)
        return tally.add(service, event_id, 1, last, rows)

    found = [each for events in await asyncio.gather(*map(search_store, SERVICES)) for each in events]
    return sorted(found, key=lambda each: (each.envelope.time, each.envelope.id))


async def find_correlated(context: Context, event: FoundEvent, tally: SearchTally) -> list[FoundEvent]:
    """Return all events of an event's correlation in all stores, oldest first.

    The first event of a correlation gave it its own id, so events with that id match, too.
    """
    names = [event.envelope.correlation_id or event.envelope.id, event.envelope.id]
    roots = [at for name in names if (at := time_of_id(name)) is not None]
    since = min([event.envelope.time, *roots])

    async def search_store(service: str) -> list[FoundEvent]:
        db = await context.db(service)
        low = await first_position_at(db, since - SKEW)
        last = await head(db)
        rows = await db.fetch(SQL["related"], low, last, names, event.envelope.id, MOST + 1)
        return tally.add(service, names[0], low, last, rows)

    found = [each for events in await asyncio.gather(*map(search_store, SERVICES)) for each in events]
    known = {each.envelope.id for each in found}
    return sorted(
        [*found, *([] if event.envelope.id in known else [event])],
        key=lambda each: (each.envelope.time, each.envelope.id),
    )


def by_cause(found: Sequence[FoundEvent]) -> dict[str, list[FoundEvent]]:
    """Return the events by the key of their cause."""
    effects: dict[str, list[FoundEvent]] = {}
    for each in found:
        effects.setdefault(each.cause, []).append(each)
    return effects
