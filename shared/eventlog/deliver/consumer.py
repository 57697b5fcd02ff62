"""The processing of a batch of records: its effects and its checkpoint.

Projections and reactions use the same plan. A projection's folds run in the transaction that moves the checkpoint. A
reaction's commands are committed one by one by the log, and then the checkpoint moves. Their ids are derived from the
event's id, so repeating them after a crash changes nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import asyncpg
import structlog
from aiokafka.errors import KafkaError

from shared.eventlog.deliver import duplicates, leaving
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.lag import PartitionLag
from shared.eventlog.deliver.outcomes import Place, of_dropped, outcome_of, outcomes_of, place_of
from shared.eventlog.deliver.plan import BatchPlan, ConsumerCheckpoint, ParkedRecord, park, plan
from shared.eventlog.deliver.projection import Connection, Projection, ReactionContext, Reactions
from shared.eventlog.deliver.received import Partition, Raw, Reason, Received
from shared.eventlog.deliver.tables import ConsumerTables, PostgresTables, Version
from shared.eventlog.deliver.traced import UNTRACED, BatchSpans, Traced
from shared.eventlog.write.log import Answer, KeyReused, Log, Meta, Refused
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Unavailable
from shared.events.envelope import Envelope, derived_id
from shared.events.registry import is_inbound, topic_of
from shared.tracing import Tracer

logger = structlog.get_logger(__name__)

BATCH_RECORDS: Final = 500
"""The most records in a batch. A restore treats as many records before a checkpoint as possibly unprocessed."""
REACTIONS_AT_ONCE: Final = 16

PASSING: Final = (*TRANSIENT, Unavailable, Conflict, KafkaError, duplicates.Unsure)
"""Temporary errors: the batch is tried again. Any other exception of a fold or a reaction parks its event."""

CONFLICTS: Final = (duplicates.Conflicting, KeyReused)
"""The errors by which an event with the id of another one is recognised."""


class Fault(Exception):
    """A temporary error: the batch has to be tried again later.

    Nothing that a repetition would double has happened.
    """


class Observer(Protocol):
    """A receiver of what consumers do, for metrics. Its methods must not raise or wait."""

    def consumed(self, consumer: str, applied: int, repeats: int) -> None: ...

    def parked(self, consumer: str, reason: str) -> None: ...

    def delivered(self, consumer: str, records: Mapping[str, int]) -> None:
        """Take the number of records that a consumer was given, by topic."""

    def processed(self, consumer: str, topics: Collection[str], seconds: float, error: str) -> None:
        """Take how long a batch of these topics took.

        Args:
            error: The class of the error that it ended with, or "".
        """

    def lagging(self, consumer: str, lags: Mapping[Partition, PartitionLag]) -> None:
        """Take the lag of all partitions that this process reads for a consumer."""


class _BatchStart(NamedTuple):
    """The state of a consumer before a batch.

    Attributes:
        reached: The offset that this process has processed in each partition.
        impatient: The partitions in which a missing version is not waited for.
    """

    reached: Mapping[Partition, int]
    impatient: frozenset[Partition]


class Consumer:
    """A projection or the reactions of a service, with its database."""

    def __init__(
        self,
        service: str,
        definition: Projection | Reactions[Any],
        pool: "asyncpg.Pool[asyncpg.Record]",
        commands: Log,
        clocks: Clocks,
        observer: Observer | None = None,
        *,
        has_all: bool = False,
        moved: Callable[[], None] = lambda: None,
        tables: Callable[[Any], ConsumerTables] = PostgresTables,
        tracer: Tracer | None = None,
    ) -> None:
        """Create a consumer.

        Args:
            has_all: Whether the store has every event of its topic although it is fenced, as at the end of a restore.
            moved: Called after each commit that moved the checkpoint of a stream. It must not raise or wait.
            tables: Makes what the consumer stores its progress in, from a connection of the pool or from the pool.
        """
        self._has_all, self._moved, self._tables, self._tracer = has_all, moved, tables, tracer
        self.name, self.own = f"{service}.{definition.name}", topic_of(service)
        self.definition = definition
        self._pool, self._commands, self._clocks, self._observer = pool, commands, clocks, observer
        self._started = clocks.real()
        self._reached: dict[Partition, int] = {}
        """The offsets that this process has processed.

        Its transactions do not wait for the disk, and a database can be restored from a backup while the process runs.
        If a checkpoint is behind the offset here, the records between the two have to be processed again."""

    async def assigned(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Take over partitions. Return the last processed offset of each, or -1."""
        checkpoints = await self._checkpoints(partitions)
        self._reached |= checkpoints
        return checkpoints

    async def set_back(self, partitions: Sequence[Partition]) -> list[Partition]:
        """Return the partitions whose checkpoint is behind what this process has processed."""
        reached = dict(self._reached)
        checkpoints = await self._checkpoints(partitions)
        return [partition for partition, offset in checkpoints.items() if offset < reached.get(partition, -1)]

    async def _checkpoints(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        try:
            checkpoints = dict(await self._tables(self._pool).assign(self.name, partitions))
        except PASSING as fault:
            raise Fault(repr(fault)) from fault
        if len(checkpoints) < len(set(partitions)):
            # Another process inserted them while this one waited for it.
            raise Fault("another process has just created these checkpoints")
        return checkpoints

    async def consume(self, records: Sequence[Received], impatient: Collection[Partition] = ()) -> BatchPlan:
        """Apply a batch and move the checkpoint.

        Partitions whose checkpoint was set back are skipped until they are `assigned` again.

        Args:
            impatient: The partitions in which a missing version is not waited for.

        Raises:
            Fault: A temporary error. The batch can be repeated.
        """
        # The offsets from before the batch: an `assigned` call in the meantime starts at other offsets.
        start = _BatchStart(dict(self._reached), frozenset(impatient))
        spans = UNTRACED if self._tracer is None else BatchSpans(self._tracer, self.name, self.definition)
        try:
            if isinstance(self.definition, Projection):
                done = await self._fold(self.definition, records, start, spans)
            else:
                done = await self._react(self.definition, records, start, spans)
        except PASSING as fault:
            spans.end(type(fault).__name__)
            raise Fault(repr(fault)) from fault
        spans.end()
        self._reached |= done.offsets
        if done.seen:
            self._moved()
        if self._observer is not None:
            self._observer.consumed(self.name, len(done.apply), done.repeats)
        self._report_parked(done.parked)
        for gap in done.gaps:
            logger.error("a version is missing: its partition is fetched again", consumer=self.name, gap=gap)
        return done

    def now(self) -> datetime:
        """Return the real time."""
        return self._clocks.real()

    @property
    def folds(self) -> bool:
        """Whether the consumer is a projection."""
        return isinstance(self.definition, Projection)

    async def apply(self, tx: Connection, record: Received) -> None:
        """Apply one record, for an operator who resumes parked records.

        A fold runs in the transaction `tx`. A reaction's commands are committed by the log; repeating them changes
        nothing. An exception of the fold or the reaction is not caught.
        """
        if isinstance(self.definition, Reactions):
            answers = await self._reaction(self.definition, record, await self._claim(tx, record), UNTRACED)
            if is_inbound(record.raw.topic):
                await self._tables(tx).answer([outcome_of(record, answers)])
        elif record.event is not None and record.envelope is not None:
            await self.definition.apply(tx, record.event, record.envelope)

    async def gave_up(self, tx: Connection, record: Received) -> None:
        """Note, in the transaction `tx`, that an operator has dropped a parked record."""
        if isinstance(self.definition, Reactions):
            await self._tables(tx).answer(of_dropped(self.definition, record))

    async def _claim(self, tx: Connection, record: Received) -> Mapping[bytes, bytes]:
        if record.envelope is None or record.event is None or record.sequenced:
            return {}
        return await duplicates.claim(self._tables(tx), self.name, [record])

    async def answers(self, record: Received) -> list[Answer]:
        """Return the answers that a reaction to this record would get now, without writing anything.

        A projection has none.
        """
        if isinstance(self.definition, Projection) or record.event is None or record.envelope is None:
            return []
        if not record.sequenced and await duplicates.conflicts(self._tables(self._pool), self.name, record):
            raise duplicates.Conflicting(_conflict(record.envelope))
        context = self._context(self.definition, record)
        dispatches = await self.definition.react(record.event, record.envelope, context)
        return [await self._commands.dry_run(each.stream, each.key, each.command) for each in dispatches]

    async def _read_checkpoint(
        self, tables: ConsumerTables, records: Sequence[Received], start: _BatchStart, *, lock: bool = True
    ) -> ConsumerCheckpoint:
        """Read the consumer's progress as far as these records concern it."""
        partitions = sorted({(r.raw.topic, r.raw.partition) for r in records})
        streams = sorted({r.envelope.stream for r in records if r.envelope is not None and r.sequenced})
        progress = await tables.progress(self.name, partitions, lock=lock)
        offsets = {partition: reached.offset for partition, reached in progress.items()}
        for partition in [p for p, offset in offsets.items() if offset < start.reached.get(p, -1)]:
            logger.warning(
                "a checkpoint was set back: the records after it are processed again",
                consumer=self.name,
                partition=partition,
                offset=offsets.pop(partition),
                reached=start.reached[partition],
            )
        checkpoint = ConsumerCheckpoint(offsets=offsets, seen={}, own=self.own)
        unreadable = {partition for partition, reached in progress.items() if reached.has_unreadable}
        checkpoint.not_awaited = set(start.impatient) | unreadable
        for stream, (seen, held, blocked) in (await tables.streams(self.name, streams)).items():
            if seen is not None:
                checkpoint.seen[stream] = seen
            if held:
                (checkpoint.held if blocked else checkpoint.waiting).add(stream)
        await self._add_known(tables, records, checkpoint)
        return checkpoint

    async def _add_known(
        self, tables: ConsumerTables, records: Sequence[Received], checkpoint: ConsumerCheckpoint
    ) -> None:
        """Look up which of the records' versions the service knows, and add them to the checkpoint.

        Raises:
            Fault: The store is fenced and has fewer events than its topic.
        """
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
        checkpoint.known |= await tables.known(own, others)
        if own:
            head = await tables.head()
            checkpoint.head = head.position
            if last > head.position and head.fenced is not None and not self._has_all:
                raise Fault(f"the store has fewer events than its topic, and is fenced: {head.fenced}")

    async def _note(self, tables: ConsumerTables, done: BatchPlan) -> None:
        """Park the batch's records that cannot be applied, and move the checkpoint."""
        await leaving.park(tables, self.name, done.parked)
        await tables.advance(self.name, done)

    async def _fold(
        self, projection: Projection, records: Sequence[Received], start: _BatchStart, spans: Traced
    ) -> BatchPlan:
        """Fold the batch in one transaction.

        If a fold fails, fold the batch again with a savepoint around each event, so that only the events that fail and
        the later ones of their streams are parked.
        """
        async with self._pool.acquire() as tx:
            tables = self._tables(tx)
            for careful in (False, True):
                try:
                    async with tx.transaction():
                        done = plan(records, await self._read_checkpoint(tables, records, start))
                        await apply_each(done, spans.around(folding(projection, tx, careful)), careful)
                        await self._note(tables, done)
                        return done
                except _Failed as failed:
                    if tx.is_closed() or isinstance(failed.__cause__, PASSING_IN_A_FOLD):
                        raise Fault(repr(failed.__cause__)) from failed
        raise AssertionError("the second pass parks the events that fail")

    async def _react(
        self, reactions: Reactions[Any], records: Sequence[Received], start: _BatchStart, spans: Traced
    ) -> BatchPlan:
        async with self._pool.acquire() as tx:
            done = plan(records, await self._read_checkpoint(self._tables(tx), records, start, lock=False))
        before = dict(done.offsets), [parked.record.raw.offset for parked in done.parked]
        await self._clocks.fresh(self._pool)
        inbound = [each for each in done.apply if not each.sequenced]
        contents = await duplicates.claim(self._tables(self._pool), self.name, inbound)
        answers: dict[Place, Sequence[Answer]] = {}

        async def react(record: Received) -> None:
            answers[place_of(record.raw)] = await self._reaction(reactions, record, contents, spans)

        await _apply_concurrently(done, spans.around(react))
        failed = [each.record for each in done.parked if each.reason == "failed" and not each.record.sequenced]
        async with self._pool.acquire() as tx, tx.transaction():
            tables = self._tables(tx)
            again = plan(records, await self._read_checkpoint(tables, records, start))
            if (again.offsets, [parked.record.raw.offset for parked in again.parked]) != before:
                raise Fault("another member of the group, or an operator, has processed this batch in the meantime")
            await duplicates.unclaim(tables, self.name, failed)
            await tables.answer(outcomes_of(reactions, done, answers))
            await self._note(tables, done)
        return done

    def _context(self, reactions: Reactions[Any], record: Received) -> ReactionContext[Any]:
        arrived = record.raw.arrived
        return ReactionContext(
            lookups=reactions.lookups(self._pool),
            log=self._commands,
            now=self._clocks.real(),
            clocks=self._clocks,
            arrived=None if arrived is None else max(arrived, self._started),
        )

    async def _reaction(
        self, reactions: Reactions[Any], record: Received, contents: Mapping[bytes, bytes], spans: Traced
    ) -> list[Answer]:
        """Run the reaction to a record, execute its commands, and return their answers.

        Args:
            contents: The recorded contents of publishers' events, by identity.
        """
        envelope, event = record.envelope, record.event
        answers: list[Answer] = []
        if envelope is None or event is None:
            return answers
        content = duplicates.content_of(record)
        if not record.sequenced and contents.get(duplicates.identity_of(record), content) != content:
            raise duplicates.Conflicting(_conflict(envelope))
        context = self._context(reactions, record)
        identity = envelope.id if record.sequenced else f"{envelope.source}#{envelope.id}"
        counts: Counter[str] = Counter()
        for dispatch in await reactions.react(event, envelope, context):
            # The id is derived from the number among the stream's commands, not among all: the read models may have
            # changed since an earlier attempt, and then the same number among all would be another stream's.
            stream = dispatch.stream.id(dispatch.key)
            meta = Meta(
                derived_id(self.name, identity, stream, str(counts[stream])),
                envelope.actor or envelope.source,
                context.now,
                envelope.correlation_id or envelope.id,
                envelope.id,
                spans.context_of(record, envelope),
                content,
                derived=True,
            )
            counts[stream] += 1
            answer = await self._commands.execute(dispatch.stream, dispatch.key, dispatch.command, meta)
            answers.append(answer)
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
        return answers

    def _report_parked(self, records: Sequence[ParkedRecord]) -> None:
        if self._observer is not None:
            for parked in records:
                self._observer.parked(self.name, parked.reason)
        leaving.log_parked(self.name, records)


def _conflict(envelope: Envelope) -> str:
    return f"{envelope.source} has sent an event {envelope.id} with another content before"


def _outcome(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Refused):
        return {"rule": answer.rule, "reason": answer.reason}
    return {"events": [event.id for event in answer.events]}


PASSING_IN_A_FOLD: Final = tuple(fault for fault in PASSING if fault is not asyncpg.InterfaceError)
"""The temporary errors of a fold. If the connection is open, an InterfaceError means that the fold has a bug."""


class _Failed(Exception):
    """A fold or a reaction raised an exception, which is the cause of this one."""


Act: TypeAlias = Callable[[Received], Awaitable[object]]


async def apply_each(done: BatchPlan, act: Act, careful: bool) -> None:
    """Apply the records of a plan in order.

    Args:
        act: Apply one record.
        careful: Whether to park a record whose application fails, with the later ones of its stream, and go on.

    Raises:
        _Failed: A record failed, and `careful` is false.
    """
    await _apply_in_order(done, list(done.apply), act, careful)


async def _apply_concurrently(done: BatchPlan, act: Act) -> None:
    """Apply the records of a plan, those of several streams at the same time.

    Reactions spend their time waiting for commits, and commands that wait at the same time are committed together. The
    records of one stream are applied in order, and so are publishers' records of one partition and key. A record that
    fails is parked with the later ones of its stream.
    """
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
            await _apply_in_order(done, line, act, careful=True)

    # All of them end before an error is raised, so that none is still running when the batch is repeated.
    results = await asyncio.gather(*(follow(line) for line in lines.values()), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    done.parked.sort(key=lambda parked: _place(parked.record.raw))


def _place(raw: Raw) -> tuple[str, int, int]:
    return raw.topic, raw.partition, raw.offset


async def _apply_in_order(done: BatchPlan, waiting: list[Received], act: Act, careful: bool) -> None:
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
            logger.exception(
                "an event cannot be applied", event_id=record.envelope and record.envelope.id, fault=detail
            )
            reason: Reason = "conflicting-duplicate" if isinstance(error, CONFLICTS) else "failed"
            waiting = park(done, record, detail, waiting, reason)


def folding(projection: Projection, tx: Connection, careful: bool) -> Act:
    """Return the function that folds a record in the transaction `tx`.

    If `careful`, it sets a savepoint around each fold.
    """

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
            raise RuntimeError(f"the fold uses the database driver incorrectly: {error}") from error

    return guarded if careful else fold
