"""Restore of a store from its topic, and reconciliation of an outdated store with it.

Each can be stopped at any point and run again; to run it twice changes nothing. While a store is restored it is fenced:
it takes no commands, so that a process of the service that runs meanwhile can't decide on incomplete facts. The fence's
reason is also the record of an attempt that did not end: who began it, where it stopped and why, how far it came, and
what to do. It can't be an event, because that would take the position of the topic's next event.

`Restored.notes` lists what a log does not contain, whenever something is or would be imported: see `_NOT_IN_TOPIC`, the
records that reactions had parked, and private tables.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import asyncpg

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.migrate import migrate
from shared.eventlog.repair import anchors
from shared.eventlog.repair.ahead import ahead
from shared.eventlog.repair.chains import OwnRecord
from shared.eventlog.repair.collecting import rare_collections
from shared.eventlog.repair.folding import FoldAlong, fold
from shared.eventlog.repair.importing import AT_ONCE, Importer, claims_of, put_claims
from shared.eventlog.repair.resuming import resume
from shared.eventlog.repair.topic import (
    Begin,
    LogMismatch,
    Merge,
    ReportProgress,
    Taken,
    TopicReader,
    in_order,
    silent,
    with_records,
)
from shared.eventlog.repair.tries import MENDING, RestoreAttempt, recorded
from shared.eventlog.write.postgres import PostgresStore, open_pool
from shared.eventlog.write.sealing import Sealer
from shared.eventlog.write.store import Lease, Lookup
from shared.events.envelope import GENESIS
from shared.events.registry import ANSWERING, topic_of
from shared.sql import statements

SQL: Final = statements(__file__)

CONNECTIONS: Final = 6
LEASE_S: Final = 600.0
OWNER: Final = "restore"
_NOT_IN_TOPIC: Final = (
    "Refusals, and commands that led to no event, are in no topic: if they are sent again, they are decided again.",
    "The requests under command ids are in no topic either: a repeated id gets its first answer, whatever it asks now.",
    "Events that were not published yet when the database was lost are lost with it.",
)
_OUTCOMES: Final = (
    "Outcomes of publishers' records are in no log: those that were not published yet are lost, and `GET /events/…` "
    "has later ones only. A record that is processed again is answered again: with the same id if it was accepted, "
    "and as it is decided now if it was refused."
)


class RestoreRefused(Exception):
    """The restore was not done, because it would do damage. The message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceDefinition:
    """The parts of a service that a restore needs."""

    service: str
    migrations: Path
    streams: Sequence[Stream[Any, Any, Any]]
    projections: Sequence[Projection]
    reactions: Sequence[Reactions[Any]]
    sealer: Callable[[Any], Sealer] | None = None
    private: Callable[[Any], Awaitable[Sequence[str]]] | None = None
    """Restores what the log knows of the service's private tables; returns notes on what the log does not know."""


@dataclass(kw_only=True, slots=True)
class Restored:
    """What was done, or would be done in a dry run."""

    service: str
    dry_run: bool
    before: int = 0
    """The store's head before; of a topic's restore, the position up to which the topic was complete."""
    events: int = 0
    """The number of events imported from the topic, or published again."""
    head: int = 0
    chain: bytes = GENESIS
    first: datetime | None = None
    last: datetime | None = None
    claims: int = 0
    """The number of unique names whose holders changed."""
    folded: int = 0
    """The number of records that projections read."""
    moved: int = 0
    """The number of checkpoints that were moved."""
    strange: list[str] = field(default_factory=list)
    """Records of the topic that were skipped because they are no events of the service."""
    earlier: str = ""
    """The record of an earlier attempt that did not end."""
    notes: list[str] = field(default_factory=list)
    """What can't be restored, in sentences."""


async def restore_store(
    definition: ServiceDefinition,
    dsn: str,
    access: KafkaAccess,
    *,
    dry_run: bool = True,
    anchor_folder: Path | None = None,
    progress: ReportProgress = silent,
    by: str = "",
) -> Restored:
    """Restore a service's store and read models from its topic.

    The database may be empty, missing, or partly restored. Positions, hashes and the chain are the same as before.

    Raises:
        RestoreRefused: the store has diverged from the topic, or a relay or another restore is running.
        Missing: the topic lacks an event.
        LogMismatch: the topic is ambiguous, or does not continue the store or match the anchors.
    """
    if not dry_run:
        await migrate(dsn, definition.migrations)
    elif not await _exists(dsn):
        return await _preview_without_database(definition, access, progress)
    async with opened(dsn, definition.service) as (store, pool):
        attempt = RestoreAttempt(definition.service, "restore store", by)
        return await _restore(
            definition, store, pool, access, dry_run, anchor_folder, progress, attempt, from_beginning=True
        )


async def reconcile(
    definition: ServiceDefinition,
    dsn: str,
    access: KafkaAccess,
    *,
    dry_run: bool = True,
    anchor_folder: Path | None = None,
    progress: ReportProgress = silent,
    by: str = "",
) -> Restored:
    """Import what a store lacks from its topic, after PostgreSQL was restored from a backup.

    Projections continue from the backup's checkpoints, reactions from the last point that they are known to have
    processed.

    Raises:
        RestoreRefused: the store has diverged from the topic, or a relay or another restore is running.
        Missing: the topic lacks an event.
        LogMismatch: the topic is ambiguous, or does not continue the store or match the anchors.
    """
    async with opened(dsn, definition.service) as (store, pool):
        attempt = RestoreAttempt(definition.service, "reconcile", by)
        return await _restore(
            definition, store, pool, access, dry_run, anchor_folder, progress, attempt, from_beginning=False
        )


async def _restore(
    definition: ServiceDefinition,
    store: PostgresStore,
    pool: Any,
    access: KafkaAccess,
    dry_run: bool,
    anchor_folder: Path | None,
    progress: ReportProgress,
    attempt: RestoreAttempt,
    from_beginning: bool,
) -> Restored:
    """Import what the store lacks, and derive the rest from the events.

    Args:
        from_beginning: read the topic from its beginning, and not only from where the store may lack events.
    """
    service, topic = definition.service, topic_of(definition.service)
    result = Restored(service=service, dry_run=dry_run, before=await store.position())
    marks = await _read_anchors(service, access, anchor_folder)
    lookup = store.in_store if result.before else None
    async with TopicReader(topic, access) as reader:
        begin = {n: Begin(reader.starts[n], 0) for n in reader.ends}
        if lookup is not None and not from_beginning:
            begin = {n: await reader.begin_of_unknown(n, service, lookup) for n in reader.ends}
        reading = _Reading(service=service, after=result.before, reader=reader, begin=begin, lookup=lookup)
        if dry_run or result.before:
            result.notes += _lost(marks, await _preview(reading, result, progress))
        fence = await pool.fetchval(SQL["fenced"])
        result.earlier = fence.removeprefix(MENDING) if (fence or "").startswith(MENDING) else ""
        if not (result.events or fence or not result.before):
            return await _with_head(pool, result)
        result.notes += _not_in_topic(service)
        if dry_run:
            result.notes += _parked_is_lost(definition)
            return await _with_head(pool, result)
        async with (
            alone(store, pool, topic) as lease,
            recorded(attempt, pool, reader, result.before, progress) as report,
        ):
            marks_now = await _read_anchors(service, access, anchor_folder)
            async with pool.acquire() as db:
                renew = _Renewal(store, f"relay:{topic}", lease)
                async with FoldAlong(service, definition.projections, pool) as along:
                    position = await _import(Importer(store, db, marks_now), along, reading, result, report, renew)
                result.folded = along.folded
            if not result.before:
                result.notes[:0] = _lost(marks, position)
            await store.advance(f"relay:{topic}", lease, position)
            await _derive(definition, store, pool, access, result, report)
    return await _with_head(pool, result)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """A reading of the topic for a store that ends at `after`. It can be repeated."""

    service: str
    after: int
    reader: TopicReader
    begin: Mapping[int, Begin]
    lookup: Lookup | None

    def merge(self) -> Merge:
        published = {n: begin.published for n, begin in self.begin.items()}
        return Merge(self.service, self.after, self.reader.ends, published)

    def events(self, merge: Merge, progress: Callable[[int], None] = lambda _: None) -> AsyncIterator[list[OwnRecord]]:
        return in_order(self.reader, merge, self.offsets, progress, self.lookup)

    def taken(self, merge: Merge, *, keep: bool) -> AsyncIterator[Taken]:
        return with_records(self.reader, merge, self.offsets, lookup=self.lookup, keep=keep)

    @property
    def offsets(self) -> dict[int, int]:
        return {n: begin.offset for n, begin in self.begin.items()}


async def _preview(reading: _Reading, result: Restored, progress: ReportProgress) -> int:
    """Read what would be imported, and compare the rest with the store.

    Returns the topic's last position. Raises RestoreRefused, Missing or LogMismatch.
    """
    merge = reading.merge()
    async for records in reading.events(merge, lambda n: progress("looking", n, reading.reader.records)):
        _count(result, records)
    if merge.ambiguous is not None:
        raise LogMismatch(merge.ambiguous)
    result.strange = merge.strange
    if merge.first_difference is not None:
        position, why = merge.first_difference
        own = result.before - position + 1
        raise RestoreRefused(
            f"The store of {result.service} has diverged from its topic at position {position} ({why} in the store). "
            f"Its {own} events from there on were decided on outdated facts and were never published. Nothing was "
            "changed: export them, restore the store from its topic into an empty database, and decide on each of "
            "them again."
        )
    return merge.position


def _count(result: Restored, records: Sequence[OwnRecord]) -> None:
    result.events += len(records)
    result.first = result.first or records[0].event.envelope.time
    result.last = records[-1].event.envelope.time


async def _import(
    importer: Importer,
    along: FoldAlong,
    reading: _Reading,
    result: Restored,
    progress: ReportProgress,
    renew: "_Renewal",
) -> int:
    """Import what the store lacks, fold what was imported, and return the last position.

    `_preview` has compared the events that the store had.
    """
    goal = result.events or reading.reader.records
    result.events, result.first = 0, None
    merge = reading.merge()
    keep = await along.begin(reading.offsets)
    async for taken in ahead(reading.taken(merge, keep=keep)):
        if merge.ambiguous is not None:
            raise LogMismatch(merge.ambiguous)
        for start in range(0, len(taken.events), AT_ONCE):
            batch = taken.events[start : start + AT_ONCE]
            await renew()
            await importer.take(batch)
            _count(result, batch)
            progress("importing", result.events, max(goal, result.events))
        await along.then(taken)
    result.strange = merge.strange
    return merge.position


async def _derive(
    definition: ServiceDefinition,
    store: PostgresStore,
    pool: Any,
    access: KafkaAccess,
    result: Restored,
    progress: ReportProgress,
) -> None:
    """Derive unique names, read models, checkpoints and private tables from the events."""
    sealer = None if definition.sealer is None else definition.sealer(pool)
    async with pool.acquire() as db:
        held, doubled = await claims_of(db, store, definition.streams, sealer, lambda n: progress("unique names", n, 0))
        result.claims = await put_claims(db, held, await store.position())
    if doubled:
        result.notes.append(f"{len(doubled)} unique names would be held by more than one stream: nobody holds them.")
    result.folded += await fold(definition.service, definition.projections, pool, access, progress)
    for reactions in definition.reactions:
        await _resume(definition.service, reactions, pool, access, result)
    if definition.private is not None:
        result.notes += await definition.private(pool)
    if parked := await pool.fetchval(SQL["parked"]):
        result.notes.append(f"{parked} records are parked: `tenure parked ls` shows them.")


async def _resume(service: str, reactions: Reactions[Any], pool: Any, access: KafkaAccess, result: Restored) -> None:
    name = f"{service}.{reactions.name}"
    if await pool.fetchval(SQL["held"], name):
        result.notes.append(f"{name} has parked streams, so it continues from its own checkpoint, before them.")
        return
    moved, without = await resume(service, reactions, pool, access)
    result.moved += moved
    if without:
        result.notes.append(
            f"{name} continues after what it had processed. {without:,} events before that point had no effect: they "
            "asked for nothing, were refused, or had been parked, and what was parked will never have its effect. "
            f"`tenure replay --consumer {name}` gives it stored events once more."
        )


def _not_in_topic(service: str) -> Sequence[str]:
    return (*_NOT_IN_TOPIC, _OUTCOMES) if service in ANSWERING else _NOT_IN_TOPIC


def _parked_is_lost(definition: ServiceDefinition) -> list[str]:
    names = [f"{definition.service}.{reactions.name}" for reactions in definition.reactions]
    if not names:
        return []
    return [
        f"What {' and '.join(names)} had parked, and what waited behind it, is in no topic and will never have its "
        "effect. The restore reports how many events that may be."
    ]


async def _with_head(pool: Any, result: Restored) -> Restored:
    head = await pool.fetchrow(SQL["head"])
    result.head, result.chain = head["position"], head["chain"]
    if result.dry_run:
        result.head += result.events
    return result


async def _exists(dsn: str) -> bool:
    """Return whether the database exists and has the engine's tables."""
    try:
        db = await asyncpg.connect(dsn)
    except asyncpg.InvalidCatalogNameError:
        return False
    try:
        return await db.fetchval(SQL["has_log"]) is not None
    finally:
        await db.close()


async def _preview_without_database(
    definition: ServiceDefinition, access: KafkaAccess, progress: ReportProgress
) -> Restored:
    """Do the dry run of a restore if there is no database."""
    service = definition.service
    result = Restored(service=service, dry_run=True)
    async with TopicReader(topic_of(service), access) as reader:
        begin = {n: Begin(offset, 0) for n, offset in reader.starts.items()}
        await _preview(_Reading(service=service, after=0, reader=reader, begin=begin, lookup=None), result, progress)
    result.head = result.events
    result.notes += (*_not_in_topic(service), *_parked_is_lost(definition))
    return result


async def _read_anchors(service: str, access: KafkaAccess, folder: Path | None) -> list[anchors.Anchor]:
    return anchors.from_file(folder, service)[0] + (await anchors.from_topic(access, service))[0]


def _lost(marks: Sequence[anchors.Anchor], top: int) -> list[str]:
    """Return a note if an anchor has a higher position than `top`, where the topic ends."""
    last = max(marks, key=lambda mark: mark.position, default=None)
    if last is None or last.position <= top:
        return []
    return [
        f"An anchor of {last.time} shows that position {last.position} existed, but the topic ends at {top}: "
        f"{last.position - top} events are lost."
    ]


@asynccontextmanager
async def opened(dsn: str, service: str) -> AsyncIterator[tuple[PostgresStore, Any]]:
    store = await PostgresStore(dsn, service).open()
    pool = await open_pool(dsn, 1, CONNECTIONS)
    try:
        with rare_collections():
            yield store, pool
    finally:
        pool.terminate()
        await store.close()


@asynccontextmanager
async def alone(store: PostgresStore, pool: Any, topic: str) -> AsyncIterator[Lease]:
    """Hold the relay's lease, so that nothing is published, and exclude other restores.

    Raises RestoreRefused if a relay or another restore is running.
    """
    name = f"relay:{topic}"
    async with pool.acquire() as db:
        if not await db.fetchval(SQL["alone"]):
            raise RestoreRefused(f"Another restore of {topic} is running: wait until it has ended.")
        try:
            lease = await _wait_for_lease(store, name)
            yield lease
            await store.release(name, lease)
        finally:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
                await db.fetchval(SQL["done"])


class _Renewal:
    """Renewal of the relay's lease during an import.

    Once everything is imported, a relay has nothing to publish, and the lease may expire.
    """

    def __init__(self, store: PostgresStore, name: str, lease: Lease) -> None:
        self._store, self._name, self._lease = store, name, lease
        self._at = asyncio.get_running_loop().time()

    async def __call__(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._at + LEASE_S / 4:
            return
        self._at = now
        lease = await self._store.lease(self._name, OWNER, LEASE_S)
        if lease is None or lease.token != self._lease.token:
            raise RestoreRefused(f"A relay has begun to publish ({self._name}): stop the service's processes first.")


async def _wait_for_lease(store: PostgresStore, name: str) -> Lease:
    for _ in range(50):
        lease = await store.lease(name, OWNER, LEASE_S)
        if lease is not None:
            return lease
        await asyncio.sleep(0.2)
    raise RestoreRefused(f"A relay is publishing ({name}): stop the service's processes first.")
