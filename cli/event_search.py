"""Reading the services' stores: a stream, an event by its id, what followed from it."""

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
"""How far an event's time may be off the order of the positions: clocks of several machines, and a batch's wait."""
MOST: Final = 2_000
"""So many events of one store a search takes."""


class Found(NamedTuple):
    """An event and whose it is. A publisher's is no service's; `where` then says where it lies in Kafka."""

    service: str
    envelope: Envelope
    data: bytes
    where: str = ""

    @property
    def key(self) -> str:
        """What names it among all others: a publisher's id counts within its source only."""
        return self.envelope.id if self.service else f"{self.envelope.source}#{self.envelope.id}"

    @property
    def cause(self) -> str:
        """The `key` of what it followed from."""
        source = publishers(self.envelope)
        return f"{source}#{self.envelope.causation_id}" if source else self.envelope.causation_id


def publishers(envelope: Envelope) -> str:
    """The source of the publisher's event that an event of ours followed from; "" where it followed from another. A
    reaction's command id tells: `<consumer>:<source>#<id>:<stream>:<number>`, or the digest of source and id, where
    they were too long: then it is the actor, if that fits."""
    before, found, _ = envelope.command_id.partition(f"#{envelope.causation_id}:")
    if found and envelope.causation_id:
        return before.partition(":")[2]
    named = shortened(f"{envelope.actor}#{envelope.causation_id}")
    return envelope.actor if f":{named}:" in envelope.command_id and publisher_of(envelope.actor) else ""


class Cut(NamedTuple):
    """Where a search in a store ended because it had enough: what came after that position, it did not look at."""

    service: str
    about: str
    taken: int
    after: int
    left: int


@dataclass(slots=True)
class Looked:
    """How many events a search has looked at, and where it ended early."""

    events: int = 0
    cuts: list[Cut] = field(default_factory=list)

    def within(self, service: str, about: str, low: int, head: int, rows: list[Any]) -> list[Found]:
        """Counts a look from `low` on for at most MOST events, of which one more than that is at hand; gives them."""
        last = head if len(rows) <= MOST else rows[MOST - 1]["position"]
        self.events += max(0, last - low + 1)
        if last < head:
            self.cuts.append(Cut(service, about, MOST, last, head - last))
        return [Found(service, *stored(service, row)) for row in rows[:MOST]]


def stored(service: str, row: Any) -> StoredEvent:
    """Read a row of an event's columns, in the order of the log."""
    return stored_event(row, source_of(service))


async def read_stream(db: Any, service: str, stream: str) -> list[StoredEvent]:
    rows = await db.fetch(SQL["stream"], stream)
    return [stored(service, row) for row in rows]


async def head(db: Any) -> int:
    """The position of the last event."""
    return int(await db.fetchval(SQL["head"]))


async def first_at(db: Any, time: datetime) -> int:
    """The first position that is not from before `time`, by halving: positions are dense, and nearly in its order."""
    low, high = 1, await head(db) + 1
    while low < high:
        middle = (low + high) // 2
        if await db.fetchval(SQL["time"], middle) < time:
            low = middle + 1
        else:
            high = middle
    return low


def born(event_id: str) -> datetime | None:
    """When an event's id was made: ids are UUIDs of version 7, which say it. None for another's id."""
    try:
        found = uuid.UUID(event_id)
        return datetime.fromtimestamp(int(found.hex[:12], 16) / 1000, UTC) if found.version == 7 else None
    except (ValueError, OverflowError):  # a publisher's may be anything
        return None


async def find(context: Context, event_id: str, looked: Looked) -> Found | None:
    """The event, in whichever store it is: around the time when its id was made first, then everywhere."""
    try:
        wanted = uuid.UUID(event_id)
    except ValueError:
        return None
    made = born(event_id)

    async def within(service: str, everywhere: bool) -> Found | None:
        db = await context.db(service)
        low, high = 1, await head(db)
        if made is not None and not everywhere:
            low, high = await first_at(db, made - SKEW), min(high, await first_at(db, made + SKEW))
        looked.events += max(0, high - low + 1)
        row = await db.fetchrow(SQL["event"], low, high, wanted)
        return None if row is None else Found(service, *stored(service, row))

    for everywhere in (False, True):
        for found in await asyncio.gather(*(within(service, everywhere) for service in SERVICES)):
            if found is not None:
                return found
    return None


async def caused_by(context: Context, event_id: str, looked: Looked) -> list[Found]:
    """What followed at once from the event of this id, in all stores, oldest first. Looks at all events: no index tells
    causes, and a publisher's id tells no time."""

    async def within(service: str) -> list[Found]:
        db = await context.db(service)
        last = await head(db)
        rows = await db.fetch(SQL["caused_by"], last, event_id, MOST + 1)
        return looked.within(service, event_id, 1, last, rows)

    found = [each for some in await asyncio.gather(*map(within, SERVICES)) for each in some]
    return sorted(found, key=lambda each: (each.envelope.time, each.envelope.id))


async def related(context: Context, event: Found, looked: Looked) -> list[Found]:
    """All events of the same correlation, over all stores, oldest first. One that began a correlation gave it its own
    id, so that is looked for, too."""
    names = [event.envelope.correlation_id or event.envelope.id, event.envelope.id]
    roots = [at for name in names if (at := born(name)) is not None]
    since = min([event.envelope.time, *roots])

    async def within(service: str) -> list[Found]:
        db = await context.db(service)
        low = await first_at(db, since - SKEW)
        last = await head(db)
        rows = await db.fetch(SQL["related"], low, last, names, event.envelope.id, MOST + 1)
        return looked.within(service, names[0], low, last, rows)

    found = [each for some in await asyncio.gather(*map(within, SERVICES)) for each in some]
    known = {each.envelope.id for each in found}
    return sorted(
        [*found, *([] if event.envelope.id in known else [event])],
        key=lambda each: (each.envelope.time, each.envelope.id),
    )


def children(found: Sequence[Found]) -> dict[str, list[Found]]:
    """What followed from what, by the cause's key."""
    by_cause: dict[str, list[Found]] = {}
    for each in found:
        by_cause.setdefault(each.cause, []).append(each)
    return by_cause
