"""Copies of a projection's tables in a schema of their own, into which a rebuild folds.

Besides the tables, the schema has `_seen` (each stream's last folded version) and `_progress` (how far each source was
read). Both are updated in the transaction that folds, so a killed process continues where it was. Only this schema is
on the search path: a fold that writes to a table that its projection does not declare fails, instead of writing to a
live table.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

import asyncpg

from shared.eventlog.deliver.bundles import Bundles, Rewriting, renaming
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.write.postgres import TRANSIENT
from shared.events.base import Event
from shared.events.envelope import Envelope, Unreadable
from shared.events.upcasts import decode
from shared.sql import identifier, qualified, statements, with_names

SQL: Final = statements(__file__)

TRIES: Final = 8
_PASSING: Final = tuple(fault for fault in TRANSIENT if fault is not asyncpg.InterfaceError)
"""Transient errors. An InterfaceError on an open connection is none: the fold calls the driver wrongly."""

STORE: Final = "store"
Source = tuple[str, int]
"""(STORE, 0) or (topic, partition). Earlier versions had (STORE, worker) for each worker."""
Counts = Callable[[Envelope], bool]
Bound = Callable[[Any, Sequence[str]], Awaitable[Counts]]
"""Returns, for a connection and streams, whether an event of these is to be folded now."""


class CannotFold(Exception):
    """An event can't be folded, because its fold fails or its bytes can't be read.

    Its whole batch is rolled back.
    """


class CannotRebuild(Exception):
    """The rebuild can't be done in the present state. The message says why, and what to do."""


class Piece(NamedTuple):
    """A stored event to be folded.

    Its data is None if the projection has no fold for its type. Then the envelope may have no id and no type.
    """

    envelope: Envelope
    data: bytes | None

    @property
    def event(self) -> Event:
        """The event. Raises CannotFold if its bytes can't be read."""
        try:
            return decode(self.envelope, self.data or b"", trusted=True)
        except Unreadable as problem:
            raise CannotFold(
                f"{self.envelope.type} {self.envelope.id} ({self.envelope.stream}, version "
                f"{self.envelope.version}) can't be read: {problem}. "
                "If a newer version of the software wrote it, run the command with that version."
            ) from None


def home(table: str) -> str:
    """Return the schema in which the service reads a declared table."""
    return table.rpartition(".")[0] or "public"


def live(table: str) -> str:
    """Return the qualified name under which the service reads a declared table."""
    return f"{home(table)}.{bare(table)}"


def bare(table: str) -> str:
    return table.rpartition(".")[2]


def code_of(projection: Projection) -> str:
    """Return a digest of the folds' code.

    It covers the Python and SQL files of their modules, the names of the tables and the event types.
    """
    parts = (part for fold in projection.folds for part in (fold, inspect.unwrap(fold)))
    files = {Path(inspect.getfile(part)) for part in parts}
    files |= {sql for file in files if (sql := file.with_suffix(".sql")).exists()}
    sources = sorted(file.read_text() for file in files)
    return sha256("\0".join([*sources, *projection.tables, *sorted(projection.types)]).encode()).hexdigest()[:32]


def read_up_to(progress: Mapping[Source, int]) -> int:
    """Return the position up to which the store was read."""
    return min((done for (source, _), done in progress.items() if source == STORE), default=0)


async def make(db: Any, projection: Projection, schema: str) -> None:
    """Create empty copies of the projection's tables in a new schema.

    They have the live tables' columns, defaults, checks, keys and indexes.

    Raises CannotRebuild if a live table is missing, or has triggers or foreign keys, which such a copy would lose.
    """
    if not projection.tables:
        raise CannotRebuild(
            f"The projection {projection.name} declares no tables, so there is nothing to fold it into."
        )
    for table in projection.tables:
        if await db.fetchval(SQL["exists"], live(table)) is None:
            raise CannotRebuild(
                f"The table {live(table)} of the projection {projection.name} does not exist: run the migrations first."
            )
        lost = await db.fetchval(SQL["loses"], live(table))
        if lost:
            raise CannotRebuild(
                f"{live(table)} has triggers or foreign keys, which a copy of the table would not have. "
                "Remove them first."
            )
    await db.execute(with_names(SQL["create_schema"], schema=schema))
    for table in projection.tables:
        names = {"schema": schema, "table": bare(table), "home": home(table)}
        await db.execute(with_names(SQL["create_table"], **names))
    await db.execute(with_names(SQL["create_progress"], schema=schema))


async def digests(db: Any, projection: Projection, schema: str | None = None) -> dict[str, tuple[int, str]]:
    """Return each table's number of rows and the SHA-256 of all of them in order.

    Args:
        schema: the schema of the tables; None for the live ones.
    """
    result = {}
    for table in projection.tables:
        table_schema = home(table) if schema is None else schema
        rows = await db.fetch(SQL["columns"], qualified(table_schema, bare(table)))
        columns = [row["attname"] for row in rows if row["attname"] not in projection.excluded_from_digest]
        hashed, number = sha256(), 0
        query = with_names(SQL["rows"], columns=columns, schema=table_schema, table=bare(table))
        async with db.transaction():
            async for row in db.cursor(query, prefetch=5_000):
                hashed.update(row["row"].encode() + b"\n")
                number += 1
        result[table] = (number, hashed.hexdigest())
    return result


class Scratch:
    """Folding of events into a schema's tables.

    Several workers may fold at the same time, as long as each stream is folded by one of them only.
    """

    def __init__(self, projection: Projection, schema: str, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.projection, self.schema, self.pool = projection, schema, pool
        names = {table: qualified(schema, bare(table)) for table in projection.tables if "." in table}
        self.rewrite = renaming(names)
        self.folded = 0

    @staticmethod
    async def opened(projection: Projection, schema: str, dsn: str, workers: int) -> "Scratch":
        """Open connections of its own.

        They commit asynchronously: what a crash of the server loses is folded again.
        """
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=workers + 1,
            command_timeout=600,
            server_settings={"search_path": identifier(schema), "synchronous_commit": "off"},
        )
        return Scratch(projection, schema, pool)

    async def progress(self) -> dict[Source, int]:
        rows = await self.pool.fetch(SQL["progress"])
        return {(row["source"], row["number"]): row["done"] for row in rows}

    async def fold(self, pieces: Sequence[Piece], bound: Bound, read: Mapping[Source, int]) -> int:
        """Fold the events that count and come next in their streams.

        The events and the progress are one transaction. Transient errors are retried.

        Args:
            bound: decides which events count.
            read: how far each source was read.

        Returns:
            The number of events folded.

        Raises:
            CannotFold: an event can't be folded.
        """
        for number in range(1, TRIES + 1):
            try:
                async with self.pool.acquire() as tx, tx.transaction():
                    folded = await self._fold(tx, pieces, bound, read)
                self.folded += folded
                return folded
            except TRANSIENT:
                if number == TRIES:
                    raise
                await asyncio.sleep(0.05 * 2**number)
        raise AssertionError("the last attempt returns or raises")

    async def fold_side_by_side(
        self, pieces: Sequence[Piece], bound: Bound, read: Mapping[Source, int], workers: int
    ) -> int:
        """Fold events as `fold` does, different streams by several workers.

        The progress is noted last.
        If it ends before that, the events are read again, and those that are folded already are skipped.
        """
        shares: list[list[Piece]] = [[] for _ in range(workers)]
        for piece in pieces:
            shares[crc32(piece.envelope.stream.encode()) % workers].append(piece)
        try:
            async with asyncio.TaskGroup() as group:
                folding = [group.create_task(self.fold(share, bound, {})) for share in shares if share]
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None
        if read:
            await self.fold((), bound, read)
        return sum(task.result() for task in folding)

    async def _fold(self, tx: Any, pieces: Sequence[Piece], bound: Bound, read: Mapping[Source, int]) -> int:
        streams = sorted({piece.envelope.stream for piece in pieces})
        seen = {row["stream"]: row["version"] for row in await tx.fetch(SQL["seen"], streams)}
        counts = await bound(tx, streams)
        chosen, after = [], dict[str, int]()
        for piece in pieces:
            stream, version = piece.envelope.stream, piece.envelope.version
            if version == after.get(stream, seen.get(stream, 0)) + 1 and counts(piece.envelope):
                after[stream] = version or 0
                chosen.append(piece)
        await self.apply(tx, [(piece.envelope, piece.event) for piece in chosen if piece.data is not None])
        await tx.execute(SQL["see"], list(after), list(after.values()))
        await tx.executemany(SQL["note_progress"], [(*source, done) for source, done in read.items()])
        return len(chosen)

    async def apply(self, tx: Any, events: Sequence[tuple[Envelope, Event]]) -> None:
        """Fold the events in batches, or one by one if that fails. Raises CannotFold with the event."""
        try:
            async with tx.transaction():
                bundles = Bundles(tx, self.rewrite, self.projection.in_bulk)
                for envelope, event in events:
                    await self.projection.apply(bundles.of_stream(envelope.stream), event, envelope)
                await bundles.send()
                return
        except Exception as error:
            if tx.is_closed() or isinstance(error, _PASSING):
                raise
            # The pass below, event by event, meets the same error and names the event.
        one = Rewriting(tx, self.rewrite)
        for envelope, event in events:
            try:
                await self.projection.apply(one, event, envelope)
            except Exception as error:
                if tx.is_closed() or isinstance(error, _PASSING):
                    raise
                raise CannotFold(
                    f"{envelope.type} {envelope.id} ({envelope.stream}, version {envelope.version}) "
                    f"can't be folded by {self.projection.name}: "
                    f"{type(error).__name__}: {error}. Correct the fold, then run the command again."
                ) from error

    async def close(self) -> None:
        await self.pool.close()
