"""A consumer's place in its partitions: where it goes on, how far behind, why it waits."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog

from shared.eventlog.deliver.applying import Fault
from shared.eventlog.deliver.consumer import Consumer, Observer
from shared.eventlog.deliver.lag import Lags, PartitionLag, Times, times_of
from shared.eventlog.deliver.lane import Lane, Source
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.received import Partition, Received
from shared.eventlog.deliver.records import receive_all
from shared.events.registry import INBOUND, is_inbound

logger = structlog.get_logger(__name__)

STALLED_S: Final = 60.0
WATCHED_S: Final = 20.0
"""The longest time between two checks that count as one after the other: a check takes up to 10 s, a pause 5 s."""
GAP_PATIENCE_S: Final = 3.0
"""How long a missing version is waited for, by fetching its partition again.

A topic never skips an event, so a version that is missing hardly ever comes, and the rest of its partition waits."""
IMPATIENT_S: Final = 600.0
"""How long after that the partition's other gaps are parked at once."""


class Stalled(Exception):
    """A consumer makes no progress, although it has records to process and no error."""


class Portion(NamedTuple):
    """The records of one partition in a batch of the reader.

    Attributes:
        records: The records as a consumer that handles all their types receives them.
        ignored: The records as a consumer that ignores their types receives them.
        types: The types of the records that were decoded.
    """

    records: Sequence[Received]
    ignored: Sequence[Received]
    types: frozenset[str]

    @classmethod
    def of(cls, records: Sequence[Received]) -> "Portion":
        types = frozenset(r.envelope.type for r in records if r.decoded and r.envelope is not None)
        return cls(records, [r.ignored() for r in records] if types else records, types)

    def of_types(self, types: frozenset[str]) -> Sequence[Received]:
        """Return the records as a consumer of these types receives them."""
        if types >= self.types:
            return self.records
        if types.isdisjoint(self.types):
            return self.ignored
        return [
            ignored if r.decoded and r.envelope is not None and r.envelope.type not in types else r
            for r, ignored in zip(self.records, self.ignored, strict=True)
        ]


class Feed:
    """The partitions of one consumer in this process, and its progress in them."""

    def __init__(self, consumer: Consumer, source: Source, observer: Observer | None) -> None:
        self.consumer, self._source, self._observer = consumer, source, observer
        self._types, self._topics = consumer.definition.types, frozenset(consumer.definition.topics)
        self._lane = Lane(self, source)
        self._senders: dict[Partition, Lane] = {}
        """A lane for each publishers' partition of reactions, so that a slow sender delays nobody else."""
        self._faults: dict[Partition, str] = {}
        self._lost: str | None = None
        self._gap_since: dict[Partition, float] = {}
        self._impatient_until: dict[Partition, float] = {}
        self._stands: dict[Partition, tuple[int, float]] = {}
        """The next offset of each partition, and since when it has not changed."""
        self._watched_at = 0.0
        self._lags = Lags()
        self.lag: int | None = None
        """The number of unprocessed records at the last check, or None before the first check."""

    @property
    def name(self) -> str:
        return self.consumer.name

    @property
    def fault(self) -> str | None:
        """Why the consumer waits, or None."""
        return self._lost or "; ".join(dict.fromkeys(self._faults.values())) or None

    @property
    def ready(self) -> bool:
        """Whether the progress was checked and there is no error."""
        return self.lag is not None and self.fault is None

    @property
    def next(self) -> dict[Partition, int]:
        """The next offset to process of each assigned partition."""
        return {partition: offset for lane in self._lanes for partition, offset in lane.next.items()}

    @property
    def _lanes(self) -> Iterator[Lane]:
        yield self._lane
        yield from self._senders.values()

    def _lane_of(self, partition: Partition) -> Lane:
        return self._senders.get(partition, self._lane)

    def reads(self, topic: str) -> bool:
        """Return whether the consumer reads this topic."""
        return topic in self._topics or (INBOUND in self._topics and is_inbound(topic))

    def takes(self, partition: Partition) -> bool:
        """Return whether the consumer takes this partition's records from the reader."""
        return self._lane_of(partition).takes(partition)

    def place(self, partition: Partition, offset: int) -> None:
        """Go on in a partition from this offset."""
        if is_inbound(partition[0]) and not self.consumer.folds and partition not in self._senders:
            self._senders[partition] = Lane(self, self._source)
        self._stands.pop(partition, None)
        self._lane_of(partition).place(partition, offset)

    def revoke(self, partition: Partition) -> None:
        """Give up a partition."""
        self._lane_of(partition).revoke(partition)
        self._stands.pop(partition, None)
        self._faults.pop(partition, None)
        self._gap_since.pop(partition, None)

    def close(self) -> None:
        """End what is being processed."""
        for lane in self._lanes:
            lane.close()

    def offer(self, portions: Mapping[Partition, Portion], times: Times) -> "Offer | None":
        """Take what the consumer needs of the reader's batch.

        Returns:
            The records that can be processed together with those of other consumers. The others are processed apart.
        """
        mine: dict[Lane, list[Received]] = {}
        for partition, portion in portions.items():
            lane = self._lane_of(partition)
            if lane.takes(partition):
                self._lags.fetched(partition, times[partition])
                mine.setdefault(lane, []).extend(lane.offered(partition, portion.of_types(self._types)))
        offer = None
        for lane, records in mine.items():
            if not records:
                continue
            if lane is self._lane and lane.idle and (self.consumer.folds or all(r.event is None for r in records)):
                offer = Offer(self, lane, records, lane.begun(records))
            else:
                lane.add(records)
        return offer

    async def read(self, records: Sequence[Any]) -> Sequence[Received]:
        for partition, marks in times_of(records).items():
            self._lags.fetched(partition, marks)
        return await receive_all(records, self._types, self.consumer.now())

    async def process(self, batch: Sequence[Received]) -> BatchPlan:
        began, error = asyncio.get_running_loop().time(), ""
        try:
            return await self.consumer.consume(batch, self.impatient())
        except Fault as fault:
            error = type(fault.__cause__ or fault).__name__
            raise
        except Exception as bug:
            error = type(bug).__name__
            logger.exception("a consumer failed: it tries again", consumer=self.name)
            raise Fault(repr(bug)) from bug
        finally:
            self.observe(batch, asyncio.get_running_loop().time() - began, error)

    def observe(self, batch: Sequence[Received], took_s: float, error: str = "") -> None:
        """Tell the observer of a batch."""
        if self._observer is not None:
            topics = Counter(record.raw.topic for record in batch)
            self._observer.delivered(self.name, topics)
            self._observer.processed(self.name, topics, took_s, error)

    async def checkpoints(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return await self.consumer.assigned(partitions)

    async def assigned(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Take over partitions. Return the last processed offset of each, or -1.

        This waits until the database tells them.
        """
        pause = 0.1
        while True:
            try:
                offsets = await self.consumer.assigned(partitions)
            except Fault as fault:
                self._lost = str(fault)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 2.0)
            else:
                self._lost = None
                return offsets

    def reports(self, partition: Partition, fault: str | None, *, gap: bool = False) -> None:
        if fault is None:
            self._faults.pop(partition, None)
            self._gap_since.pop(partition, None)
            return
        self._faults[partition] = fault
        if gap:
            self._gap_since.setdefault(partition, asyncio.get_running_loop().time())

    def impatient(self) -> set[Partition]:
        """Return the partitions in which a missing version is not waited for.

        These are the partitions in which one was waited for in vain within the last `IMPATIENT_S` seconds, so that a
        flood of gaps does not cost the wait each time.
        """
        now = asyncio.get_running_loop().time()
        for partition, since in list(self._gap_since.items()):
            if now - since >= GAP_PATIENCE_S:
                self._gap_since.pop(partition)
                self._impatient_until[partition] = now + IMPATIENT_S
                logger.error(
                    "a version is still missing: its stream is parked", consumer=self.name, partition=partition
                )
        self._impatient_until = {p: until for p, until in self._impatient_until.items() if until > now}
        return set(self._impatient_until)

    def has_no_partitions(self, lag: int | None) -> None:
        """Note that other members of the group have all partitions, or that it is not known yet."""
        self.lag = lag
        if lag is not None and self._observer is not None:
            self._observer.lagging(self.name, {})

    async def check_progress(self, before: Mapping[Partition, int], ends: Mapping[Partition, int]) -> None:
        """Compare the progress with the ends of the partitions.

        Args:
            before: The next offsets before the ends were asked for. Later ones may be beyond what Kafka answered then.

        Raises:
            Stalled: A partition makes no progress.
            Fault: The checkpoints cannot be read.
        """
        mine = {partition: offset for partition, offset in self.next.items() if partition in ends}
        lags = self._lags.at(mine, ends, time.time())
        self.lag = sum(lag.records for lag in lags.values())
        if self._observer is not None:
            self._observer.lagging(self.name, lags)
        if mine and (back := await self.consumer.set_back(list(mine))):
            logger.warning("checkpoints were set back", consumer=self.name, partitions=back)
            self.reread_checkpoints(back)
        # Their topic was created again or has lost its last records. New records in them would never be read.
        beyond = [p for p in mine if before.get(p, 0) > ends[p]]
        if beyond and self._lost is None:
            checkpoints = await self.consumer.assigned(beyond)  # They may have been moved.
            moved = [p for p in beyond if checkpoints[p] + 1 != mine[p]]
            self.reread_checkpoints(moved)
            beyond = [p for p in beyond if p not in moved]
        self._lost = None
        if beyond:
            names = ", ".join(f"{topic} [{number}]" for topic, number in beyond)
            self._lost = f"its checkpoint is beyond the end of {names}: run `tenure restore topic`"
            return
        self._watch(mine, lags)

    def reread_checkpoints(self, partitions: Iterable[Partition]) -> None:
        """Go on from the checkpoints of those of these partitions that are assigned."""
        for partition in partitions:
            self._lane_of(partition).reread_checkpoint(partition)

    def _watch(self, mine: Mapping[Partition, int], lags: Mapping[Partition, PartitionLag]) -> None:
        """Raise Stalled if a partition has records to process and no pause, but makes no progress.

        The time of a pause does not count, nor does one in which the progress could not be checked.
        """
        now = asyncio.get_running_loop().time()
        before = self._stands if now - self._watched_at <= WATCHED_S else {}
        self._watched_at = now
        stands = {
            p: before[p]
            if p in before and before[p][0] == offset and lags[p].records and p not in self._lane_of(p).pauses
            else (offset, now)
            for p, offset in mine.items()
        }
        self._stands = stands
        for partition, (_, since) in stands.items():
            if now - since > STALLED_S:
                raise Stalled(
                    f"{self.name} has {lags[partition].records} records to process in {partition[0]} "
                    f"[{partition[1]}] and made no progress for {STALLED_S:.0f} s"
                )


class Offer(NamedTuple):
    """A consumer's records of a batch, which can be processed together with those of others."""

    feed: Feed
    lane: Lane
    records: Sequence[Received]
    begun: Mapping[Partition, int]
