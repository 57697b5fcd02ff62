"""A service's store made again from its topic, a store that is older than its topic brought up to it, and a topic made
again from its store.

Each can be stopped anywhere and begun again, and done twice changes nothing. While a store is being restored it is
fenced: it takes no commands, so that a process of the service that runs meanwhile can't decide on half of the facts.
The fence is also the record of a try that did not end: who began it, where it stopped and why, how far it came, and
what to do. It can't be an event: that would stand where the topic has its next one.

What a log can't tell is said in `Restored.notes`, whenever something is or would be imported: see `_UNTOLD`, what
reactions had parked, and private tables.
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
from shared.eventlog.repair.chains import OwnRecord
from shared.eventlog.repair.importing import AT_ONCE, Importer, claims_of, put_claims
from shared.eventlog.repair.resuming import fold, resume
from shared.eventlog.repair.topic import Begin, LogMismatch, Merge, ReportProgress, TopicReader, in_order, silent
from shared.eventlog.repair.tries import MENDING, RestoreAttempt, recorded
from shared.eventlog.write.log import Sealer
from shared.eventlog.write.postgres import PostgresStore, open_pool
from shared.eventlog.write.store import Lease, Lookup
from shared.events.envelope import GENESIS
from shared.events.registry import topic_of
from shared.sql import statements

SQL: Final = statements(__file__)

FOLDS_AT_ONCE: Final = 3
LEASE_S: Final = 600.0
OWNER: Final = "restore"
_UNTOLD: Final = (
    "Refusals, and commands that led to no event, are in no topic: sent again, they are decided anew.",
    "What was asked under a command id isn't, either: a repeated id gets its first answer, whatever is asked now.",
    "Events that were not published yet when the database was lost are lost with it.",
)


class RestoreRefused(Exception):
    """It was not done, and must not be. The message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceDefinition:
    """What a restored service consists of. `private` puts right what the log knows of its private tables, and answers
    in sentences what it doesn't know."""

    service: str
    migrations: Path
    streams: Sequence[Stream[Any, Any, Any]]
    projections: Sequence[Projection]
    reactions: Sequence[Reactions]
    sealer: Callable[[Any], Sealer] | None = None
    private: Callable[[Any], Awaitable[Sequence[str]]] | None = None


@dataclass(kw_only=True, slots=True)
class Restored:
    """What was done, or in a dry run would be."""

    service: str
    dry_run: bool
    before: int = 0
    """The store's head, or how far the topic had it, before."""
    events: int = 0
    """Imported from the topic, or published again."""
    head: int = 0
    chain: bytes = GENESIS
    first: datetime | None = None
    last: datetime | None = None
    claims: int = 0
    """Unique names that are held otherwise than before."""
    folded: int = 0
    """Records that projections read."""
    moved: int = 0
    """Checkpoints that were moved."""
    strange: list[str] = field(default_factory=list)
    """Records of the topic that are no events of the service, passed over."""
    earlier: str = ""
    """What an earlier try left behind that did not end."""
    notes: list[str] = field(default_factory=list)
    """What can't be made again, in sentences."""


async def restore_store(
    whole: ServiceDefinition,
    dsn: str,
    access: KafkaAccess,
    *,
    dry_run: bool = True,
    anchor_folder: Path | None = None,
    progress: ReportProgress = silent,
    by: str = "",
) -> Restored:
    """Makes a service's store and read models from its topic; the database may be empty, missing, or half restored.
    Positions, hashes and the chain are the ones that they were. Raises RestoreRefused, Missing or LogMismatch."""
    if not dry_run:
        await migrate(dsn, whole.migrations)
    elif not await _exists(dsn):
        return await _counted(whole, access, progress)
    async with opened(dsn, whole.service) as (store, pool):
        this = RestoreAttempt(whole.service, f"tenure restore store {whole.service}", by)
        return await _restore(whole, store, pool, access, dry_run, anchor_folder, progress, this, wholly=True)


async def reconcile(
    whole: ServiceDefinition,
    dsn: str,
    access: KafkaAccess,
    *,
    dry_run: bool = True,
    anchor_folder: Path | None = None,
    progress: ReportProgress = silent,
    by: str = "",
) -> Restored:
    """Brings a store that is older than its topic up to it: a PostgreSQL that came back from a backup. Consumers go on
    from the backup's checkpoints, reactions from where they are known to have come. Raises Refused where the store went
    a way of its own meanwhile."""
    async with opened(dsn, whole.service) as (store, pool):
        this = RestoreAttempt(whole.service, f"tenure reconcile {whole.service}", by)
        return await _restore(whole, store, pool, access, dry_run, anchor_folder, progress, this, wholly=False)


async def _restore(
    whole: ServiceDefinition,
    store: PostgresStore,
    pool: Any,
    access: KafkaAccess,
    dry_run: bool,
    anchor_folder: Path | None,
    progress: ReportProgress,
    this: RestoreAttempt,
    wholly: bool,
) -> Restored:
    """`wholly`: read the topic from its beginning, and not only what the store may lack."""
    service, topic = whole.service, topic_of(whole.service)
    result = Restored(service=service, dry_run=dry_run, before=await store.position())
    marks = await _all_anchors(service, access, anchor_folder)
    lookup = store.in_store if result.before else None
    async with TopicReader(topic, access) as reader:
        begin = {n: Begin(reader.starts[n], 0) for n in reader.ends}
        if lookup is not None and not wholly:
            begin = {n: await reader.begin_of_unknown(n, service, lookup) for n in reader.ends}
        reading = _Reading(service=service, after=result.before, reader=reader, begin=begin, lookup=lookup)
        if dry_run or result.before:
            result.notes += _lost(marks, await _look(reading, result, progress))
        fence = await pool.fetchval(SQL["fenced"])
        result.earlier = fence.removeprefix(MENDING) if (fence or "").startswith(MENDING) else ""
        if not (result.events or fence or not result.before):
            return await _stands(pool, result)
        result.notes += _UNTOLD
        if dry_run:
            result.notes += _parked_is_lost(whole)
            return await _stands(pool, result)
        async with alone(store, pool, topic) as lease, recorded(this, pool, reader, result.before, progress) as told:
            marked = await _all_anchors(service, access, anchor_folder)
            async with pool.acquire() as db:
                renew = _Renewal(store, f"relay:{topic}", lease)
                position = await _import(Importer(store, db, marked), reading, result, told, renew)
            if not result.before:
                result.notes[:0] = _lost(marks, position)
            await store.advance(f"relay:{topic}", lease, position)
            await _rebuild(whole, store, pool, access, result, told)
    return await _stands(pool, result)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """The topic as it is read, twice if need be, beside a store that ends at `after`."""

    service: str
    after: int
    reader: TopicReader
    begin: Mapping[int, Begin]
    lookup: Lookup | None

    def merge(self) -> Merge:
        published = {n: begin.published for n, begin in self.begin.items()}
        return Merge(self.service, self.after, self.reader.ends, published)

    def events(self, merge: Merge, told: Callable[[int], None] = lambda _: None) -> AsyncIterator[list[OwnRecord]]:
        return in_order(self.reader, merge, {n: begin.offset for n, begin in self.begin.items()}, told, self.lookup)


async def _look(reading: _Reading, result: Restored, progress: ReportProgress) -> int:
    """Read everything that would be imported, and compare what is there with the store. Answers the topic's last
    position. Raises RestoreRefused, Missing or LogMismatch."""
    merge = reading.merge()
    async for found in reading.events(merge, lambda n: progress("looking", n, reading.reader.records)):
        _count(result, found)
    if merge.ambiguous is not None:
        raise LogMismatch(merge.ambiguous)
    result.strange = merge.strange
    if merge.first_difference is not None:
        position, why = merge.first_difference
        own = result.before - position + 1
        raise RestoreRefused(
            f"The store of {result.service} went a way of its own from position {position} on ({why} in the store). "
            f"Its {own} events from there on were decided on facts that were out of date and were never published. "
            "Nothing was changed: export them, restore the store from its topic into an empty database, and decide "
            "about each of them anew."
        )
    return merge.position


def _count(result: Restored, found: Sequence[OwnRecord]) -> None:
    result.events += len(found)
    result.first = result.first or found[0].event.envelope.time
    result.last = found[-1].event.envelope.time


async def _import(
    importer: Importer, reading: _Reading, result: Restored, progress: ReportProgress, renew: "_Renewal"
) -> int:
    """Import what the store lacks; answers the position that was reached. Up to where the store had come, `_look` has
    compared them."""
    goal = result.events or reading.reader.records
    result.events, result.first = 0, None
    merge = reading.merge()
    async for found in reading.events(merge):
        if merge.ambiguous is not None:
            raise LogMismatch(merge.ambiguous)
        for start in range(0, len(found), AT_ONCE):
            part = found[start : start + AT_ONCE]
            await renew()
            await importer.take(part)
            _count(result, part)
            progress("importing", result.events, max(goal, result.events))
    result.strange = merge.strange
    return merge.position


async def _rebuild(
    whole: ServiceDefinition,
    store: PostgresStore,
    pool: Any,
    access: KafkaAccess,
    result: Restored,
    progress: ReportProgress,
) -> None:
    """What follows from the events: names, tables, consumers' places, what is known of private tables."""
    sealer = None if whole.sealer is None else whole.sealer(pool)
    async with pool.acquire() as db:
        held, doubled = await claims_of(db, store, whole.streams, sealer, lambda n: progress("unique names", n, 0))
        result.claims = await put_claims(db, held, await store.position())
    if doubled:
        result.notes.append(f"{len(doubled)} unique names would be held by more than one stream: nobody holds them.")
    turns = asyncio.Semaphore(FOLDS_AT_ONCE)

    async def one(projection: Projection) -> int:
        async with turns:
            return await fold(whole.service, projection, pool, access, progress)

    result.folded = sum(await asyncio.gather(*(one(projection) for projection in whole.projections)))
    for reactions in whole.reactions:
        await _resume(whole.service, reactions, pool, access, result)
    if whole.private is not None:
        result.notes += await whole.private(pool)
    if parked := await pool.fetchval(SQL["parked"]):
        result.notes.append(f"{parked} records are parked: `tenure parked ls` shows them.")


async def _resume(service: str, reactions: Reactions, pool: Any, access: KafkaAccess, result: Restored) -> None:
    name = f"{service}.{reactions.name}"
    if await pool.fetchval(SQL["held"], name):
        result.notes.append(f"{name} has parked streams, so it goes on from its own checkpoint, before them.")
        return
    moved, without = await resume(service, reactions, pool, access)
    result.moved += moved
    if without:
        result.notes.append(
            f"{name} goes on after what it had dealt with. {without:,} events before there have had no effect of it: "
            "they asked for nothing, were refused, or had been parked, and what was parked never has its effect. "
            f"`tenure replay --consumer {name}` gives it stored events once more."
        )


def _parked_is_lost(whole: ServiceDefinition) -> list[str]:
    names = [f"{whole.service}.{reactions.name}" for reactions in whole.reactions]
    if not names:
        return []
    return [
        f"What {' and '.join(names)} had parked, and what waited behind it, is in no topic and never has its effect. "
        "How many events that may be is said when it is done."
    ]


async def _stands(pool: Any, result: Restored) -> Restored:
    head = await pool.fetchrow(SQL["head"])
    result.head, result.chain = head["position"], head["chain"]
    if result.dry_run:
        result.head += result.events
    return result


async def _exists(dsn: str) -> bool:
    """Whether the database is there with the engine's tables."""
    try:
        db = await asyncpg.connect(dsn)
    except asyncpg.InvalidCatalogNameError:
        return False
    try:
        return await db.fetchval(SQL["has_log"]) is not None
    finally:
        await db.close()


async def _counted(whole: ServiceDefinition, access: KafkaAccess, progress: ReportProgress) -> Restored:
    """The dry run where there is no database."""
    service = whole.service
    result = Restored(service=service, dry_run=True)
    async with TopicReader(topic_of(service), access) as reader:
        begin = {n: Begin(offset, 0) for n, offset in reader.starts.items()}
        await _look(_Reading(service=service, after=0, reader=reader, begin=begin, lookup=None), result, progress)
    result.head = result.events
    result.notes += (*_UNTOLD, *_parked_is_lost(whole))
    return result


async def _all_anchors(service: str, access: KafkaAccess, folder: Path | None) -> list[anchors.Anchor]:
    return anchors.from_file(folder, service)[0] + (await anchors.from_topic(access, service))[0]


def _lost(marks: Sequence[anchors.Anchor], top: int) -> list[str]:
    """Whether an anchor says that there was more than the topic has, which ends at `top`."""
    last = max(marks, key=lambda mark: mark.position, default=None)
    if last is None or last.position <= top:
        return []
    return [
        f"An anchor of {last.time} says that position {last.position} existed, the topic ends at {top}: "
        f"{last.position - top} events are lost."
    ]


@asynccontextmanager
async def opened(dsn: str, service: str) -> AsyncIterator[tuple[PostgresStore, Any]]:
    store = await PostgresStore(dsn, service).open()
    pool = await open_pool(dsn, 1, FOLDS_AT_ONCE + 3)
    try:
        yield store, pool
    finally:
        pool.terminate()
        await store.close()


@asynccontextmanager
async def alone(store: PostgresStore, pool: Any, topic: str) -> AsyncIterator[Lease]:
    """With the relay's lease: nothing is published meanwhile, and nobody else restores."""
    name = f"relay:{topic}"
    async with pool.acquire() as db:
        if not await db.fetchval(SQL["alone"]):
            raise RestoreRefused(f"Somebody else is restoring {topic} at this moment: wait for them.")
        try:
            lease = await _patient_lease(store, name)
            yield lease
            await store.release(name, lease)
        finally:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
                await db.fetchval(SQL["done"])


class _Renewal:
    """Keeps the relay's lease through an import, however long that takes. Once everything is imported there is nothing
    that a relay could publish."""

    def __init__(self, store: PostgresStore, name: str, lease: Lease) -> None:
        self._store, self._name, self._lease = store, name, lease
        self._at = asyncio.get_running_loop().time()

    async def __call__(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._at + LEASE_S / 4:
            return
        self._at = now
        found = await self._store.lease(self._name, OWNER, LEASE_S)
        if found is None or found.token != self._lease.token:
            raise RestoreRefused(f"A relay has begun to publish ({self._name}): stop the service's processes first.")


async def _patient_lease(store: PostgresStore, name: str) -> Lease:
    for _ in range(50):
        lease = await store.lease(name, OWNER, LEASE_S)
        if lease is not None:
            return lease
        await asyncio.sleep(0.2)
    raise RestoreRefused(f"A relay is publishing ({name}): stop the service's processes first.")
