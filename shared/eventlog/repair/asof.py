"""A projection as of a position or a time, and what each event of a stream changes in its rows: in tables of their own.

As of: folded into a schema that readers of the service never see, from the start or from the nearest one that was kept.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
import uuid_utils

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.plan import Partition
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.repair.bundles import Rewriting, renaming
from shared.eventlog.repair.scratch import CannotRebuild, Counts, Scratch, Source, bare, code_of, make
from shared.eventlog.repair.sources import OwnStore, Topics, applied, pieces
from shared.events.envelope import Envelope, StoredEvent, source_of
from shared.events.registry import is_inbound, topic_of
from shared.sql import qualified, statements, with_names

SQL: Final = statements(__file__)

WORKERS: Final = 4
_STORE: Final = "store"


@dataclass(frozen=True, kw_only=True, slots=True)
class AsOf:
    """Where the tables stand that were folded into `schema`. `position` is the last of the service's own store that
    counts, `time` the moment up to which events of other services count; `streams` and `events` are how many were
    folded, `from_kept` is the schema that it began with."""

    schema: str
    position: int | None
    time: datetime
    streams: int
    events: int
    tables: Mapping[str, int]
    """The number of rows of each."""
    from_kept: str | None = None


class Asked(NamedTuple):
    """A moment: a position of the service's own store, and the time up to which other services' events count."""

    position: int
    time: datetime


@asynccontextmanager
async def as_of(
    service: str,
    projection: Projection,
    dsn: str,
    access: KafkaAccess,
    *,
    position: int | None = None,
    time: datetime | None = None,
    keep: bool = False,
) -> AsyncIterator[AsOf]:
    """The projection's tables as of a position of the service's store, or as of a time (events that were decided by
    then). They are what events alone make: timers that have fired are still among the timers. Dropped when the block
    ends, unless they are to be kept: then a later moment starts from them. Raises CannotRebuild or CannotFold."""
    if (position is None) == (time is None):
        raise CannotRebuild("Name either a position or a time.")
    if any(map(is_inbound, projection.topics)):
        raise CannotRebuild(f"{projection.name} folds foreign events, which have no streams: it can't be folded anew.")
    db = await asyncpg.connect(dsn, command_timeout=600)
    schema = f"asof_{uuid_utils.uuid7().hex}"
    keeping = False
    try:
        folding = _Folding(service, projection, dsn, access, schema, await _moment(db, position, time))
        result = await folding.run(db)
        if keep:
            await folding.kept(db, result)
            keeping = True
        yield result
    finally:
        if not keeping:
            await db.execute(with_names(SQL["drop_if_exists"], schema=schema))
        await db.close()


async def drop_kept(dsn: str, schema: str) -> None:
    """Drops tables that were kept. Raises CannotRebuild when there are none of this name."""
    db = await asyncpg.connect(dsn, command_timeout=60)
    try:
        async with db.transaction():
            if await db.fetchval(SQL["forget"], schema) is None:
                raise CannotRebuild(f"No tables are kept in a schema {schema}.")
            await db.execute(with_names(SQL["drop"], schema=schema))
    finally:
        await db.close()


async def _moment(db: Any, position: int | None, time: datetime | None) -> Asked:
    """What was asked for, as a position and a time."""
    last = int(await db.fetchval(SQL["position"]))
    if time is not None:
        if time.tzinfo is None:
            raise CannotRebuild("The time names no zone: write it with one, as 2026-11-21T04:03:00Z.")
        before = await db.fetchval(SQL["position_at"], time)
        return Asked(before, time)
    if position is None or not 0 <= position <= last:
        raise CannotRebuild(f"The store has positions up to {last}, not {position}.")
    found = await db.fetchval(SQL["time_at"], position)
    return Asked(position, found or await db.fetchval(SQL["now"]))


class _Folding:
    """One folding as of a moment."""

    def __init__(
        self, service: str, projection: Projection, dsn: str, access: KafkaAccess, schema: str, asked: Asked
    ) -> None:
        self._service, self._projection, self._dsn, self._access = service, projection, dsn, access
        self._schema, self._asked = schema, asked
        self._consumer = f"{service}.{projection.name}"
        self._own = topic_of(service)

    async def run(self, db: Any) -> AsOf:
        async with db.transaction():
            await make(db, self._projection, self._schema)
            started = await self._from_nearest(db)
        scratch = await Scratch.opened(self._projection, self._schema, self._dsn, WORKERS)
        try:
            await self._fold(db, scratch)
        finally:
            await scratch.close()
        return await self._covers(db, scratch.folded, started)

    async def _from_nearest(self, db: Any) -> str | None:
        """Copies the latest kept tables of the same folds that are of no later moment."""
        kept = await db.fetchval(
            SQL["nearest"], self._consumer, code_of(self._projection), self._asked.position, self._asked.time
        )
        if kept is not None:
            for table in (*map(bare, self._projection.tables), "_seen", "_progress"):
                await db.execute(with_names(SQL["copy"], schema=self._schema, table=table, kept=kept))
        return str(kept) if kept is not None else None

    async def _fold(self, db: Any, scratch: Scratch) -> None:
        types, topics = self._projection.types, [t for t in self._projection.topics if t != self._own]
        progress = await scratch.progress()
        ends = await self._ends(db, topics)
        try:
            async with asyncio.TaskGroup() as group:
                for worker in range(WORKERS):
                    if self._own in self._projection.topics:
                        group.create_task(self._from_store(scratch, worker, progress))
                    if mine := dict(sorted(ends.items())[worker::WORKERS]):
                        group.create_task(self._from_topics(scratch, types, mine))
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None

    async def _ends(self, db: Any, topics: Sequence[str]) -> dict[Partition, int]:
        """How far the topics' partitions are read: as far as the live consumer has judged what is there."""
        if not topics:
            return {}
        rows = await db.fetch(SQL["offsets"], self._consumer, topics)
        if missing := set(topics) - {row["topic"] for row in rows}:
            raise CannotRebuild(
                f"The consumer {self._consumer} has never read {', '.join(sorted(missing))}, so its partitions are "
                "not known: start the service first."
            )
        judged = {(row["topic"], row["partition"]): row["offset"] for row in rows}
        async with Topics(self._access, self._projection.types) as reading:
            return {place: min(end, judged[place]) for place, end in (await reading.ends(judged)).items()}

    async def _from_store(self, scratch: Scratch, worker: int, progress: Mapping[Source, int]) -> None:
        """From where a kept one ended. That is before the first event that was passed over: it may count now."""
        own = OwnStore(scratch.pool, source_of(self._service), self._projection.types)
        all_count = True
        async for position, batch in own.share(
            worker, WORKERS, progress.get((_STORE, worker), 0), self._asked.position
        ):
            all_count = all_count and all(each.envelope.time <= self._asked.time for each in batch)
            await scratch.fold(batch, self._bound, {(_STORE, worker): position} if all_count else {})

    async def _from_topics(self, scratch: Scratch, types: frozenset[str], ends: Mapping[Partition, int]) -> None:
        """Always from the start: what was too late for a kept one may count now. What it has isn't folded again."""
        async with Topics(self._access, types) as topics:
            async for _, batch in topics.between({}, ends):
                await scratch.fold(await applied(scratch.pool, self._service, batch), self._bound, {})

    async def _bound(self, _tx: Any, _streams: Sequence[str]) -> Counts:
        position, time, own = self._asked.position, self._asked.time, source_of(self._service)

        def counts(envelope: Envelope) -> bool:
            return envelope.time <= time and (envelope.source != own or (envelope.position or 0) <= position)

        return counts

    async def _covers(self, db: Any, events: int, started: str | None) -> AsOf:
        streams = int(await db.fetchval(with_names(SQL["streams"], schema=self._schema)))
        rows = {}
        for table in self._projection.tables:
            rows[table] = int(await db.fetchval(with_names(SQL["rows"], schema=self._schema, table=bare(table))))
        own = self._asked.position if self._own in self._projection.topics else None
        return AsOf(
            schema=self._schema,
            position=own,
            time=self._asked.time,
            streams=streams,
            events=events,
            tables=rows,
            from_kept=started,
        )

    async def kept(self, db: Any, result: AsOf) -> None:
        covers = {"streams": result.streams, "tables": dict(result.tables)}
        await db.execute(
            SQL["keep"],
            self._schema,
            self._consumer,
            code_of(self._projection),
            self._asked.position,
            self._asked.time,
            json.dumps(covers),
        )


# ── Step by step ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row before and after an event; None where there was or is none."""

    table: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def changed(self) -> Sequence[str]:
        """The columns whose values differ."""
        before, after = self.before or {}, self.after or {}
        return [name for name in {**before, **after} if before.get(name) != after.get(name)]


@dataclass(frozen=True, slots=True)
class Stepped:
    """What an event changed. A type without a fold changes nothing, by declaration."""

    envelope: Envelope
    folded: bool
    changes: Sequence[RowChange]


async def step(projection: Projection, stored: Sequence[StoredEvent], dsn: str) -> list[Stepped]:
    """What each of a stream's events changes in the projection's rows, beginning with empty tables: rows that other
    streams' events made aren't there. Nothing of it is committed.

    Raises CannotRebuild, CannotFold or what a fold raises."""
    schema = f"step_{uuid_utils.uuid7().hex}"
    db = await asyncpg.connect(dsn, command_timeout=60)
    names = {table: qualified(schema, bare(table)) for table in projection.tables if "." in table}
    folding, steps = Rewriting(db, renaming(names)), []
    undone = db.transaction()
    await undone.start()
    try:
        await make(db, projection, schema)
        await db.execute(with_names(SQL["search"], schema=schema))
        keys = {table: await _key(db, schema, bare(table)) for table in projection.tables}
        rows = await _rows(db, schema, keys)
        for each in pieces(stored, projection.types):
            if each.data is not None:
                await projection.apply(folding, each.event, each.envelope)
            now = await _rows(db, schema, keys)
            steps.append(Stepped(each.envelope, each.data is not None, _changes(rows, now)))
            rows = now
    finally:
        await undone.rollback()
        await db.close()
    return steps


_Rows = dict[tuple[str, str], Mapping[str, Any]]
"""From a table and a row's key to the row."""


async def _key(db: Any, schema: str, table: str) -> Sequence[str]:
    """The columns of the primary key; of a table without one, none."""
    rows = await db.fetch(SQL["key"], qualified(schema, table))
    return [row["attname"] for row in rows]


async def _rows(db: Any, schema: str, keys: Mapping[str, Sequence[str]]) -> _Rows:
    found: _Rows = {}
    for table, key in keys.items():
        for row in await db.fetch(with_names(SQL["table"], schema=schema, table=bare(table))):
            values = json.loads(row["row"])
            found[table, json.dumps([values[name] for name in key] if key else values, sort_keys=True)] = values
    return found


def _changes(before: _Rows, after: _Rows) -> list[RowChange]:
    """Row by row, in the order of their keys."""
    places = sorted(before.keys() | after.keys())
    pairs = ((place, before.get(place), after.get(place)) for place in places)
    return [RowChange(table, was, now) for (table, _), was, now in pairs if was != now]
