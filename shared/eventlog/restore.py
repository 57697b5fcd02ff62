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

from shared.eventlog import anchors
from shared.eventlog.decision import Stream
from shared.eventlog.importing import AT_ONCE, Importer, claims_of, put_claims
from shared.eventlog.kafka import KafkaAccess
from shared.eventlog.log import Sealer
from shared.eventlog.migrate import migrate
from shared.eventlog.parked import forget
from shared.eventlog.postgres import PostgresStore, connected
from shared.eventlog.projection import Projection, Reactions
from shared.eventlog.relay import Relay
from shared.eventlog.resuming import fold, resume
from shared.eventlog.store import Lease
from shared.eventlog.topic import OVERLAP, Differs, Found, Merge, Progress, TopicReader, in_order, silent
from shared.eventlog.tries import MENDING, Try, recorded
from shared.events.envelope import GENESIS
from shared.events.registry import topic_of

FOLDS_AT_ONCE: Final = 3
LEASE_S: Final = 600.0
BULK_S: Final = 3_600.0
"""How long a query over all events may take."""
_OWNER: Final = "restore"
_UNTOLD: Final = (
    "Refusals, and commands that led to no event, are in no topic: sent again, they are decided anew.",
    "What was asked under a command id isn't, either: a repeated id gets its first answer, whatever is asked now.",
    "Events that were not published yet when the database was lost are lost with it.",
)


class Refused(Exception):
    """It was not done, and must not be. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What a restored service consists of. `private` puts right what the log knows of its private tables, and answers
    in sentences what it doesn't know."""

    service: str
    streams: Sequence[Stream[Any, Any, Any]]
    projections: Sequence[Projection]
    reactions: Sequence[Reactions]
    sealer: Callable[[Any], Sealer] | None = None
    private: Callable[[Any], Awaitable[Sequence[str]]] | None = None


@dataclass(slots=True)
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
    whole: Whole, dsn: str, access: KafkaAccess, *, dry_run: bool = True, anchor_folder: Path | None = None,
    progress: Progress = silent, by: str = "",
) -> Restored:  # fmt: skip
    """Makes a service's store and read models from its topic; the database may be empty, missing, or half restored.
    Positions, hashes and the chain are the ones that they were. Raises Refused, Missing or Differs."""
    if not dry_run:
        await migrate(dsn, whole.service)
    elif not await _exists(dsn):
        return await _counted(whole, access, progress)
    async with _store(dsn, whole.service) as (store, pool):
        this = Try(whole.service, f"tenure restore store {whole.service}", by)
        return await _restore(whole, store, pool, access, dry_run, anchor_folder, progress, this, since=0)


async def reconcile(
    whole: Whole, dsn: str, access: KafkaAccess, *, dry_run: bool = True, anchor_folder: Path | None = None,
    progress: Progress = silent, by: str = "",
) -> Restored:  # fmt: skip
    """Brings a store that is older than its topic up to it: a PostgreSQL that came back from a backup. Consumers go on
    from the backup's checkpoints, reactions from where they are known to have come. Raises Refused where the store went
    a way of its own meanwhile."""
    async with _store(dsn, whole.service) as (store, pool):
        since = max(0, await store.position() - OVERLAP)
        this = Try(whole.service, f"tenure reconcile {whole.service}", by)
        return await _restore(whole, store, pool, access, dry_run, anchor_folder, progress, this, since=since)


async def _restore(
    whole: Whole, store: PostgresStore, pool: Any, access: KafkaAccess, dry_run: bool, anchor_folder: Path | None,
    progress: Progress, this: Try, since: int,
) -> Restored:  # fmt: skip
    service, topic = whole.service, topic_of(whole.service)
    result = Restored(service, dry_run, before=await store.position())
    result.notes += await _anchored(service, access, anchor_folder, result)
    known = [row["hash"] for row in await pool.fetch(
        "select hash from log.events where position > $1 order by position", since, timeout=BULK_S)]  # fmt: skip
    async with TopicReader(topic, access) as reader:
        begin = {n: await reader.offset_before(n, since, service) if since else reader.starts[n] for n in reader.ends}
        if dry_run or known:
            await _look(reader, Merge(service, result.before, reader.ends, known), begin, result, progress)
        fence = await pool.fetchval("select fenced from log.head")
        result.earlier = fence.removeprefix(MENDING) if (fence or "").startswith(MENDING) else ""
        if not (result.events or fence or not known):
            return await _stands(pool, result)
        result.notes += _UNTOLD
        if dry_run:
            result.notes += _parked_is_lost(whole)
            return await _stands(pool, result)
        async with _alone(store, pool, topic) as lease, recorded(this, pool, reader, result.before, progress) as told:
            merge = Merge(service, result.before, reader.ends, known)
            marked = await _all_anchors(service, access, anchor_folder)
            async with pool.acquire() as db:
                renew = _Renewal(store, f"relay:{topic}", lease)
                await _import(Importer(store, db, marked), reader, merge, begin, result, told, renew)
            result.strange = merge.strange
            await store.advance(f"relay:{topic}", lease, merge.position)
            await _rebuild(whole, store, pool, access, result, told)
    return await _stands(pool, result)


async def _look(reader: TopicReader, merge: Merge, begin: dict[int, int], result: Restored, progress: Progress) -> None:
    """Reads everything that would be imported, and compares what is there with the store."""
    async for found in in_order(reader, merge, begin, lambda n: progress("looking", n, reader.records)):
        _count(result, found)
    result.strange = merge.strange
    if merge.first_difference is not None:
        position, why = merge.first_difference
        own = result.before - position + 1
        raise Refused(
            f"The store of {result.service} went a way of its own from position {position} on ({why} in the store). "
            f"Its {own} events from there on were decided on facts that were out of date and were never published. "
            "Nothing was changed: export them, restore the store from its topic into an empty database, and decide "
            "about each of them anew."
        )


def _count(result: Restored, found: Sequence[Found]) -> None:
    result.events += len(found)
    result.first = result.first or found[0].event.of.time
    result.last = found[-1].event.of.time


async def _import(
    importer: Importer, reader: TopicReader, merge: Merge, begin: dict[int, int], result: Restored, progress: Progress,
    renew: "_Renewal",
) -> None:  # fmt: skip
    goal = result.events or reader.records
    result.events, result.first = 0, None
    async for found in in_order(reader, merge, begin):
        if merge.first_difference is not None:
            raise Differs(merge.first_difference[1])
        for start in range(0, len(found), AT_ONCE):
            part = found[start : start + AT_ONCE]
            await renew()
            await importer.take(part)
            _count(result, part)
            progress("importing", result.events, max(goal, result.events))


async def _rebuild(
    whole: Whole, store: PostgresStore, pool: Any, access: KafkaAccess, result: Restored, progress: Progress
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
    if parked := await pool.fetchval("select count(*) from engine.parked"):
        result.notes.append(f"{parked} records are parked: `tenure parked ls` shows them.")


async def _resume(service: str, reactions: Reactions, pool: Any, access: KafkaAccess, result: Restored) -> None:
    name = f"{service}.{reactions.name}"
    if await pool.fetchval("select count(*) from engine.parked where consumer = $1 and holds_stream", name):
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


def _parked_is_lost(whole: Whole) -> list[str]:
    names = [f"{whole.service}.{reactions.name}" for reactions in whole.reactions]
    if not names:
        return []
    return [
        f"What {' and '.join(names)} had parked, and what waited behind it, is in no topic and never has its effect. "
        "How many events that may be is said when it is done."
    ]


async def _stands(pool: Any, result: Restored) -> Restored:
    head = await pool.fetchrow("select position, chain from log.head")
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
        return await db.fetchval("select to_regclass('log.head')") is not None
    finally:
        await db.close()


async def _counted(whole: Whole, access: KafkaAccess, progress: Progress) -> Restored:
    """The dry run where there is no database."""
    service = whole.service
    result = Restored(service, dry_run=True)
    async with TopicReader(topic_of(service), access) as reader:
        await _look(reader, Merge(service, 0, reader.ends), dict(reader.starts), result, progress)
    result.head = result.events
    result.notes += (*_UNTOLD, *_parked_is_lost(whole))
    return result


async def _all_anchors(service: str, access: KafkaAccess, folder: Path | None) -> list[anchors.Anchor]:
    return anchors.from_file(folder, service)[0] + (await anchors.from_topic(access, service))[0]


async def _anchored(service: str, access: KafkaAccess, folder: Path | None, result: Restored) -> list[str]:
    """Whether an anchor says that there was more than the topic has."""
    last = max(await _all_anchors(service, access, folder), key=lambda mark: mark.position, default=None)
    if last is None:
        return []
    async with TopicReader(topic_of(service), access) as reader:
        tops = [await reader.last(n, service) for n in reader.ends]
    top = max([found.position for found in tops if found is not None] + [result.before])
    if last.position <= top:
        return []
    return [
        f"An anchor of {last.time} says that position {last.position} existed, the topic ends at {top}: "
        f"{last.position - top} events are lost."
    ]


@asynccontextmanager
async def _store(dsn: str, service: str) -> AsyncIterator[tuple[PostgresStore, Any]]:
    store = await PostgresStore(dsn, service).open()
    pool = await connected(dsn, 1, FOLDS_AT_ONCE + 3)
    try:
        yield store, pool
    finally:
        pool.terminate()
        await store.close()


@asynccontextmanager
async def _alone(store: PostgresStore, pool: Any, topic: str) -> AsyncIterator[Lease]:
    """With the relay's lease: nothing is published meanwhile, and nobody else restores."""
    name = f"relay:{topic}"
    async with pool.acquire() as db:
        if not await db.fetchval("select pg_try_advisory_lock(hashtext('tenure restore'))"):
            raise Refused(f"Somebody else is restoring {topic} at this moment: wait for them.")
        try:
            lease = await _patient_lease(store, name)
            yield lease
            await store.release(name, lease)
        finally:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
                await db.fetchval("select pg_advisory_unlock(hashtext('tenure restore'))")


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
        found = await self._store.lease(self._name, _OWNER, LEASE_S)
        if found is None or found.token != self._lease.token:
            raise Refused(f"A relay has begun to publish ({self._name}): stop the service's processes first.")


async def _patient_lease(store: PostgresStore, name: str) -> Lease:
    for _ in range(50):
        lease = await store.lease(name, _OWNER, LEASE_S)
        if lease is not None:
            return lease
        await asyncio.sleep(0.2)
    raise Refused(f"A relay is publishing ({name}): stop the service's processes first.")


async def restore_topic(
    service: str, dsn: str, access: KafkaAccess, *, consumers: Mapping[str, str], dry_run: bool = True,
    progress: Progress = silent,
) -> Restored:  # fmt: skip
    """Publishes again what a topic has lost: all of it after Kafka was made anew, or a tail. The records are the same,
    byte for byte. `consumers` are the databases of all services by name: their places in the topic are of no use any
    more, so they read it from its beginning and drop by version what they know. Raises Refused where what the topic
    still has is no beginning of the store."""
    topic = topic_of(service)
    async with _store(dsn, service) as (store, pool):
        result = Restored(service, dry_run)
        hashes = [
            row["hash"] for row in await pool.fetch("select hash from log.events order by position", timeout=BULK_S)
        ]
        result.before = await _prefix(service, topic, access, hashes, progress)
        result.events, result.head = len(hashes) - result.before, len(hashes)
        relayed = await pool.fetchval("select position from engine.leases where name = $1", f"relay:{topic}") or 0
        stale = await _stale(consumers, topic, access, lost=relayed > result.before)
        result.moved = sum(len(places) for places in stale.values())
        if dry_run or not (result.events or stale):
            return await _stands_at(pool, result)
        async with _alone(store, pool, topic) as lease:
            for name, places in stale.items():
                await _forget(consumers[name], places)
            if relayed > result.before:
                await pool.execute(
                    "update engine.leases set position = $2 where name = $1 and token = $3",
                    f"relay:{topic}", result.before, lease.token,
                )  # fmt: skip
            await _publish(store, topic, access, lease, result, progress)
        return await _stands_at(pool, result)


async def _stands_at(pool: Any, result: Restored) -> Restored:
    result.chain = await pool.fetchval("select chain from log.head")
    return result


async def _prefix(service: str, topic: str, access: KafkaAccess, hashes: Sequence[bytes], progress: Progress) -> int:
    """Up to which position the topic has what the store has."""
    async with TopicReader(topic, access) as reader:
        merge, position = Merge(service, 0, reader.ends), 0
        async for found in in_order(
            reader, merge, dict(reader.starts), lambda n: progress("looking", n, reader.records)
        ):
            for one in found:
                if one.position > len(hashes):
                    raise Refused(
                        f"{topic} is ahead of the store, which ends at position {len(hashes)}: `tenure reconcile` "
                        "imports what is missing there."
                    )
                if hashes[one.position - 1] != one.event.of.hash:
                    raise Refused(
                        f"{topic} has another event at position {one.position} than the store. Find out with "
                        "`tenure verify` which of the two is right."
                    )
                position = one.position
    return position


async def _stale(
    consumers: Mapping[str, str], topic: str, access: KafkaAccess, *, lost: bool
) -> dict[str, list[tuple[str, str, int]]]:
    """The checkpoints that are of no use any more, by service: all in the topic if it has `lost` something, and those
    behind the end of any other (a foreign topic was lost, too, and can't be made again)."""
    result: dict[str, list[tuple[str, str, int]]] = {}
    ends: dict[str, dict[int, int]] = {}
    for name, dsn in consumers.items():
        db = await asyncpg.connect(dsn)
        try:
            rows = await db.fetch(
                'select consumer, topic, partition, "offset" from engine.checkpoints where "offset" >= 0'
            )
        finally:
            await db.close()
        for row in rows:
            if row["topic"] not in ends:
                async with TopicReader(row["topic"], access) as reader:
                    ends[row["topic"]] = reader.ends
            beyond = row["offset"] >= ends[row["topic"]].get(row["partition"], 0)
            if (lost and row["topic"] == topic) or (beyond and not row["topic"].endswith(".events.v1")):
                result.setdefault(name, []).append((row["consumer"], row["topic"], row["partition"]))
    return result


async def _forget(dsn: str, places: Sequence[tuple[str, str, int]]) -> None:
    db = await asyncpg.connect(dsn)
    try:
        async with db.transaction():
            await forget(db, places)
    finally:
        await db.close()


class _Told:
    """The relay's progress, passed on."""

    def __init__(self, before: int, head: int, progress: Progress) -> None:
        self._before, self._head, self._progress = before, head, progress

    def relayed(self, position: int, events: int) -> None:  # noqa: ARG002
        self._progress("publishing", position - self._before, self._head - self._before)


async def _publish(
    store: PostgresStore, topic: str, access: KafkaAccess, lease: Lease, result: Restored, progress: Progress
) -> None:
    """By the relay itself, under the lease that is held already."""
    await store.release(f"relay:{topic}", lease)
    relay = Relay(store, topic, access, owner=_OWNER, progress=_Told(result.before, result.head, progress))
    task = asyncio.create_task(relay.run())
    try:
        while (await store._fetch("select position from engine.leases where name = $1", relay.name))[0][
            0
        ] < result.head:
            if relay.alarm:
                raise Refused(f"The relay refuses to publish: {relay.alarm}.")
            await asyncio.sleep(0.05)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
