"""Import of a topic's events into its store, with the chain, command ids and unique names.

Every step can be repeated. Events are imported under the head's lock, and only right after the position that they
follow. Unique names are derived from all events, and only the differences are written.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, Final

from shared.eventlog.decision import Stream, no_claims
from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.chains import OwnRecord, location
from shared.eventlog.repair.topic import LogMismatch
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.sealing import Sealer
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
    """Importer of events in the order of their positions.

    Each call of `take` is one transaction, under the head's lock.
    """

    def __init__(self, store: PostgresStore, db: Any, marks: Sequence[Anchor] = ()) -> None:
        self._store, self._db = store, db
        self._heads: dict[str, Head] = {}
        self._marks = {mark.position: mark for mark in marks}

    async def take(self, records: Sequence[OwnRecord]) -> None:
        """Import the next events.

        Raises:
            LogMismatch: the events don't continue the store, another process has written to it, or the chain differs
                from an anchor's.
        """
        await self._check_continuity(records)
        events = [record.event for record in records]
        async with self._db.transaction():
            head = await self._db.fetchrow(SQL["lock_head"])
            if head["position"] != (events[0].envelope.position or 0) - 1:
                raise LogMismatch(
                    f"the store moved to position {head['position']} during the import: stop the service's processes"
                )
            chain = head["chain"]
            for event in events:
                chain = sha256(chain + event.envelope.hash).digest()
                mark = self._marks.get(event.envelope.position or 0)
                if mark is not None and mark.chain != chain:
                    raise LogMismatch(
                        f"position {mark.position}: the chain differs from the anchor of {mark.time}: the topic, or "
                        f"the store up to {head['position']}, was rewritten"
                    )
            await self._db.copy_records_to_table(
                "events", schema_name="log", columns=_COLUMNS, records=[_row(event) for event in events]
            )
            last = events[-1].envelope.position
            await self._db.execute(SQL["note_batch"], last, chain)
            await self._db.execute(SQL["move_head"], last, chain)
            await self._db.execute(SQL["note_commands"], *_commands(events))

    async def _check_continuity(self, records: Sequence[OwnRecord]) -> None:
        begun = {r.event.envelope.stream for r in records if r.event.envelope.version != 1} - self._heads.keys()
        if begun:
            self._heads |= await self._store.heads(sorted(begun), records[0].position - 1)
        for raw, event in records:
            head = self._heads.get(event.envelope.stream, Head())
            if (event.envelope.version, event.envelope.prevhash) != (head.version + 1, head.hash):
                raise LogMismatch(
                    f"position {event.envelope.position} ({location(raw)}): {event.envelope.stream} version "
                    f"{event.envelope.version} does not continue the stream, which is at version {head.version}"
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
    """Return the columns of the commands that made these events.

    A command's events follow one another. If a batch ends within them, the next batch completes the command.
    """
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
    progress: Callable[[int], None],
) -> tuple[dict[str, str], list[str]]:
    """Derive which stream holds which unique name, by folding the streams that claim names.

    Args:
        progress: called with the number of events folded so far.

    Returns:
        The stream of each name, and the names that more than one stream would hold, which no stream gets.
    """
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
            progress(done)
    return {key: name for key, name in held.items() if key not in doubled}, sorted(doubled)


async def _streams(
    db: Any, store: PostgresStore, category: str, sealer: Sealer | None
) -> AsyncIterator[tuple[str, Sequence[Event]]]:
    """Yield the streams of a category with their events, decrypted as the service reads them."""
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
    """Replace the store's claims with these, and return how many were changed.

    Raises:
        LogMismatch: the store's head is no longer at `at`, the position that they were derived from.
    """
    names, streams = list(held), list(held.values())
    async with db.transaction():
        position = await db.fetchval(SQL["lock_head"])
        if position != at:
            raise LogMismatch(f"the store moved to position {position} during the import: stop the service's processes")
        gone = await db.fetch(SQL["release_claims"], names, streams)
        new = await db.fetch(SQL["add_claims"], names, streams)
    return max(len(gone), len(new))
