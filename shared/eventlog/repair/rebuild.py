"""Makes a projection's tables anew while the service runs, and puts them in the old ones' place in one transaction.

The new tables are folded beside the live ones, never further than the live consumer has got: what it has dealt with
(`engine.seen`, `engine.checkpoints`) is the mark. So both stand at the same point as soon as nothing is missing, and
the consumer's marks stay as they are through the switch. What it has parked stays parked. Reactions are not run: there
is nothing here that could.
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
from shared.eventlog.deliver.plan import Partition
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.repair.scratch import (
    CannotRebuild,
    Counts,
    Scratch,
    Source,
    bare,
    code_of,
    digests,
    home,
    live,
    make,
)
from shared.eventlog.repair.sources import OwnStore, Topics, applied
from shared.events.envelope import Envelope, source_of
from shared.events.registry import is_inbound, topic_of
from shared.sql import qualified, statements, with_names

logger = structlog.get_logger(__name__)

SQL: Final = statements(__file__)
WORKERS: Final = 4
NEAR: Final = 1_000
"""So few events behind, the rest is folded while the live consumer waits."""
COMPARISONS: Final = 3
LOCK_TRIES: Final = 60
_STORE: Final = "store"

From = Literal["store", "kafka"]


class _Reread(Exception):
    """A stream that was held when its records were read isn't any more: they are read again."""


class TableReport(NamedTuple):
    """A table's rows and digest, live and anew, both at the same point."""

    rows: int
    digest: str
    new_rows: int
    new_digest: str

    @property
    def agrees(self) -> bool:
        return self.digest == self.new_digest


@dataclass(kw_only=True, slots=True)
class Report:
    """What a rebuild came to. `old` is the schema that keeps the former tables."""

    id: int
    consumer: str
    state: str
    events: int
    """Folded by this run; one that was resumed had folded others before."""
    folding_s: float
    blocked_s: float
    """How long the live consumer waited for the switch. Readers waited for none of it but the renaming."""
    tables: dict[str, TableReport] = field(default_factory=dict)
    old: str | None = None
    detail: str = ""

    @property
    def agrees(self) -> bool:
        return not any(table.digest != table.new_digest for table in self.tables.values())


class RebuildProgress(NamedTuple):
    """How far a rebuild is, in events of streams; `total` is what the live consumer has dealt with."""

    stage: Literal["folding", "catching up", "comparing", "switching"]
    folded: int
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenRebuild:
    """A rebuild that has begun and is not switched, as `engine.rebuilds` has it."""

    id: int
    schema: str
    source: From
    workers: int
    upto: int
    started: datetime


class Rebuild:
    """One projection's rebuild. Killed at any moment, the next one of the same projection goes on with it."""

    def __init__(
        self,
        service: str,
        projection: Projection,
        dsn: str,
        access: KafkaAccess,
        *,
        source: From = "store",
        workers: int = WORKERS,
        told: Callable[[RebuildProgress], None] = lambda _: None,
    ) -> None:
        if any(map(is_inbound, projection.topics)):
            raise CannotRebuild(f"{projection.name} folds foreign events, which have no streams: it can't be rebuilt.")
        self.consumer = f"{service}.{projection.name}"
        self._projection, self._dsn, self._access, self._told = projection, dsn, access, told
        self._service, self._source, self._workers = service, source, max(1, workers)
        self._total = 0
        self._reread = False

    async def run(self, *, on_difference: Literal["stop", "switch"] = "stop") -> Report:
        """Begins or goes on, up to the switch. Where live and new tables differ (after a fold has changed, say), they
        are switched only if `on_difference` says so; otherwise both stay, and the next run compares again. Raises
        CannotRebuild, CannotFold, or the driver's errors: what was folded by then is kept."""
        async with self._alone() as db:
            self._open = await self._begun(db)
            scratch = await Scratch.opened(self._projection, self._open.schema, self._dsn, self._open.workers)
            try:
                async with Topics(self._access, self._projection.types) as topics:
                    self._scratch, self._topics = scratch, topics
                    return await self._through(db, on_difference)
            finally:
                await scratch.close()

    async def _through(self, db: Any, on_difference: Literal["stop", "switch"]) -> Report:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self._total = int(await db.fetchval(SQL["total"], self.consumer))
        await self._bulk()
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
        for _ in range(COMPARISONS):  # a timer may fire, a door may write, between the two sides of a comparison
            report.tables = await self._compared(db)
            if report.agrees:
                break
        tables = json.dumps({name: table._asdict() for name, table in report.tables.items()})
        if not report.agrees and on_difference == "stop":
            names = ", ".join(name for name, table in report.tables.items() if not table.agrees)
            report.state = "differs"
            report.detail = (
                f"{names} would change. The new tables are in the schema {self._open.schema}; look at them, then run "
                "the rebuild again and say that it may switch all the same, or give it up."
            )
            await db.execute(SQL["differs"], self._open.id, tables, report.detail)
            return report
        await self._switched(db, report, tables)
        return report

    # ── Beginning ──────────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Any]:
        """A connection whose lock sees to it that nobody else rebuilds this projection."""
        db = await asyncpg.connect(self._dsn, command_timeout=600, server_settings={"search_path": "pg_catalog"})
        try:
            got = await db.fetchval(SQL["alone"], self.consumer)
            if not got:
                raise CannotRebuild(f"{self.consumer} is being rebuilt by another process. Wait for it, or end it.")
            yield db
        finally:
            await db.close()

    async def _begun(self, db: Any) -> OpenRebuild:
        """The rebuild that has begun, if its folds are still the same code, or a new one."""
        folds = code_of(self._projection)
        found = await db.fetchrow(SQL["open"], self.consumer)
        if found is not None and found["folds"] != folds:
            logger.info("rebuild begins anew: the folds have changed", consumer=self.consumer, schema=found["schema"])
            await self._given_up(db, found["id"], found["schema"])
            found = None
        if found is None:
            async with db.transaction():
                if not await db.fetchval(SQL["known"], self.consumer):
                    raise CannotRebuild(
                        f"No consumer {self.consumer} has ever run on this database, so there is nothing to rebuild: "
                        "start the service, and it folds all there is."
                    )
                found = await db.fetchrow(SQL["begin"], self.consumer, self._source, self._workers, folds)
                await make(db, self._projection, found["schema"])
        return OpenRebuild(**{name: found[name] for name in ("id", "schema", "source", "workers", "upto", "started")})

    async def give_up(self) -> None:
        """Drops the new tables of a rebuild that was begun and not switched."""
        async with self._alone() as db:
            found = await db.fetchrow(SQL["open"], self.consumer)
            if found is None:
                raise CannotRebuild(f"No rebuild of {self.consumer} has begun.")
            await self._given_up(db, found["id"], found["schema"])

    async def _given_up(self, db: Any, id_: int, schema: str) -> None:
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

    async def _fold(self, batch: Sequence[Any], read: dict[Source, int]) -> int:
        folded = await self._scratch.fold(batch, self._bound, read)
        self._told(RebuildProgress("folding", self._scratch.folded, self._total))
        return folded

    @property
    def _read_from_kafka(self) -> list[str]:
        own = topic_of(self._service)
        return [topic for topic in self._projection.topics if topic != own or self._open.source == "kafka"]

    def _own(self, db: Any) -> OwnStore | None:
        if topic_of(self._service) not in self._projection.topics or self._open.source == "kafka":
            return None
        return OwnStore(db, source_of(self._service), self._projection.types)

    async def _bulk(self) -> None:
        """All workers: each has some streams of the store, and some partitions of the topics."""
        progress = await self._scratch.progress()
        targets = sorted((await self._offsets(self._scratch.pool)).items())
        workers = self._open.workers
        try:
            async with asyncio.TaskGroup() as group:
                for worker in range(workers):
                    if (own := self._own(self._scratch.pool)) is not None:
                        group.create_task(self._from_store(own, worker, progress.get((_STORE, worker), 0)))
                    if mine := dict(targets[worker::workers]):
                        group.create_task(self._from_topics(mine, progress))
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None

    async def _from_store(self, own: OwnStore, worker: int, after: int) -> None:
        async for position, batch in own.share(worker, self._open.workers, after, self._open.upto):
            await self._fold(batch, {(_STORE, worker): position})

    async def _from_topics(self, targets: dict[Partition, int], progress: dict[Source, int]) -> None:
        async with Topics(self._access, self._projection.types) as topics:
            async for reached, batch in topics.between(progress, targets):
                await self._fold(await applied(self._scratch.pool, self._service, batch), dict(reached))

    async def _offsets(self, db: Any) -> dict[Partition, int]:
        """How far the live consumer is in the topics that are read from Kafka."""
        rows = await db.fetch(SQL["offsets"], self.consumer, self._read_from_kafka)
        return {(row["topic"], row["partition"]): row["offset"] for row in rows}

    async def _catch_up(self, db: Any) -> None:
        """Until little is missing; the live consumer goes on meanwhile."""
        while True:
            folded = await self._step(db)
            self._told(RebuildProgress("catching up", self._scratch.folded, self._total))
            if folded < NEAR:
                return

    async def _step(self, db: Any) -> int:
        """Folds what the live consumer has dealt with since; says how many events that were."""
        folded = 0
        progress = await self._scratch.progress()
        async for reached, batch in self._topics.between(progress, await self._offsets(db)):
            folded += await self._fold(await applied(self._scratch.pool, self._service, batch), dict(reached))
        if (own := self._own(db)) is not None:
            while batch := await own.behind(self.consumer, self._open.schema):
                now = await self._fold(batch, {})
                if not now:
                    break
                folded += now
        return folded

    async def _level(self, db: Any) -> None:
        """Folds the rest while the live consumer waits, and makes sure that nothing is missing."""
        await self._step(db)
        row = await db.fetchrow(with_names(SQL["missing"], schema=self._open.schema), self.consumer)
        if row is not None:
            if self._read_from_kafka and not self._reread:
                raise _Reread
            raise CannotRebuild(
                f"The live consumer {self.consumer} has dealt with {row['stream']} up to version {row['live']}, but "
                f"only {row['new']} can be read again from {self._open.source}. `verify` says what is missing there; "
                "reconcile it first."
            )

    async def _at_one_point(self, db: Any, act: Callable[[], Awaitable[None]]) -> None:
        """Acts in a transaction in which the live consumer waits with its next batch, and nothing is missing."""
        try:
            async with db.transaction():
                await db.fetch(SQL["stop"], self.consumer)
                await self._level(db)
                await act()
        except _Reread:
            self._reread = True
            await self._scratch.pool.execute(SQL["read_again"], _STORE)
            await self._catch_up(db)
            await self._at_one_point(db, act)

    # ── Comparing and switching ────────────────────────────────────────────────────────────────────────

    async def _compared(self, db: Any) -> dict[str, TableReport]:
        """Both sides' digests at one point: the snapshot is taken while the consumer waits, and read after."""
        self._told(RebuildProgress("comparing", self._scratch.folded, self._total))
        reader = await asyncpg.connect(self._dsn, command_timeout=3600)
        try:
            snapshot = reader.transaction(isolation="repeatable_read", readonly=True)

            async def taken() -> None:
                await self._take_over(self._scratch.pool)
                await snapshot.start()
                await reader.fetchval(SQL["snapshot"])  # it is taken by the first statement

            await self._at_one_point(db, taken)
            now = await digests(reader, self._projection)
            new = await digests(reader, self._projection, self._open.schema)
            await snapshot.rollback()
            return {table: TableReport(*now[table], *new[table]) for table in now}
        finally:
            await reader.close()

    async def _take_over(self, db: Any) -> None:
        if self._projection.carry_over_sql:
            await db.execute(with_names(self._projection.carry_over_sql, new=self._open.schema))

    async def _switched(self, db: Any, report: Report, tables: str) -> None:
        """Fewer than a deadlock's patience it waits for readers, and lets them through before it tries again."""
        loop = asyncio.get_running_loop()
        for number in range(1, LOCK_TRIES + 1):
            self._told(RebuildProgress("switching", self._scratch.folded, self._total))
            await self._catch_up(db)
            begun = loop.time()
            try:
                await self._at_one_point(db, partial(self._swap, db, tables))
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                if number == LOCK_TRIES:
                    raise CannotRebuild(
                        f"Long transactions keep reading the tables of {self.consumer}, so they can't be switched. "
                        "The new ones are ready: run the rebuild again when those have ended."
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
        await self._take_over(db)
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
        """Events of types that were unknown once, and were folded now, wait no longer."""
        known = [name.encode() for name in self._projection.types]
        operation = f"rebuild-{self._open.id}"
        await db.execute(with_names(SQL["unpark"], schema=self._open.schema), self.consumer, known, operation)


def old_schema(rebuild: int) -> str:
    """Where the tables go that rebuild number `rebuild` has replaced."""
    return f"old_{rebuild}"


async def drop_old(dsn: str, rebuild: int) -> None:
    """Drops the tables that a rebuild has replaced. Raises CannotRebuild when there are none."""
    db = await asyncpg.connect(dsn, command_timeout=60)
    try:
        await _drop_old(db, rebuild)
    finally:
        await db.close()


async def _drop_old(db: Any, rebuild: int) -> None:
    async with db.transaction():
        if await db.fetchval(SQL["state"], rebuild) != "switched":
            raise CannotRebuild(
                f"Rebuild {rebuild} keeps no old tables: it has not switched, or they were dropped before."
            )
        await db.execute(with_names(SQL["drop"], schema=old_schema(rebuild)))
        await db.execute(SQL["end"], rebuild, "dropped")
