"""Events that come into a store from its topic, and what follows from them: chain, command ids, unique names.

Every step may be done again: events under the head's lock and only after the very position that they follow; what
follows from them is derived from all events and compared with what is there.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, Final

from shared.eventlog.decision import Stream, no_claims
from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.chains import OwnRecord, location
from shared.eventlog.repair.topic import LogMismatch
from shared.eventlog.write.log import Sealer
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Head
from shared.events.base import Event
from shared.events.envelope import StoredEvent
from shared.events.upcasts import decode
from shared.sql import statements

SQL: Final = statements(__file__)

AT_ONCE: Final = 5_000
_COLUMNS: Final = (
    "position",
    "stream",
    "version",
    "id",
    "type",
    "schema",
    "time",
    "correlation_id",
    "causation_id",
    "actor",
    "tenant",
    "traceparent",
    "prevhash",
    "hash",
    "command_id",
    "data",
)


class Importer:
    """Takes events in the order of their positions. Each call of `take` is one transaction, under the head's lock."""

    def __init__(self, store: PostgresStore, db: Any, marks: Sequence[Anchor] = ()) -> None:
        self._store, self._db = store, db
        self._heads: dict[str, Head] = {}
        self._marks = {mark.position: mark for mark in marks}

    async def take(self, found: Sequence[OwnRecord]) -> None:
        """Raises LogMismatch when they don't continue the store: somebody else has written, or the chain is not the
        anchored one."""
        await self._continues(found)
        events = [f.event for f in found]
        async with self._db.transaction():
            head = await self._db.fetchrow(SQL["lock_head"])
            if head["position"] != (events[0].envelope.position or 0) - 1:
                raise LogMismatch(
                    f"the store moved to position {head['position']} meanwhile: stop the service's processes"
                )
            chain = head["chain"]
            for event in events:
                chain = sha256(chain + event.envelope.hash).digest()
                mark = self._marks.get(event.envelope.position or 0)
                if mark is not None and mark.chain != chain:
                    raise LogMismatch(
                        f"position {mark.position}: the chain is not the one that an anchor of {mark.time} says: the "
                        f"topic, or the store up to {head['position']}, was rewritten"
                    )
            await self._db.copy_records_to_table(
                "events", schema_name="log", columns=_COLUMNS, records=[_row(event) for event in events]
            )
            last = events[-1].envelope.position
            await self._db.execute(SQL["note_batch"], last, chain)
            await self._db.execute(SQL["move_head"], last, chain)
            await self._db.execute(SQL["note_commands"], *_commands(events))

    async def _continues(self, found: Sequence[OwnRecord]) -> None:
        begun = {f.event.envelope.stream for f in found if f.event.envelope.version != 1} - self._heads.keys()
        if begun:
            self._heads |= await self._store.heads(sorted(begun), found[0].position - 1)
        for raw, event in found:
            head = self._heads.get(event.envelope.stream, Head())
            if (event.envelope.version, event.envelope.prevhash) != (head.version + 1, head.hash):
                raise LogMismatch(
                    f"position {event.envelope.position} ({location(raw)}): {event.envelope.stream} "
                    f"version {event.envelope.version} does "
                    f"not continue version {head.version}, where the stream stands"
                )
            self._heads[event.envelope.stream] = Head(event.envelope.version or 0, event.envelope.hash)


def _row(event: StoredEvent) -> tuple[Any, ...]:
    envelope = event.envelope
    return (
        envelope.position,
        envelope.stream,
        envelope.version,
        envelope.id,
        envelope.type,
        envelope.schema,
        envelope.time,
        envelope.correlation_id,
        envelope.causation_id,
        envelope.actor,
        envelope.tenant,
        envelope.traceparent,
        envelope.prevhash,
        envelope.hash,
        envelope.command_id,
        event.data.decode(),
    )


def _commands(events: Sequence[StoredEvent]) -> tuple[list[Any], ...]:
    """Each command with its events, which follow one another. One that is cut here goes on in the next batch."""
    ids, streams, firsts, counts, times = [], [], [], [], []
    for (command, stream), of_one in groupby(events, key=lambda event: (event.envelope.command, event.envelope.stream)):
        if command:
            mine = list(of_one)
            ids.append(command)
            streams.append(stream)
            firsts.append((mine[0].envelope.version or 1) - 1)
            counts.append(len(mine))
            times.append(mine[0].envelope.time)
    return ids, streams, firsts, counts, times


async def claims_of(
    db: Any,
    store: PostgresStore,
    streams: Sequence[Stream[Any, Any, Any]],
    sealer: Sealer | None,
    told: Callable[[int], None],
) -> tuple[dict[str, str], list[str]]:
    """Who holds which unique name, by folding the streams that take any; and the names that more than one would hold,
    which nobody gets."""
    held: dict[str, str] = {}
    doubled: set[str] = set()
    done = 0
    for stream in streams:
        if stream.claims is no_claims:
            continue
        async for name, events in _streams(db, store, stream.category, sealer):
            mine: set[str] = set()
            state = stream.initial
            for event in events:
                claims = stream.claims(state, event)
                mine -= set(claims.release)
                mine |= set(claims.take)
                state = stream.evolve(state, event)
            doubled |= {key for key in mine if held.get(key, name) != name}
            held |= dict.fromkeys(mine, name)
            done += len(events)
            told(done)
    return {key: name for key, name in held.items() if key not in doubled}, sorted(doubled)


async def _streams(
    db: Any, store: PostgresStore, category: str, sealer: Sealer | None
) -> AsyncIterator[tuple[str, Sequence[Event]]]:
    """The streams of a category with their events, as the service reads them."""
    after = f"{category}-"
    while True:
        rows = await db.fetch(SQL["streams"], after, f"{category}-")
        if not rows:
            return
        names = [row["stream"] for row in rows]
        stored = await store.of_streams(db, names)
        events: Sequence[Event] = [decode(s.envelope, s.data, trusted=True) for s in stored]
        if sealer is not None:
            opened = await sealer.open(events)
            events = [event.recorded(s.envelope.id) for event, s in zip(opened, stored, strict=True)]
        for name, of_one in groupby(zip(stored, events, strict=True), key=lambda pair: pair[0].envelope.stream):
            yield name, [event for _, event in of_one]
        after = names[-1]


async def put_claims(db: Any, held: dict[str, str], at: int) -> int:
    """Makes the store's claims these, if its head still is where they were derived; says how many were changed."""
    names, streams = list(held), list(held.values())
    async with db.transaction():
        position = await db.fetchval(SQL["lock_head"])
        if position != at:
            raise LogMismatch(f"the store moved to position {position} meanwhile: stop the service's processes")
        gone = await db.fetch(SQL["release_claims"], names, streams)
        new = await db.fetch(SQL["add_claims"], names, streams)
    return max(len(gone), len(new))
