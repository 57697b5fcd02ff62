"""Readers of a whole topic, which yield its events in the store's order without repeats.

The relay publishes in the order of positions, and after a failure starts again at most READ_EVENTS events earlier. The
sends of a relay that lost its lease while Kafka was slow may still arrive, at any point of its successor's progress: a
block of at most READ_EVENTS repeats. So within a partition the first records of events are in the order of positions,
and the store's order is a merge of the partitions. How far a partition has come at an offset is certain only from more
records before it than a block of repeats has. Records that are no events (`chains`) may be anywhere between.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, UnknownTopicOrPartitionError

from shared.eventlog.deliver.connecting import start_reading, stop_reading
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import Raw
from shared.eventlog.deliver.records import raw_of
from shared.eventlog.deliver.relay import READ_EVENTS
from shared.eventlog.repair.chains import Chains, OwnRecord, gap_between, location, own_record
from shared.eventlog.write.store import NOT_STORED, InStore, Lookup
from shared.events.envelope import Unreadable

ReportProgress = Callable[[str, int, int], None]
"""Called with the name of a step, how much of it is done, and the total (0: unknown). Must not raise or wait."""

LOOK_BACK: Final = 2 * READ_EVENTS
"""How many records determine how far a partition has come: more than a block of repeats has."""
FETCHED: Final = 2_000
"""How many records are read at once."""
_PRINT: Final = 8

ReadRecord: TypeAlias = tuple[Raw, OwnRecord | None]
"""A record, and as the service's own event if it is intact."""


def silent(_step: str, _done: int, _total: int) -> None:
    """Ignore the progress."""


class Missing(Exception):
    """An event that the log must contain is missing. The message says where."""


class LogMismatch(Exception):
    """The topic and the store have different events at one position. The message says where."""


class Begin(NamedTuple):
    """The offset at which to begin to read a partition."""

    offset: int
    published: int
    """The position up to which the partition's events are known to be there or before the offset."""


async def ends_of(topic: str, access: KafkaAccess, patience_s: float) -> dict[int, int]:
    """Return the end of each partition of a topic, without reading its records.

    Raises KafkaError: UnknownTopicOrPartitionError if the topic does not exist within `patience_s`.
    """
    kafka = AIOKafkaConsumer(
        topic,
        **access.client(),
        enable_auto_commit=False,
        auto_offset_reset="latest",  # so that nothing is fetched meanwhile
        request_timeout_ms=int(patience_s * 1000),
    )
    try:
        try:
            await start_reading(kafka)
        except UnknownTopicOrPartitionError:
            if topic in await kafka.topics():  # its answer came late
                raise KafkaTimeoutError(f"nothing was learned of {topic} within {patience_s} s") from None
            raise
        return {p.partition: end for p, end in (await kafka.end_offsets(list(kafka.assignment()))).items()}
    finally:
        await stop_reading(kafka)


class TopicReader:
    """Reader of a topic, up to its ends at the time it was opened.

    It reads without a consumer group, so it affects no other consumer.
    """

    def __init__(self, topic: str, access: KafkaAccess) -> None:
        self.topic = topic
        self._kafka = AIOKafkaConsumer(
            topic,
            **access.client(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 * 1024 * 1024,
            fetch_max_wait_ms=100,
        )
        self.starts: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self._next: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        """Connect. Raises KafkaError if Kafka can't be reached or the topic does not exist."""
        try:
            await start_reading(self._kafka)
            partitions = sorted(self._kafka.assignment())
            if not partitions:
                raise UnknownTopicOrPartitionError(
                    f"there is no topic {self.topic}: `python -m deploy.topics` creates it"
                )
            self.starts = {p.partition: o for p, o in (await self._kafka.beginning_offsets(partitions)).items()}
            self.ends = {p.partition: o for p, o in (await self._kafka.end_offsets(partitions)).items()}
        except BaseException:
            await stop_reading(self._kafka)
            raise
        return self

    async def __aexit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None
    ) -> None:
        await stop_reading(self._kafka)

    @property
    def records(self) -> int:
        return sum(self.ends.values()) - sum(self.starts.values())

    async def topics(self) -> Set[str]:
        """Return the existing topics that this user may see."""
        names: Set[str] = await self._kafka.topics()
        return names

    async def read(self, partitions: Iterable[int], at: dict[int, int], limit: int = FETCHED) -> dict[int, list[Raw]]:
        """Read the next records of these partitions, of at least one of them.

        Partitions that were read to their ends are skipped; the result is empty if all of them were.

        Args:
            at: each partition's next offset, which is advanced past what was read.
        """
        pending = [n for n in partitions if at[n] < self.ends[n]]
        if not pending:
            return {}
        for n in pending:
            if self._next.get(n) != at[n]:  # only if needed, because a seek discards what was prefetched
                self._kafka.seek(TopicPartition(self.topic, n), at[n])
        while True:
            tps = [TopicPartition(self.topic, n) for n in pending]
            batches = await self._kafka.getmany(*tps, timeout_ms=1_000, max_records=limit)
            result: dict[int, list[Raw]] = {}
            for tp, records in batches.items():
                raws = [raw_of(r) for r in records if at[tp.partition] <= r.offset < self.ends[tp.partition]]
                result[tp.partition] = raws
                self._next[tp.partition] = records[-1].offset + 1
                at[tp.partition] = min(records[-1].offset + 1, self.ends[tp.partition])
            if result:
                return result

    async def tail(self, partition: int, service: str, look_back: int = LOOK_BACK) -> list[OwnRecord]:
        """Read the intact ones of the partition's last records, or earlier ones if none is."""
        end, start = self.ends[partition], self.starts[partition]
        while end > start:
            begin = max(start, end - look_back)
            if records := await self._window(partition, begin, end, service):
                return records
            end, look_back = begin, 4 * look_back
        return []

    async def begin_of_unknown(self, partition: int, service: str, lookup: Lookup) -> Begin:
        """Find an offset such that every event that the store does not hold is at it or after it.

        These are the events that the topic is ahead by, and those where store and topic diverged.

        Among more than READ_EVENTS records that the store holds, by their hashes, at least one is no late repeat. When
        that one was published, the topic had nothing yet that the store lacks: all of that comes after it. So only
        records that the store holds count. A record with a forged position is not what the store holds there, and can
        only make the reading begin earlier. (A record that a forger copied byte for byte is like a repeat: to make the
        reading begin too late takes READ_EVENTS of them among LOOK_BACK records.)
        """
        start, end, step = self.starts[partition], self.ends[partition], 2 * LOOK_BACK
        while True:
            begin = max(start, end - LOOK_BACK)
            if begin == start:
                return Begin(start, 0)
            records = await self._window(partition, begin, end, service)
            stored = await lookup([record.event for record in records])
            own = [
                record.position
                for record, held in zip(records, stored, strict=True)
                if held.hash == record.event.envelope.hash
            ]
            if len(own) > READ_EVENTS:
                return Begin(begin, sorted(own, reverse=True)[READ_EVENTS])
            end, step = self.ends[partition] - step, 4 * step

    async def _window(self, partition: int, begin: int, end: int, service: str) -> list[OwnRecord]:
        return [record async for batch in self.own_records(partition, begin, end, service) for record in batch]

    async def own_records(self, partition: int, begin: int, end: int, service: str) -> AsyncIterator[list[OwnRecord]]:
        """Yield the intact records of a partition from offset `begin` to before `end`, in batches."""
        at = {partition: begin}
        while at[partition] < end:
            batch: list[OwnRecord] = []
            for raw in (await self.read([partition], at))[partition]:
                if raw.offset < end:
                    with suppress(Unreadable):  # it is no event of the service
                        batch.append(own_record(raw, service, len(self.ends)))
            yield batch


class Merge:
    """Merge of the partitions' records into the store's order, after position `after`. Pure.

    Up to `after` the records are compared with what the store holds. A record that is no event of the log, as `chains`
    defines it, is skipped and listed. A record is checked once it is the first in its partition's queue, because
    everything that it may continue was taken by then.
    """

    def __init__(
        self, service: str, after: int, partitions: Collection[int], published: Mapping[int, int] | None = None
    ) -> None:
        """Start a merge.

        Args:
            published: see `Chains`; None if the partitions are read from their beginnings.
        """
        self._service, self._partitions = service, len(partitions)
        self._chains = Chains(published)
        self.position = self.after = after
        self._prints = bytearray()
        self._waiting: dict[int, deque[tuple[OwnRecord, InStore]]] = {n: deque() for n in partitions}
        self._ended: set[int] = set()
        self.there = bytearray(after + 1)
        """For each position up to `after`, 1 if the store's event is among the records read."""
        self.strange: list[str] = []
        """Records that are no events of the log, with their locations and the reasons."""
        self._differences: dict[int, str] = {}

    @property
    def first_difference(self) -> tuple[int, str] | None:
        """The lowest position at which the topic has only another event than the store, and why."""
        return min(self._differences.items(), default=None)

    @property
    def ambiguous(self) -> str | None:
        """Why the order is ambiguous: two events of the topic have one position. None if it is not."""
        position = max(self._differences, default=0)
        return self._differences[position] if position > self.after else None

    def needed(self) -> list[int]:
        """Return the partitions whose next records are needed to continue."""
        return [n for n, queue in self._waiting.items() if not queue and n not in self._ended]

    def read(self, raws: Iterable[Raw]) -> list[ReadRecord]:
        """Read the records. Those that are not intact are listed in `strange`."""
        result: list[ReadRecord] = []
        for raw in raws:
            try:
                result.append((raw, own_record(raw, self._service, self._partitions)))
            except Unreadable as why:
                self.strange.append(f"{location(raw)}: {why}")
                result.append((raw, None))
        return result

    def feed(self, partition: int, records: Sequence[OwnRecord], stored: Sequence[InStore] = ()) -> None:
        """Add a partition's next records, with what the store holds for each if there is a store."""
        self._waiting[partition] += zip(records, stored or [NOT_STORED] * len(records), strict=True)

    def waits_at(self, partition: int) -> float:
        """Return the offset of the first record of a partition that waits; infinity if none does."""
        queue = self._waiting[partition]
        return queue[0][0].raw.offset if queue else inf

    def end(self, partition: int) -> None:
        """Note that this partition has no more records."""
        self._ended.add(partition)

    def ready(self) -> list[OwnRecord]:
        """Return the next events in order. Raises Missing if the next one is in no partition."""
        result: list[OwnRecord] = []
        while True:
            taken = [record for queue in self._waiting.values() for record in self._take(queue)]
            if taken:
                result += taken
                continue
            if result or self.needed() or not any(self._waiting.values()):
                return result
            nearest = min((queue[0][0] for queue in self._waiting.values() if queue), key=lambda r: r.position)
            raise Missing(gap_between(nearest, self.position))

    def _take(self, queue: deque[tuple[OwnRecord, InStore]]) -> list[OwnRecord]:
        """Take the next events from a partition's queue, and skip repeats and non-events."""
        taken: list[OwnRecord] = []
        while queue:
            record, stored = queue[0]
            if not self._is_repeat(record):
                if not self._chains.accepts(record, stored):
                    envelope = record.event.envelope
                    event = f"position {record.position} ({envelope.stream} version {envelope.version})"
                    self.strange.append(f"{location(record.raw)}: {event} does not continue its stream: it is no event")
                    queue.popleft()
                    continue
                if record.position > self.position + 1:
                    break
                self._chains.note(record)
                if record.position == self.position + 1:
                    self.position += 1
                    self._prints += record.event.envelope.hash[:_PRINT]
                    taken.append(record)
                else:
                    self._compare(record, stored)
            queue.popleft()
        return taken

    def _is_repeat(self, record: OwnRecord) -> bool:
        """Return whether this event was taken before."""
        at = (record.position - self.after - 1) * _PRINT
        return at >= 0 and self._prints[at : at + _PRINT] == record.event.envelope.hash[:_PRINT]

    def _compare(self, record: OwnRecord, stored: InStore) -> None:
        """Compare an event with the stored one, or with the one taken before, at its position."""
        position = record.position
        if stored.hash == record.event.envelope.hash:
            self.there[position] = 1
            self._differences.pop(position, None)
        elif position > self.after or not self.there[position]:
            self._differences.setdefault(
                position, f"position {position}: the event at {location(record.raw)} is another one"
            )


class Taken(NamedTuple):
    """The next events in the store's order.

    Attributes:
        records: All records that were read up to these events, in each partition's order: also repeats, and records
            that are no events.
    """

    events: list[OwnRecord]
    records: list[ReadRecord]


async def in_order(
    reader: TopicReader,
    merge: Merge,
    begin: dict[int, int],
    progress: Callable[[int], None] = lambda _: None,
    lookup: Lookup | None = None,
) -> AsyncIterator[list[OwnRecord]]:
    """Yield the topic's events in the store's order, in batches.

    Args:
        begin: the offset at which to begin, by partition.
        progress: called with the number of records read so far.
        lookup: reads what the store holds; None if it is empty.
    """
    async for taken in with_records(reader, merge, begin, progress, lookup, keep=False):
        yield taken.events


async def with_records(
    reader: TopicReader,
    merge: Merge,
    begin: dict[int, int],
    progress: Callable[[int], None] = lambda _: None,
    lookup: Lookup | None = None,
    *,
    keep: bool = True,
) -> AsyncIterator[Taken]:
    """Yield the same with all records up to the events. Those after the last event are missing.

    Args:
        keep: whether to yield the records. Then there may be records without events.
    """
    at, total = dict(begin), 0
    held: dict[int, deque[ReadRecord]] = {n: deque() for n in begin}
    passed: list[ReadRecord] = []
    while True:
        for n in merge.needed():
            if at[n] >= reader.ends[n]:
                merge.end(n)
        needed = merge.needed()
        if needed:
            for n, raws in (await reader.read(needed, at, FETCHED)).items():
                read = merge.read(raws)
                records = [record for _, record in read if record is not None]
                stored = await lookup([record.event for record in records]) if lookup and records else ()
                merge.feed(n, records, stored)
                if keep:
                    held[n] += read
                total += len(raws)
            progress(total)
        events = merge.ready()
        for n, waiting in held.items():
            end = merge.waits_at(n)
            while waiting and waiting[0][0].offset < end:
                passed.append(waiting.popleft())
        if events or len(passed) >= FETCHED:
            yield Taken(events, passed)
            passed = []
        elif not merge.needed():
            return
