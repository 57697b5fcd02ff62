"""The transaction in which one or several consumers fold a batch and move checkpoints."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from asyncpg import LockNotAvailableError

from shared.eventlog.deliver import leaving
from shared.eventlog.deliver.applying import PASSING_IN_A_FOLD, Failed, Fault, apply_each, folding
from shared.eventlog.deliver.bundles import Bundles
from shared.eventlog.deliver.plan import BatchPlan, ConsumerCheckpoint, plan, plan_alike
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.deliver.received import Partition, Received
from shared.eventlog.deliver.tables import Asked, ConsumerTables, Facts, Lock, Version
from shared.eventlog.deliver.traced import Traced

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A consumer's part of a batch, with its state before the batch.

    Attributes:
        own: The topic of the consumer's service.
        has_all: Whether the store has every event of its topic although it is fenced, as at the end of a restore.
        reached: The offset that this process has processed in each partition. An `assigned` call in the meantime
            starts at other offsets.
        impatient: The partitions in which a missing version is not waited for.
    """

    consumer: str
    own: str
    has_all: bool
    definition: Projection | Reactions[Any]
    records: Sequence[Received]
    reached: Mapping[Partition, int]
    impatient: frozenset[Partition]
    spans: Traced

    @property
    def partitions(self) -> Collection[Partition]:
        """The partitions of the records, in the order of their topics and numbers."""
        return sorted({(r.raw.topic, r.raw.partition) for r in self.records})

    @property
    def streams(self) -> Collection[str]:
        """The streams of the records."""
        return sorted({r.envelope.stream for r in self.records if r.envelope is not None and r.sequenced})


async def fold(
    pool: Any,
    tables: Callable[[Any], ConsumerTables],
    shares: Sequence[Share],
    *,
    lock: Lock = "wait",
    careful: bool = False,
) -> dict[str, BatchPlan]:
    """Fold the shares, and move the checkpoints of their consumers, in one transaction.

    Shares of reactions must have nothing to react to.

    Args:
        lock: With "skip", a consumer whose checkpoints another transaction has locked does not take part, and a fold
            that has to wait for a lock fails after 250 ms.
        careful: Whether to fold each event behind a savepoint, so that only the events that fail and the later ones of
            their streams are parked.

    Returns:
        What was decided, by the name of the consumer that took part.

    Raises:
        Failed: A fold failed, and `careful` is false. It names the consumer.
        Fault: A temporary error.
    """
    async with pool.acquire() as tx, tx.transaction():
        progress = tables(tx)
        checkpoints = await read_checkpoints(progress, shares, lock)
        done: dict[str, BatchPlan] = {}
        before: tuple[Share, BatchPlan] | None = None
        for share in shares:
            checkpoint = checkpoints[share.consumer]
            if lock == "skip" and not checkpoint.offsets.keys() >= set(share.partitions):
                continue
            planned = None
            if before is not None and checkpoints[before[0].consumer] == checkpoint:
                planned = plan_alike(share.records, before[0].records, before[1])
            if planned is None:
                planned = plan(share.records, checkpoint)
                before = share, planned
            done[share.consumer] = planned
            if isinstance(share.definition, Projection):
                try:
                    await _apply(share, share.definition, planned, tx, careful)
                except Failed as failed:
                    failed.consumer = share.consumer
                    blocked = lock == "skip" and isinstance(failed.__cause__, LockNotAvailableError)
                    if not blocked and (tx.is_closed() or isinstance(failed.__cause__, PASSING_IN_A_FOLD)):
                        raise Fault(repr(failed.__cause__)) from failed.__cause__
                    raise
        await note(progress, done)
    return done


async def _apply(share: Share, projection: Projection, planned: BatchPlan, tx: Any, careful: bool) -> None:
    in_bulk = projection.in_bulk if share.has_all else {}  # what it sends last is worth it for many events only
    bundles = Bundles(tx, str, in_bulk) if len(planned.apply) > 1 and not careful else None
    await apply_each(planned, share.spans.around(folding(projection, tx, careful, bundles)), careful)
    if bundles is not None:
        try:
            await bundles.send()
        except Exception as error:
            raise Failed from error


async def note(tables: ConsumerTables, done: Mapping[str, BatchPlan]) -> None:
    """Park each consumer's records that cannot be applied, and move the checkpoints."""
    for consumer, planned in done.items():
        await leaving.park(tables, consumer, planned.parked)
    await tables.advance(done)


async def read_checkpoints(
    tables: ConsumerTables, shares: Sequence[Share], lock: Lock
) -> dict[str, ConsumerCheckpoint]:
    """Read each consumer's progress as far as its share concerns it.

    Partitions whose checkpoint was set back are left out.

    Raises:
        Fault: The store is fenced and has fewer events than its topic.
    """
    facts = await _facts(tables, shares, lock)
    return {share.consumer: _checkpoint(share, facts) for share in shares}


def _checkpoint(share: Share, facts: Facts) -> ConsumerCheckpoint:
    progress = facts.partitions[share.consumer]
    offsets = {partition: reached.offset for partition, reached in progress.items()}
    for partition in [p for p, offset in offsets.items() if offset < share.reached.get(p, -1)]:
        logger.warning(
            "a checkpoint was set back: the records after it are processed again",
            consumer=share.consumer,
            partition=partition,
            offset=offsets.pop(partition),
            reached=share.reached[partition],
        )
    checkpoint = ConsumerCheckpoint(
        offsets=offsets, seen={}, known=facts.known, own=share.own, head=facts.head.position
    )
    unreadable = {partition for partition, reached in progress.items() if reached.has_unreadable}
    checkpoint.not_awaited = {*share.impatient, *unreadable}
    for stream, (seen, held, blocked) in facts.streams[share.consumer].items():
        if seen is not None:
            checkpoint.seen[stream] = seen
        if held:
            (checkpoint.held if blocked else checkpoint.waiting).add(stream)
    return checkpoint


async def _facts(tables: ConsumerTables, shares: Sequence[Share], lock: Lock) -> Facts:
    """Lock the shares' checkpoints, and read what the shares are judged by.

    Raises:
        Fault: The store is fenced and has fewer events than its topic.
    """
    own, others = set[Version](), set[Version]()
    last, unfenced = 0, True
    for share in shares:
        for record in share.records:
            envelope = record.envelope
            if envelope is None or envelope.version is None:
                continue
            if record.raw.topic == share.own:
                own.add((envelope.stream, envelope.version))
                last = max(last, envelope.position or 0)
                unfenced = unfenced and share.has_all
            else:
                others.add((envelope.stream, envelope.version))
    asked = {share.consumer: Asked(share.partitions, share.streams) for share in shares}
    facts = await tables.facts(asked, own, others, lock=lock)
    if last > facts.head.position and facts.head.fenced is not None and not unfenced:
        raise Fault(f"the store has fewer events than its topic, and is fenced: {facts.head.fenced}")
    return facts
