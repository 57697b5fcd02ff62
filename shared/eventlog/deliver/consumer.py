"""The consumer core: a batch of records, its effects and its checkpoint.

Both kinds of consumer use the same plan. A projection's folds run in the transaction that moves the checkpoint. A
reaction's commands are each committed by the log under an id made of the event's, so that doing them again after a
crash changes nothing; then the checkpoint moves.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import asyncpg
import structlog
from aiokafka.errors import KafkaError

from shared.eventlog.deliver import duplicates, leaving
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.plan import (
    BatchPlan,
    ConsumerCheckpoint,
    Known,
    ParkedRecord,
    Partition,
    Reason,
    Received,
    Seen,
    park,
    plan,
)
from shared.eventlog.deliver.projection import Connection, Projection, ReactionContext, Reactions
from shared.eventlog.write.log import Answer, KeyReused, Log, Meta, Refused
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Unavailable
from shared.events.envelope import derived_id
from shared.events.registry import topic_of
from shared.sql import Row, statements

logger = structlog.get_logger(__name__)

SQL: Final = statements(__file__)
"""`stand` for whoever will ask again before it notes anything: a lock is a write, and its commit waits for the disk."""

BATCH_RECORDS: Final = 500
"""The most that a consumer is given at once; what a restore takes for unproven goes as far back as that."""
REACTIONS_AT_ONCE: Final = 16

PASSING: Final = (*TRANSIENT, Unavailable, Conflict, KafkaError, duplicates.Unsure)
"""Faults that a later try may not meet. Any other exception of a fold or a reaction is a bug: its event is parked."""


Version: TypeAlias = tuple[str, int]
"""Of a stream."""


def known_of(row: Row) -> Known:
    """What a row of `stored` or `known` says of a version."""
    return Known(row["hash"], row["position"], row["command_id"], row["record"])


async def known_versions(tx: Connection, own: Set[Version], others: Set[Version]) -> dict[Version, Known]:
    """Which of these a service knows: of its own streams by its log, of others' by what was dealt with."""
    known = {}
    for versions, query in ((own, SQL["stored"]), (others, SQL["known"])):
        if versions:
            streams, numbers = zip(*versions, strict=True)
            for row in await tx.fetch(query, list(streams), list(numbers)):
                known[row["stream"], row["version"]] = known_of(row)
    return known


CONFLICTS: Final = (duplicates.Conflicting, KeyReused)
"""An event of this name was dealt with before, and it said something else."""


class Fault(Exception):
    """A passing fault: nothing of the batch happened, try it again later."""


class Observer(Protocol):
    """Told what a consumer did; for metrics. Must not raise or wait."""

    def consumed(self, consumer: str, applied: int, repeats: int) -> None: ...

    def left(self, consumer: str, reason: str) -> None: ...

    def lagging(self, consumer: str, topic: str, partition: int, lag: int) -> None: ...


class _Start(NamedTuple):
    """What a batch begins with: how far this process had come, and where it waits for no gap."""

    reached: Mapping[Partition, int]
    impatient: frozenset[Partition]


class Consumer:
    """One projection or the reactions of a service, over its database."""

    def __init__(
        self,
        service: str,
        what: Projection | Reactions,
        pool: "asyncpg.Pool[asyncpg.Record]",
        commands: Log,
        clocks: Clocks,
        observer: Observer | None = None,
        *,
        has_all: bool = False,
    ) -> None:
        """`has_all`: the store has every event of its topic, though it is fenced; a restore has just seen to that."""
        self._has_all = has_all
        self.name, self.own = f"{service}.{what.name}", topic_of(service)
        self.what = what
        self._pool, self._commands, self._clocks, self._observer = pool, commands, clocks, observer
        self._reached: dict[Partition, int] = {}
        """How far this process knows that it has come. Its transactions don't wait for the disk, and a database may be
        set back under it: where the checkpoint says less, what lies between has to be dealt with again."""

    async def assigned(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The offset dealt with in each of these partitions, -1 for none: from here on they are this consumer's."""
        found = await self._checkpoints(partitions)
        self._reached |= found
        return found

    async def set_back(self, partitions: Sequence[Partition]) -> list[Partition]:
        """Those whose checkpoint says less than this process has dealt with."""
        known = dict(self._reached)
        found = await self._checkpoints(partitions)
        return [partition for partition, offset in found.items() if offset < known.get(partition, -1)]

    async def _checkpoints(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        topics, numbers = [t for t, _ in partitions], [n for _, n in partitions]
        try:
            rows = await self._pool.fetch(SQL["assign"], self.name, topics, numbers)
        except PASSING as fault:
            raise Fault(repr(fault)) from fault
        found = {(row["topic"], row["partition"]): row["offset"] for row in rows}
        if len(found) < len(set(partitions)):
            # Made by another process while this statement waited for it: not in the statement's snapshot.
            raise Fault("another process has just made these checkpoints")
        return found

    async def consume(self, records: Sequence[Received], impatient: Collection[Partition] = ()) -> BatchPlan:
        """Apply a batch and move the checkpoint. Partitions whose checkpoint was set back are passed over until they
        are `assigned` again. In `impatient` ones no gap is waited for. Raises Fault, with nothing done that a
        repetition would double."""
        # As these records were fetched: who is `assigned` meanwhile starts elsewhere.
        start = _Start(dict(self._reached), frozenset(impatient))
        try:
            if isinstance(self.what, Projection):
                done = await self._fold(self.what, records, start)
            else:
                done = await self._react(self.what, records, start)
        except PASSING as fault:
            raise Fault(repr(fault)) from fault
        self._reached |= done.offsets
        if self._observer is not None:
            self._observer.consumed(self.name, len(done.apply), done.repeats)
        self._tell(done.left)
        for gap in done.gaps:
            logger.error("a gap: fetching again", consumer=self.name, gap=gap)
        return done

    def now(self) -> datetime:
        """The real time, as the process has it."""
        return self._clocks.real()

    @property
    def folds(self) -> bool:
        return isinstance(self.what, Projection)

    async def apply(self, tx: Connection, record: Received) -> None:
        """One record's effect, for an operator who resumes what was parked. A fold is in the transaction `tx`; what a
        reaction does is committed by the log, and done again it changes nothing. Raises whatever they raise."""
        if isinstance(self.what, Reactions):
            await self._reaction(self.what, record, await self._noted(tx, record))
        elif record.event is not None and record.envelope is not None:
            await self.what.apply(tx, record.event, record.envelope)

    async def _noted(self, tx: Connection, record: Received) -> Mapping[bytes, bytes]:
        if record.envelope is None or record.event is None or record.sequenced:
            return {}
        return await duplicates.claim(tx, self.name, [record])

    async def answers(self, record: Received) -> list[Answer]:
        """What a reaction to this record would be answered now; nothing is written. Empty for a projection."""
        if isinstance(self.what, Projection) or record.event is None or record.envelope is None:
            return []
        if not record.sequenced and await duplicates.conflicts(self._pool, self.name, record):
            raise duplicates.Conflicting(
                f"{record.envelope.source} has sent {record.envelope.id} before: it said something else"
            )
        reach = ReactionContext(self._pool, self._commands, self._clocks.real(), self._clocks)
        does = await self.what.react(record.event, record.envelope, reach)
        return [await self._commands.dry_run(do.stream, do.key, do.command) for do in does]

    async def _standing(
        self, tx: Connection, records: Sequence[Received], start: _Start, stand: str = SQL["stand"]
    ) -> ConsumerCheckpoint:
        partitions = sorted({(r.raw.topic, r.raw.partition) for r in records})
        streams = sorted({r.envelope.stream for r in records if r.envelope is not None and r.sequenced})
        rows = await tx.fetch(stand, self.name, [t for t, _ in partitions], [n for _, n in partitions])
        offsets = {(r["topic"], r["partition"]): r["offset"] for r in rows}
        for partition in [p for p, offset in offsets.items() if offset < start.reached.get(p, -1)]:
            logger.warning(
                "a checkpoint was set back: what follows it is dealt with again",
                consumer=self.name,
                partition=partition,
                offset=offsets.pop(partition),
                reached=start.reached[partition],
            )
        standing = ConsumerCheckpoint(offsets=offsets, seen={}, own=self.own)
        standing.not_awaited = set(start.impatient) | {(r["topic"], r["partition"]) for r in rows if r["doubtful"]}
        for row in await tx.fetch(SQL["seen"], self.name, streams):
            if row["version"] is not None:
                standing.seen[row["stream"]] = Seen(row["version"], row["hash"])
            if row["held"]:
                (standing.held if row["blocked"] else standing.waiting).add(row["stream"])
        await self._known(tx, records, standing)
        return standing

    async def _known(self, tx: Connection, records: Sequence[Received], standing: ConsumerCheckpoint) -> None:
        """Look up which of these versions the service knows: its own in its log, others' in what was dealt with.
        Raises Fault while the store is fenced and has less than its topic."""
        own, others = set[Version](), set[Version]()
        last = 0
        for record in records:
            if record.envelope is None or record.envelope.version is None:
                continue
            if record.raw.topic == self.own:
                own.add((record.envelope.stream, record.envelope.version))
                last = max(last, record.envelope.position or 0)
            else:
                others.add((record.envelope.stream, record.envelope.version))
        standing.known |= await known_versions(tx, own, others)
        if own:
            (head,) = await tx.fetch(SQL["head"])
            standing.head = head["position"]
            if last > standing.head and head["fenced"] is not None and not self._has_all:
                raise Fault(f"the store has less than its topic, and is fenced: {head['fenced']}")

    async def _note(self, tx: Connection, done: BatchPlan) -> None:
        await leaving.park(tx, self.name, done.left)
        partitions, known = list(done.offsets), sorted(done.known)
        await tx.execute(
            SQL["advance"],
            self.name,
            list(done.seen),
            [seen.version for seen in done.seen.values()],
            [seen.hash for seen in done.seen.values()],
            [seen.tenant for seen in done.seen.values()],
            [t for t, _ in partitions],
            [n for _, n in partitions],
            list(done.offsets.values()),
            [stream for stream, _ in known],
            [version for _, version in known],
            [done.known[each].hash for each in known],
            [done.known[each].record for each in known],
        )

    async def _fold(self, projection: Projection, records: Sequence[Received], start: _Start) -> BatchPlan:
        """All of the batch in one transaction. Should a fold fail, once more with a savepoint around each event, so
        that the one that fails is parked and the others stand."""
        async with self._pool.acquire() as tx:
            for careful in (False, True):
                try:
                    async with tx.transaction():
                        done = plan(records, await self._standing(tx, records, start))
                        await apply_each(done, folding(projection, tx, careful), careful)
                        await self._note(tx, done)
                        return done
                except _Failed as failed:
                    if tx.is_closed() or isinstance(failed.__cause__, PASSING_IN_A_FOLD):
                        raise Fault(repr(failed.__cause__)) from failed
        raise AssertionError("the careful pass parks what fails")

    async def _react(self, reactions: Reactions, records: Sequence[Received], start: _Start) -> BatchPlan:
        async with self._pool.acquire() as tx:
            done = plan(records, await self._standing(tx, records, start, SQL["stand_unlocked"]))
        before = dict(done.offsets), [left.record.raw.offset for left in done.left]
        await self._clocks.fresh(self._pool)
        noted = await duplicates.claim(self._pool, self.name, [each for each in done.apply if not each.sequenced])
        await _side_by_side(done, lambda record: self._reaction(reactions, record, noted))
        failed = [left.record for left in done.left if left.reason == "failed" and not left.record.sequenced]
        async with self._pool.acquire() as tx, tx.transaction():
            again = plan(records, await self._standing(tx, records, start))
            if (again.offsets, [left.record.raw.offset for left in again.left]) != before:
                raise Fault("another member of the group, or an operator, has dealt with this batch meanwhile")
            await duplicates.unclaim(tx, self.name, failed)
            await self._note(tx, done)
        return done

    async def _reaction(self, reactions: Reactions, record: Received, noted: Mapping[bytes, bytes]) -> None:
        envelope, event = record.envelope, record.event
        if envelope is None or event is None:
            return
        asked = duplicates.content_of(record)
        if not record.sequenced and noted.get(duplicates.identity_of(record), asked) != asked:
            raise duplicates.Conflicting(f"{envelope.source} has sent {envelope.id} before, and it said something else")
        reach = ReactionContext(self._pool, self._commands, self._clocks.real(), self._clocks)
        identity = envelope.id if record.sequenced else f"{envelope.source}#{envelope.id}"
        nth: Counter[str] = Counter()
        for do in await reactions.react(event, envelope, reach):
            # By stream, not by place in the answer: what is asked of read models may have changed since a first try,
            # and then the same place is another stream's.
            stream = do.stream.id(do.key)
            meta = Meta(
                derived_id(self.name, identity, stream, str(nth[stream])),
                envelope.actor or envelope.source,
                reach.now,
                envelope.correlation_id or envelope.id,
                envelope.id,
                envelope.traceparent,
                asked,
                derived=True,
            )
            nth[stream] += 1
            answer = await self._commands.execute(do.stream, do.key, do.command, meta)
            if answer.repeated:
                continue
            logger.info(
                "reaction",
                consumer=self.name,
                event_type=envelope.type,
                event_id=envelope.id,
                correlation_id=meta.correlation_id,
                stream=answer.stream,
                **_outcome(answer),
            )

    def _tell(self, left: Sequence[ParkedRecord]) -> None:
        if self._observer is not None:
            for each in left:
                self._observer.left(self.name, each.reason)
        leaving.tell(self.name, left)


def _outcome(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Refused):
        return {"rule": answer.rule, "reason": answer.reason}
    return {"events": [event.id for event in answer.events]}


PASSING_IN_A_FOLD: Final = tuple(fault for fault in PASSING if fault is not asyncpg.InterfaceError)
"""While its connection lives, an InterfaceError is a fold that calls the driver wrongly."""


class _Failed(Exception):
    """A fold or a reaction raised; the cause is what."""


Act: TypeAlias = Callable[[Received], Awaitable[None]]


async def apply_each(done: BatchPlan, act: Act, careful: bool) -> None:
    """Acts on each planned record in order. Careful: one that fails for good is parked with the later ones of its
    stream, and the others go on. Otherwise raises _Failed."""
    await _in_order(done, list(done.apply), act, careful)


async def _side_by_side(done: BatchPlan, act: Act) -> None:
    """Acts on the planned records carefully, on those of a stream in order, on several streams at once: reactions spend
    their time waiting for commits, and what waits together is committed together. Foreign records have no stream: those
    of one partition and key are in order."""
    lines: dict[object, list[Received]] = {}
    for record in done.apply:
        raw, envelope = record.raw, record.envelope
        own = envelope is not None and record.sequenced
        lines.setdefault(envelope.stream if own and envelope else (raw.topic, raw.partition, raw.key), []).append(
            record
        )
    gate = asyncio.Semaphore(REACTIONS_AT_ONCE)

    async def follow(line: list[Received]) -> None:
        async with gate:
            await _in_order(done, line, act, careful=True)

    # All of them end before a fault is raised, so that none is at work when the batch comes again.
    ends = await asyncio.gather(*(follow(line) for line in lines.values()), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    done.left.sort(key=lambda left: (left.record.raw.topic, left.record.raw.partition, left.record.raw.offset))


async def _in_order(done: BatchPlan, waiting: list[Received], act: Act, careful: bool) -> None:
    while waiting:
        record = waiting.pop(0)
        try:
            await act(record)
        except Exception as error:
            if isinstance(error, _Failed):
                raise
            if not careful:
                raise _Failed from error
            if isinstance(error, PASSING):
                raise
            detail = f"{type(error).__name__}: {error}"
            logger.exception("event can't be applied", event_id=record.envelope and record.envelope.id, fault=detail)
            reason: Reason = "conflicting-duplicate" if isinstance(error, CONFLICTS) else "failed"
            waiting = park(done, record, detail, waiting, reason)


def folding(projection: Projection, tx: Connection, careful: bool) -> Callable[[Received], Awaitable[None]]:
    async def fold(record: Received) -> None:
        if record.event is not None and record.envelope is not None:
            await projection.apply(tx, record.event, record.envelope)

    async def guarded(record: Received) -> None:
        try:
            async with tx.transaction():  # a savepoint
                await fold(record)
        except (asyncpg.InterfaceError, *PASSING_IN_A_FOLD) as error:
            if tx.is_closed() or isinstance(error, PASSING_IN_A_FOLD):
                raise _Failed from error
            raise RuntimeError(f"the fold calls the driver wrongly: {error}") from error

    return guarded if careful else fold
