"""The processing of a batch of records: its effects and its checkpoint.

Projections and reactions use the same plan. A projection's folds run in the transaction that moves the checkpoint. A
reaction's commands are committed one by one by the log, and then the checkpoint moves. Their ids are derived from the
event's id, so repeating them after a crash changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import asyncpg
import structlog

from shared.eventlog.deliver import duplicates, leaving, together
from shared.eventlog.deliver.applying import PASSING, Failed, Fault, Overtaken, apply_concurrently
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.lag import PartitionLag
from shared.eventlog.deliver.outcomes import of_dropped, outcome_of, outcomes_of
from shared.eventlog.deliver.plan import BatchPlan, ParkedRecord, plan
from shared.eventlog.deliver.projection import Connection, Projection, ReactionContext, Reactions
from shared.eventlog.deliver.received import Partition, Place, Received
from shared.eventlog.deliver.tables import ConsumerTables, Lock, PostgresTables
from shared.eventlog.deliver.together import Share
from shared.eventlog.deliver.traced import UNTRACED, BatchSpans, Traced
from shared.eventlog.write.log import Answer, Log, Meta, Refused
from shared.events.envelope import Envelope, derived_id
from shared.events.registry import is_inbound, topic_of
from shared.tracing import Tracer

logger = structlog.get_logger(__name__)

BATCH_RECORDS: Final = 500
"""The most records in a batch. A restore treats as many records before a checkpoint as possibly unprocessed."""


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
        share = self.share(records, impatient)
        try:
            if isinstance(self.definition, Projection):
                done = await self._fold(share)
            else:
                done = await self._react(self.definition, share)
        except Fault as fault:
            share.spans.end(type(fault.__cause__ or fault).__name__)
            raise
        except PASSING as fault:
            share.spans.end(type(fault).__name__)
            raise Fault(repr(fault)) from fault
        self.committed(share, done)
        return done

    def share(self, records: Sequence[Received], impatient: Collection[Partition] = ()) -> Share:
        """Return these records as the consumer's part of a batch."""
        return Share(
            consumer=self.name,
            own=self.own,
            has_all=self._has_all,
            definition=self.definition,
            records=records,
            reached=dict(self._reached),
            impatient=frozenset(impatient),
            spans=UNTRACED if self._tracer is None else BatchSpans(self._tracer, self.name, self.definition),
        )

    def committed(self, share: Share, done: BatchPlan) -> None:
        """Note what a share has reached, after its commit."""
        share.spans.end()
        self._reached |= done.offsets
        if done.seen:
            self._moved()
        if self._observer is not None:
            self._observer.consumed(self.name, len(done.apply), done.repeats)
        self._report_parked(done.parked)
        for gap in done.gaps:
            logger.error("a version is missing: its partition is fetched again", consumer=self.name, gap=gap)

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

    async def _fold(self, share: Share) -> BatchPlan:
        """Fold a share. If a fold fails, fold it again, and park the events that fail."""
        for careful in (False, True):
            try:
                return (await together.fold(self._pool, self._tables, [share], careful=careful))[self.name]
            except Failed as failed:
                if careful:
                    raise Fault(repr(failed.__cause__)) from failed.__cause__
        raise AssertionError("the second pass parks the events that fail")

    async def fold_together(self, shares: Sequence[Share]) -> Mapping[str, BatchPlan]:
        """Fold shares of consumers of this service, of those whose checkpoints are not locked.

        Raises:
            Failed: A fold failed. The exception names its consumer.
            Fault: A temporary error.
        """
        try:
            return await together.fold(self._pool, self._tables, shares, lock="skip")
        except PASSING as fault:
            raise Fault(repr(fault)) from fault

    async def _react(self, reactions: Reactions[Any], share: Share) -> BatchPlan:
        async with self._pool.acquire() as tx:
            done = await self._plan(self._tables(tx), share, "none")
        before = dict(done.offsets), [parked.record.raw.offset for parked in done.parked]
        await self._clocks.fresh(self._pool)
        inbound = [each for each in done.apply if not each.sequenced]
        contents = await duplicates.claim(self._tables(self._pool), self.name, inbound)
        answers: dict[Place, Sequence[Answer]] = {}

        async def react(record: Received) -> None:
            answers[record.raw.place] = await self._reaction(reactions, record, contents, share.spans)

        await apply_concurrently(done, share.spans.around(react))
        failed = [each.record for each in done.parked if each.reason == "failed" and not each.record.sequenced]
        async with self._pool.acquire() as tx, tx.transaction():
            tables = self._tables(tx)
            again = await self._plan(tables, share, "wait")
            if (again.offsets, [parked.record.raw.offset for parked in again.parked]) != before:
                raise Overtaken("another member of the group, or an operator, has processed this batch in the meantime")
            await duplicates.unclaim(tables, self.name, failed)
            await tables.answer(outcomes_of(reactions, done, answers))
            await together.note(tables, {self.name: done})
        return done

    async def _plan(self, tables: ConsumerTables, share: Share, lock: Lock) -> BatchPlan:
        return plan(share.records, (await together.read_checkpoints(tables, [share], lock))[self.name])

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


async def consume_together(shares: Sequence[tuple[Consumer, Share]]) -> Mapping[str, BatchPlan]:
    """Process shares of several consumers in one transaction.

    Those of reactions must have nothing to react to.

    Returns:
        What was decided, by the consumer's name. A consumer that is missing has to `consume` its share by itself: its
        fold failed, or another transaction has locked its checkpoint or what it writes. After another temporary error
        all are missing.
    """
    left = {consumer.name: (consumer, share) for consumer, share in shares}
    while left:
        leader = next(iter(left.values()))[0]
        try:
            done = await leader.fold_together([share for _, share in left.values()])
        except Failed as failed:
            left.pop(failed.consumer)[1].spans.end(type(failed.__cause__).__name__)
        except Fault as fault:
            for _, share in left.values():
                share.spans.end(type(fault.__cause__ or fault).__name__)
            break
        else:
            for name, planned in done.items():
                left[name][0].committed(left[name][1], planned)
            return done
    return {}
