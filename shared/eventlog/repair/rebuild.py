"""Rebuild of a projection's tables while the service runs.

The switch to the new tables is one transaction. The new tables are folded beside the live ones, never further than the
live consumer has processed (`engine.seen`, `engine.checkpoints`). So both are at the same point as soon as nothing is
missing, and the consumer's checkpoints are unchanged by the switch. What it has parked stays parked, except events of
types that were unknown. A rebuild runs no reactions.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import asyncpg
import structlog

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.received import Partition
from shared.eventlog.repair.ahead import ahead
from shared.eventlog.repair.collecting import rare_collections
from shared.eventlog.repair.scratch import (
    STORE,
    CannotRebuild,
    Counts,
    Piece,
    Scratch,
    Source,
    bare,
    code_of,
    digests,
    home,
    live,
    make,
    read_up_to,
)
from shared.eventlog.repair.sources import OwnStore, Topics, applied
from shared.events.envelope import Envelope, source_of, type_on_wire
from shared.events.registry import is_inbound, topic_of
from shared.sql import qualified, statements, with_names

logger = structlog.get_logger(__name__)

SQL: Final = statements(__file__)
WORKERS: Final = 4
NEAR: Final = 1_000
"""Once the rebuild is fewer events than this behind, the rest is folded while the live consumer waits."""
COMPARISONS: Final = 3
LOCK_TRIES: Final = 60

From = Literal["store", "kafka"]


class _Reread(Exception):
    """Raised to read the topics again: a stream that was held when they were read no longer is."""


class TableReport(NamedTuple):
    """The row count and digest of a live table and of its new version, at the same point."""

    rows: int
    digest: str
    new_rows: int
    new_digest: str

    @property
    def agrees(self) -> bool:
        return self.digest == self.new_digest


@dataclass(kw_only=True, slots=True)
class Report:
    """The result of a rebuild."""

    id: int
    consumer: str
    state: str
    events: int
    """The number of events folded by this run; earlier runs of a resumed rebuild are not counted."""
    folding_s: float
    blocked_s: float
    """How long the live consumer waited for the switch. Readers waited only while the tables were renamed."""
    tables: dict[str, TableReport] = field(default_factory=dict)
    old: str | None = None
    """The schema that keeps the former tables."""
    detail: str = ""

    @property
    def agrees(self) -> bool:
        return not any(table.digest != table.new_digest for table in self.tables.values())


class RebuildProgress(NamedTuple):
    """The progress of a rebuild, in events of streams.

    `total` is the number of events that the live consumer has processed.
    """

    stage: Literal["folding", "catching up", "comparing", "switching"]
    folded: int
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenRebuild:
    """A row of `engine.rebuilds`: a rebuild that has begun and has not switched."""

    id: int
    schema: str
    source: From
    workers: int
    upto: int
    started: datetime


class Rebuild:
    """The rebuild of one projection. If it is killed, the next run continues it."""

    def __init__(
        self,
        service: str,
        projection: Projection,
        dsn: str,
        access: KafkaAccess,
        *,
        source: From = "store",
        workers: int = WORKERS,
        progress: Callable[[RebuildProgress], None] = lambda _: None,
    ) -> None:
        if any(map(is_inbound, projection.topics)):
            raise CannotRebuild(f"{projection.name} folds foreign events, which have no streams: it can't be rebuilt.")
        self.consumer = f"{service}.{projection.name}"
        self._projection, self._dsn, self._access, self._progress = projection, dsn, access, progress
        self._service, self._source, self._workers = service, source, max(1, workers)
        self._total = 0
        self._reread = False

    async def run(self, *, on_difference: Literal["stop", "switch"] = "stop") -> Report:
        """Start or resume the rebuild, and switch to the new tables.

        What was folded before an error is kept, and the next run resumes there.

        Args:
            on_difference: what to do if live and new tables differ, for example because a fold has changed. With "stop"
                both stay, and the next run compares them again.

        Raises:
            CannotRebuild: the rebuild can't be done in the present state.
            CannotFold: an event can't be folded.
            asyncpg.PostgresError: PostgreSQL has refused a statement.
        """
        async with self._alone() as db:
            self._open = await self._resume_or_begin(db)
            scratch = await Scratch.opened(self._projection, self._open.schema, self._dsn, self._open.workers)
            try:
                async with Topics(self._access, self._projection.types) as topics:
                    self._scratch, self._topics = scratch, topics
                    with rare_collections():
                        return await self._fold_and_switch(db, on_difference)
            finally:
                await scratch.close()

    async def _fold_and_switch(self, db: Any, on_difference: Literal["stop", "switch"]) -> Report:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self._total = int(await db.fetchval(SQL["total"], self.consumer))
        await self._fold_all()
        await self._catch_up(db)
        folding_s = loop.time() - begun
        report = Report(
            id=self._open.id,
            consumer=self.consumer,
            state="folding",
            events=self._scratch.folded,
            folding_s=folding_s,
            blocked_s=0.0,
        )
        for _ in range(COMPARISONS):  # a timer or a request may write to a live table during a comparison
            report.tables = await self._compare(db)
            if report.agrees:
                break
        tables = json.dumps({name: table._asdict() for name, table in report.tables.items()})
        if not report.agrees and on_difference == "stop":
            names = ", ".join(name for name, table in report.tables.items() if not table.agrees)
            report.state = "differs"
            report.detail = (
                f"{names} would change. The new tables are in the schema {self._open.schema}. Compare them with the "
                "live tables, then run the rebuild again and allow it to switch although they differ, or give it up."
            )
            await db.execute(SQL["differs"], self._open.id, tables, report.detail)
            return report
        await self._switch(db, report, tables)
        return report

    # ── Beginning ──────────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Any]:
        """Open a connection and hold the lock that excludes other rebuilds of this projection."""
        db = await asyncpg.connect(self._dsn, command_timeout=600, server_settings={"search_path": "pg_catalog"})
        try:
            has_lock = await db.fetchval(SQL["alone"], self.consumer)
            if not has_lock:
                raise CannotRebuild(f"{self.consumer} is being rebuilt by another process. Wait for it, or end it.")
            yield db
        finally:
            await db.close()

    async def _resume_or_begin(self, db: Any) -> OpenRebuild:
        """Return the open rebuild if the code of its folds is unchanged, or begin a new one."""
        folds = code_of(self._projection)
        row = await db.fetchrow(SQL["open"], self.consumer)
        if row is not None and row["folds"] != folds:
            logger.info("rebuild starts over: the folds have changed", consumer=self.consumer, schema=row["schema"])
            await self._drop(db, row["id"], row["schema"])
            row = None
        if row is None:
            async with db.transaction():
                if not await db.fetchval(SQL["known"], self.consumer):
                    raise CannotRebuild(
                        f"No consumer {self.consumer} has ever run on this database, so there is nothing to rebuild: "
                        "start the service, and it folds all events."
                    )
                row = await db.fetchrow(SQL["begin"], self.consumer, self._source, self._workers, folds)
                await make(db, self._projection, row["schema"])
        return OpenRebuild(**{name: row[name] for name in ("id", "schema", "source", "workers", "upto", "started")})

    async def give_up(self) -> None:
        """Drop the new tables of the open rebuild. Raises CannotRebuild if there is none."""
        async with self._alone() as db:
            row = await db.fetchrow(SQL["open"], self.consumer)
            if row is None:
                raise CannotRebuild(f"No rebuild of {self.consumer} has begun.")
            await self._drop(db, row["id"], row["schema"])

    async def _drop(self, db: Any, id_: int, schema: str) -> None:
        async with db.transaction():
            await db.execute(with_names(SQL["drop"], schema=schema))
            await db.execute(SQL["end"], id_, "dropped")

    # ── Folding ────────────────────────────────────────────────────────────────────────────────────────

    async def _bound(self, tx: Any, streams: Sequence[str]) -> Counts:
        rows = await tx.fetch(SQL["versions"], self.consumer, streams)
        versions = {row["stream"]: row["version"] for row in rows}

        def counts(envelope: Envelope) -> bool:
            return bool((envelope.version or 0) <= versions.get(envelope.stream, 0))

        return counts

    async def _fold(self, batch: Sequence[Piece], read: dict[Source, int], workers: int = 1) -> int:
        if workers > 1:
            folded = await self._scratch.fold_side_by_side(batch, self._bound, read, workers)
        else:
            folded = await self._scratch.fold(batch, self._bound, read)
        self._progress(RebuildProgress("folding", self._scratch.folded, self._total))
        return folded

    @property
    def _read_from_kafka(self) -> list[str]:
        own = topic_of(self._service)
        return [topic for topic in self._projection.topics if topic != own or self._open.source == "kafka"]

    def _own(self, db: Any) -> OwnStore | None:
        if topic_of(self._service) not in self._projection.topics or self._open.source == "kafka":
            return None
        return OwnStore(db, source_of(self._service), self._projection.types)

    async def _fold_all(self) -> None:
        """Fold with all workers.

        Each has a share of the partitions, and of the streams of each batch of the store.
        """
        progress = await self._scratch.progress()
        targets = sorted((await self._offsets(self._scratch.pool)).items())
        workers = self._open.workers
        try:
            async with asyncio.TaskGroup() as group:
                if (own := self._own(self._scratch.pool)) is not None:
                    group.create_task(self._from_store(own, read_up_to(progress)))
                for worker in range(workers):
                    if mine := dict(targets[worker::workers]):
                        group.create_task(self._from_topics(mine, progress))
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None

    async def _from_store(self, own: OwnStore, after: int) -> None:
        async for position, batch in ahead(own.events(after, self._open.upto)):
            await self._fold(batch, {(STORE, 0): position}, self._open.workers)

    async def _from_topics(self, targets: dict[Partition, int], progress: dict[Source, int]) -> None:
        async with Topics(self._access, self._projection.types) as topics:
            async for reached, batch in topics.between(progress, targets):
                await self._fold(await applied(self._scratch.pool, self._service, batch), dict(reached))

    async def _offsets(self, db: Any) -> dict[Partition, int]:
        """Return the live consumer's checkpoints in the topics that are read from Kafka."""
        rows = await db.fetch(SQL["offsets"], self.consumer, self._read_from_kafka)
        return {(row["topic"], row["partition"]): row["offset"] for row in rows}

    async def _catch_up(self, db: Any) -> None:
        """Fold until a step has fewer than NEAR events, while the live consumer continues."""
        while True:
            folded = await self._step(db)
            self._progress(RebuildProgress("catching up", self._scratch.folded, self._total))
            if folded < NEAR:
                return

    async def _step(self, db: Any) -> int:
        """Fold what the live consumer has processed since, and return the number of events."""
        folded = 0
        progress = await self._scratch.progress()
        async for reached, batch in self._topics.between(progress, await self._offsets(db)):
            folded += await self._fold(await applied(self._scratch.pool, self._service, batch), dict(reached))
        if (own := self._own(db)) is not None:
            while batch := await own.behind(self.consumer, self._open.schema):
                number = await self._fold(batch, {})
                if not number:
                    break
                folded += number
        return folded

    async def _complete(self, db: Any) -> None:
        """Fold the rest while the live consumer waits. Raises CannotRebuild if events are missing."""
        await self._step(db)
        row = await db.fetchrow(with_names(SQL["missing"], schema=self._open.schema), self.consumer)
        if row is not None:
            if self._read_from_kafka and not self._reread:
                raise _Reread
            raise CannotRebuild(
                f"The live consumer {self.consumer} has processed {row['stream']} up to version {row['live']}, but "
                f"only versions up to {row['new']} can be read from {self._open.source}. `tenure verify` shows what is "
                "missing there; `tenure reconcile` it first."
            )

    async def _at_one_point(self, db: Any, action: Callable[[], Awaitable[None]]) -> None:
        """Run an action in a transaction that blocks the live consumer, once nothing is missing."""
        try:
            async with db.transaction():
                await db.fetch(SQL["stop"], self.consumer)
                await self._complete(db)
                await action()
        except _Reread:
            self._reread = True
            await self._scratch.pool.execute(SQL["read_again"], STORE)
            await self._catch_up(db)
            await self._at_one_point(db, action)

    # ── Comparing and switching ────────────────────────────────────────────────────────────────────────

    async def _compare(self, db: Any) -> dict[str, TableReport]:
        """Compare the digests of live and new tables at one point.

        The snapshot is taken while the live consumer waits, and read after the consumer continues.
        """
        self._progress(RebuildProgress("comparing", self._scratch.folded, self._total))
        reader = await asyncpg.connect(self._dsn, command_timeout=3600)
        try:
            snapshot = reader.transaction(isolation="repeatable_read", readonly=True)

            async def take_snapshot() -> None:
                await self._carry_over(self._scratch.pool)
                await snapshot.start()
                await reader.fetchval(SQL["snapshot"])  # the first statement takes the snapshot

            await self._at_one_point(db, take_snapshot)
            live_digests = await digests(reader, self._projection)
            new_digests = await digests(reader, self._projection, self._open.schema)
            await snapshot.rollback()
            return {table: TableReport(*live_digests[table], *new_digests[table]) for table in live_digests}
        finally:
            await reader.close()

    async def _carry_over(self, db: Any) -> None:
        if self._projection.carry_over_sql:
            await db.execute(with_names(self._projection.carry_over_sql, new=self._open.schema))

    async def _switch(self, db: Any, report: Report, tables: str) -> None:
        """Switch to the new tables.

        It waits for readers for less time than `deadlock_timeout`, and lets them through before it tries again.
        """
        loop = asyncio.get_running_loop()
        for number in range(1, LOCK_TRIES + 1):
            self._progress(RebuildProgress("switching", self._scratch.folded, self._total))
            await self._catch_up(db)
            begun = loop.time()
            try:
                await self._at_one_point(db, partial(self._swap, db, tables))
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                if number == LOCK_TRIES:
                    raise CannotRebuild(
                        f"Long transactions keep reading the tables of {self.consumer}, so they can't be switched. "
                        "The new tables are ready: run the rebuild again when those transactions have ended."
                    ) from None
                await asyncio.sleep(0.1 * min(number, 10))
            else:
                report.blocked_s = loop.time() - begun
                report.state, report.old, report.events = "switched", old_schema(self._open.id), self._scratch.folded
                logger.info("rebuilt", consumer=self.consumer, events=report.events, old=report.old)
                return

    async def _swap(self, db: Any, tables: str) -> None:
        await db.execute(SQL["impatient"])
        for table in self._projection.tables:
            await db.execute(with_names(SQL["lock"], schema=home(table), table=bare(table)))
        await self._carry_over(db)
        new, old = self._open.schema, old_schema(self._open.id)
        await db.execute(with_names(SQL["keep"], schema=old))
        for table in self._projection.tables:
            for grant in await db.fetch(SQL["grants"], live(table), qualified(new, bare(table))):
                await db.execute(grant["statement"])
            await db.execute(with_names(SQL["move"], schema=home(table), table=bare(table), to=old))
            await db.execute(with_names(SQL["move"], schema=new, table=bare(table), to=home(table)))
        await self._unpark(db)
        await db.execute(with_names(SQL["drop"], schema=new))
        await db.execute(SQL["switched"], self._open.id, tables)

    async def _unpark(self, db: Any) -> None:
        """Unpark events that were parked because their types were unknown, and that are folded now."""
        known = [name.encode() for each in self._projection.types for name in (each, type_on_wire(each))]
        operation = f"rebuild-{self._open.id}"
        await db.execute(with_names(SQL["unpark"], schema=self._open.schema), self.consumer, known, operation)


def old_schema(rebuild: int) -> str:
    """Return the schema that keeps the tables which rebuild number `rebuild` has replaced."""
    return f"old_{rebuild}"


async def drop_old(dsn: str, rebuild: int) -> None:
    """Drop the tables that a rebuild has replaced. Raises CannotRebuild if there are none."""
    db = await asyncpg.connect(dsn, command_timeout=60)
    try:
        await _drop_old(db, rebuild)
    finally:
        await db.close()


async def _drop_old(db: Any, rebuild: int) -> None:
    async with db.transaction():
        if await db.fetchval(SQL["state"], rebuild) != "switched":
            raise CannotRebuild(
                f"Rebuild {rebuild} has no old tables: it has not switched, or they were dropped already."
            )
        await db.execute(with_names(SQL["drop"], schema=old_schema(rebuild)))
        await db.execute(SQL["end"], rebuild, "dropped")
