"""Point-in-time copies of a projection's tables, and the row changes that each event makes.

`as_of` folds into a schema of its own that the service's readers never see. It starts with no events, or with the
latest kept tables that cover no later moment.
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

from shared.eventlog.deliver.bundles import Rewriting, renaming
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.received import Partition
from shared.eventlog.repair.ahead import ahead
from shared.eventlog.repair.scratch import STORE, CannotRebuild, Counts, Scratch, bare, code_of, make, read_up_to
from shared.eventlog.repair.sources import OwnStore, Topics, applied, pieces
from shared.events.envelope import Envelope, StoredEvent, source_of
from shared.events.registry import is_inbound, topic_of
from shared.sql import qualified, statements, with_names

SQL: Final = statements(__file__)

WORKERS: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class AsOf:
    """Tables folded as of a moment, and what they cover."""

    schema: str
    position: int | None
    """The last position of the service's own store that is included; None if the projection doesn't fold its events."""
    time: datetime
    """The time up to which other services' events are included."""
    streams: int
    events: int
    """The number of events folded by this call, without those in the tables it started from."""
    tables: Mapping[str, int]
    """The number of rows of each table."""
    from_kept: str | None = None
    """The schema with the kept tables that this one started from."""


class _Moment(NamedTuple):
    """A position of the service's own store, and the time limit of other services' events."""

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
    """Fold the projection's tables as of a position or a time, into a schema of their own.

    The tables contain what events alone make: timers that have fired are still among the timers. They are dropped when
    the block ends, unless `keep` is set; a later call can then start from them.

    Args:
        position: a position of the service's store. Give this or `time`.
        time: the latest time of the events to include, with a time zone.

    Raises:
        CannotRebuild: the moment or the projection can't be folded as asked.
        CannotFold: an event can't be folded.
    """
    if (position is None) == (time is None):
        raise CannotRebuild("Name either a position or a time.")
    if any(map(is_inbound, projection.topics)):
        raise CannotRebuild(
            f"{projection.name} folds foreign events, which have no streams: it can't be folded as of a moment."
        )
    db = await asyncpg.connect(dsn, command_timeout=600)
    schema = f"asof_{uuid_utils.uuid7().hex}"
    keeping = False
    try:
        folding = _Folding(service, projection, dsn, access, schema, await _moment(db, position, time))
        result = await folding.run(db)
        if keep:
            await folding.keep(db, result)
            keeping = True
        yield result
    finally:
        if not keeping:
            await db.execute(with_names(SQL["drop_if_exists"], schema=schema))
        await db.close()


async def drop_kept(dsn: str, schema: str) -> None:
    """Drop a schema of kept tables. Raises CannotRebuild if there is no such schema."""
    db = await asyncpg.connect(dsn, command_timeout=60)
    try:
        async with db.transaction():
            if await db.fetchval(SQL["forget"], schema) is None:
                raise CannotRebuild(f"No kept tables are in a schema named {schema}.")
            await db.execute(with_names(SQL["drop"], schema=schema))
    finally:
        await db.close()


async def _moment(db: Any, position: int | None, time: datetime | None) -> _Moment:
    """Complete the requested position or time to a pair of both."""
    last = int(await db.fetchval(SQL["position"]))
    if time is not None:
        if time.tzinfo is None:
            raise CannotRebuild("The time has no time zone: write it with one, such as 2026-11-21T04:03:00Z.")
        before = await db.fetchval(SQL["position_at"], time)
        return _Moment(before, time)
    if position is None or not 0 <= position <= last:
        raise CannotRebuild(f"There is no position {position}: the store has positions up to {last}.")
    latest = await db.fetchval(SQL["time_at"], position)
    return _Moment(position, latest or await db.fetchval(SQL["now"]))


class _Folding:
    """One run that folds a projection as of a moment."""

    def __init__(
        self, service: str, projection: Projection, dsn: str, access: KafkaAccess, schema: str, moment: _Moment
    ) -> None:
        self._service, self._projection, self._dsn, self._access = service, projection, dsn, access
        self._schema, self._moment = schema, moment
        self._consumer = f"{service}.{projection.name}"
        self._own = topic_of(service)

    async def run(self, db: Any) -> AsOf:
        async with db.transaction():
            await make(db, self._projection, self._schema)
            from_kept = await self._from_nearest(db)
        scratch = await Scratch.opened(self._projection, self._schema, self._dsn, WORKERS)
        try:
            await self._fold(db, scratch)
        finally:
            await scratch.close()
        return await self._covers(db, scratch.folded, from_kept)

    async def _from_nearest(self, db: Any) -> str | None:
        """Copy the latest kept tables that the same folds made and that cover no later moment."""
        kept = await db.fetchval(
            SQL["nearest"], self._consumer, code_of(self._projection), self._moment.position, self._moment.time
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
                if self._own in self._projection.topics:
                    group.create_task(self._from_store(scratch, read_up_to(progress)))
                for worker in range(WORKERS):
                    if mine := dict(sorted(ends.items())[worker::WORKERS]):
                        group.create_task(self._from_topics(scratch, types, mine))
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None

    async def _ends(self, db: Any, topics: Sequence[str]) -> dict[Partition, int]:
        """Return each partition's last offset to read: the live consumer's checkpoint at most."""
        if not topics:
            return {}
        rows = await db.fetch(SQL["offsets"], self._consumer, topics)
        if missing := set(topics) - {row["topic"] for row in rows}:
            raise CannotRebuild(
                f"The consumer {self._consumer} has no checkpoint in {', '.join(sorted(missing))}, so the partitions "
                "to read are unknown: start the service first."
            )
        checkpoints = {(row["topic"], row["partition"]): row["offset"] for row in rows}
        async with Topics(self._access, self._projection.types) as reading:
            ends = await reading.ends(checkpoints)
            return {partition: min(end, checkpoints[partition]) for partition, end in ends.items()}

    async def _from_store(self, scratch: Scratch, after: int) -> None:
        """Fold the store's events, from the progress of the kept tables.

        Progress stops before the first event that was too late for the moment, because a later moment may include it.
        """
        own = OwnStore(scratch.pool, source_of(self._service), self._projection.types)
        all_count = True
        async for position, batch in ahead(own.events(after, self._moment.position)):
            all_count = all_count and all(piece.envelope.time <= self._moment.time for piece in batch)
            read = {(STORE, 0): position} if all_count else {}
            await scratch.fold_side_by_side(batch, self._bound, read, WORKERS)

    async def _from_topics(self, scratch: Scratch, types: frozenset[str], ends: Mapping[Partition, int]) -> None:
        """Fold the topics' events, always from the start.

        Events that were too late for the kept tables may count now. `Scratch` skips those that are folded already.
        """
        async with Topics(self._access, types) as topics:
            async for _, batch in topics.between({}, ends):
                await scratch.fold(await applied(scratch.pool, self._service, batch), self._bound, {})

    async def _bound(self, _tx: Any, _streams: Sequence[str]) -> Counts:
        position, time, own = self._moment.position, self._moment.time, source_of(self._service)

        def counts(envelope: Envelope) -> bool:
            return envelope.time <= time and (envelope.source != own or (envelope.position or 0) <= position)

        return counts

    async def _covers(self, db: Any, events: int, from_kept: str | None) -> AsOf:
        streams = int(await db.fetchval(with_names(SQL["streams"], schema=self._schema)))
        rows = {}
        for table in self._projection.tables:
            rows[table] = int(await db.fetchval(with_names(SQL["rows"], schema=self._schema, table=bare(table))))
        own = self._moment.position if self._own in self._projection.topics else None
        return AsOf(
            schema=self._schema,
            position=own,
            time=self._moment.time,
            streams=streams,
            events=events,
            tables=rows,
            from_kept=from_kept,
        )

    async def keep(self, db: Any, result: AsOf) -> None:
        covers = {"streams": result.streams, "tables": dict(result.tables)}
        await db.execute(
            SQL["keep"],
            self._schema,
            self._consumer,
            code_of(self._projection),
            self._moment.position,
            self._moment.time,
            json.dumps(covers),
        )


# ── Step by step ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row before and after an event; None if it did not or does not exist."""

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
    """The changes that one event made. `folded` is false for a type that the projection ignores."""

    envelope: Envelope
    folded: bool
    changes: Sequence[RowChange]


async def step(projection: Projection, stored: Sequence[StoredEvent], dsn: str) -> list[Stepped]:
    """Fold a stream's events one by one into empty tables, and return the row changes of each.

    Rows that other streams' events made are missing. Nothing is committed.

    Raises:
        CannotRebuild: the projection's tables can't be copied.
        CannotFold: an event can't be read.
        Exception: whatever a fold raises.
    """
    schema = f"step_{uuid_utils.uuid7().hex}"
    db = await asyncpg.connect(dsn, command_timeout=60)
    names = {table: qualified(schema, bare(table)) for table in projection.tables if "." in table}
    folding, steps = Rewriting(db, renaming(names)), []
    transaction = db.transaction()
    await transaction.start()
    try:
        await make(db, projection, schema)
        await db.execute(with_names(SQL["search"], schema=schema))
        keys = {table: await _key(db, schema, bare(table)) for table in projection.tables}
        rows = await _rows(db, schema, keys)
        for piece in pieces(stored, projection.types):
            if piece.data is not None:
                await projection.apply(folding, piece.event, piece.envelope)
            now = await _rows(db, schema, keys)
            steps.append(Stepped(piece.envelope, piece.data is not None, _changes(rows, now)))
            rows = now
    finally:
        await transaction.rollback()
        await db.close()
    return steps


_Rows = dict[tuple[str, str], Mapping[str, Any]]
"""Rows by table and primary key."""


async def _key(db: Any, schema: str, table: str) -> Sequence[str]:
    """Return the columns of the primary key, or nothing if the table has none."""
    rows = await db.fetch(SQL["key"], qualified(schema, table))
    return [row["attname"] for row in rows]


async def _rows(db: Any, schema: str, keys: Mapping[str, Sequence[str]]) -> _Rows:
    result: _Rows = {}
    for table, key in keys.items():
        for row in await db.fetch(with_names(SQL["table"], schema=schema, table=bare(table))):
            values = json.loads(row["row"])
            result[table, json.dumps([values[name] for name in key] if key else values, sort_keys=True)] = values
    return result


def _changes(before: _Rows, after: _Rows) -> list[RowChange]:
    """Return the rows that differ, in the order of their keys."""
    keys = sorted(before.keys() | after.keys())
    pairs = ((key, before.get(key), after.get(key)) for key in keys)
    return [RowChange(table, was, now) for (table, _), was, now in pairs if was != now]
