"""Reading a service's topic as a whole: its events in the store's order, out of partitions that may repeat.

The relay publishes in the order of positions, and after a failure goes back by at most READ_EVENTS of them. One that
lost its lease while Kafka was slow may still get in what it had sent, wherever its heir stands by then: a block of at
most READ_EVENTS repeats. So within a partition no event's first record comes after that of a later one, the store's
order is a merge of the partitions, and how far a partition is at an offset is said by more records before it than a
block of repeats has. Records that are no events (`chains`) may lie anywhere between.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.plan import Raw
from shared.eventlog.deliver.records import raw_of
from shared.eventlog.deliver.relay import READ_EVENTS
from shared.eventlog.repair.chains import Chains, OwnRecord, gap_between, location, own_record
from shared.eventlog.write.store import NOT_STORED, InStore, Lookup
from shared.events.envelope import Unreadable

ReportProgress = Callable[[str, int, int], None]
"""Told of a step by name, how much of it is done, and of how much (0: not known). Must not raise or wait."""

LOOK_BACK: Final = 2 * READ_EVENTS
"""So many records tell how far a partition is: more than a block of repeats has."""
FETCHED: Final = 2_000
_PRINT: Final = 8


def silent(_step: str, _done: int, _envelope: int) -> None:
    """A Progress that nobody listens to."""


class Missing(Exception):
    """An event is not where the log says that it must be. The message names the place."""


class LogMismatch(Exception):
    """What lies in the topic is not what the store holds at the same position. The message names the place."""


class Begin(NamedTuple):
    """Where a reading of a partition begins, and up to which position its events are known to be published there."""

    offset: int
    published: int


class TopicReader:
    """A topic as of its ends when it was opened. Reads without a group, so nobody else notices."""

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
        """Raises KafkaError when Kafka can't be reached or there is no such topic."""
        try:
            await self._kafka.start()
            partitions = sorted(self._kafka.assignment())
            if not partitions:
                raise UnknownTopicOrPartitionError(
                    f"there is no topic {self.topic}: `python -m deploy.topics` makes it"
                )
            self.starts = {p.partition: o for p, o in (await self._kafka.beginning_offsets(partitions)).items()}
            self.ends = {p.partition: o for p, o in (await self._kafka.end_offsets(partitions)).items()}
        except BaseException:
            await self._kafka.stop()
            raise
        return self

    async def __aexit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None
    ) -> None:
        await self._kafka.stop()

    @property
    def records(self) -> int:
        return sum(self.ends.values()) - sum(self.starts.values())

    async def topics(self) -> Set[str]:
        """The topics that there are, as far as this user may see them."""
        found: Set[str] = await self._kafka.topics()
        return found

    async def read(self, partitions: Iterable[int], at: dict[int, int], limit: int = FETCHED) -> dict[int, list[Raw]]:
        """The next records of these partitions from the offsets `at`, which are moved; some at least of one of them.
        Partitions that are read to their ends give none."""
        wanted = [n for n in partitions if at[n] < self.ends[n]]
        if not wanted:
            return {}
        for n in wanted:
            if self._next.get(n) != at[n]:  # a seek throws away what was fetched ahead
                self._kafka.seek(TopicPartition(self.topic, n), at[n])
        while True:
            tps = [TopicPartition(self.topic, n) for n in wanted]
            batches = await self._kafka.getmany(*tps, timeout_ms=1_000, max_records=limit)
            got: dict[int, list[Raw]] = {}
            for tp, records in batches.items():
                raws = [raw_of(r) for r in records if at[tp.partition] <= r.offset < self.ends[tp.partition]]
                got[tp.partition] = raws
                self._next[tp.partition] = records[-1].offset + 1
                at[tp.partition] = min(records[-1].offset + 1, self.ends[tp.partition])
            if got:
                return got

    async def tail(self, partition: int, service: str, look_back: int = LOOK_BACK) -> list[OwnRecord]:
        """Read the intact records among the partition's last ones, and further back while there are none."""
        end, start = self.ends[partition], self.starts[partition]
        while end > start:
            begin = max(start, end - look_back)
            if found := await self._window(partition, begin, end, service):
                return found
            end, look_back = begin, 4 * look_back
        return []

    async def begin_of_unknown(self, partition: int, service: str, lookup: Lookup) -> Begin:
        """Find an offset from which on every event is found that the store does not hold: what its topic is ahead of
        it, and where it went a way of its own.

        Among more than READ_EVENTS records that are the store's own, by their hashes, one at least is no late repeat.
        When that one was published, the topic had nothing yet that the store has not: all of it lies behind. So only
        these records count. One with a forged position, however high or low, is not what the store holds there, and
        makes the reading begin earlier at most. (A record that a forger copied byte for byte is like a repeat: to begin
        too late takes READ_EVENTS of them among LOOK_BACK records.)
        """
        start, end, step = self.starts[partition], self.ends[partition], 2 * LOOK_BACK
        while True:
            begin = max(start, end - LOOK_BACK)
            if begin == start:
                return Begin(start, 0)
            found = await self._window(partition, begin, end, service)
            stored = await lookup([each.event for each in found])
            own = [
                each.position for each, kept in zip(found, stored, strict=True) if kept.hash == each.event.envelope.hash
            ]
            if len(own) > READ_EVENTS:
                return Begin(begin, sorted(own, reverse=True)[READ_EVENTS])
            end, step = self.ends[partition] - step, 4 * step

    async def _window(self, partition: int, begin: int, end: int, service: str) -> list[OwnRecord]:
        return [found async for batch in self.own_records(partition, begin, end, service) for found in batch]

    async def own_records(self, partition: int, begin: int, end: int, service: str) -> AsyncIterator[list[OwnRecord]]:
        """The intact records of a partition from offset `begin` to before `end`, in batches."""
        at = {partition: begin}
        while at[partition] < end:
            batch: list[OwnRecord] = []
            for raw in (await self.read([partition], at))[partition]:
                if raw.offset < end:
                    with suppress(Unreadable):  # whatever else lies there is no event of the service
                        batch.append(own_record(raw, service, len(self.ends)))
            yield batch


class Merge:
    """The store's order out of the partitions' records, from position `after` on. Pure.

    Up to `after` the records are compared with what the store holds. A record that is no event of the log, as `chains`
    defines it, is passed over and listed. It is judged as soon as it is the first of its partition's queue: all that it
    may continue was taken by then.
    """

    def __init__(
        self, service: str, after: int, partitions: Collection[int], published: Mapping[int, int] | None = None
    ) -> None:
        """`published`: see `Chains`; nothing where the partitions are read from their beginnings."""
        self._service, self._partitions = service, len(partitions)
        self._chains = Chains(published)
        self.position = self.after = after
        self._prints = bytearray()
        self._waiting: dict[int, deque[tuple[OwnRecord, InStore]]] = {n: deque() for n in partitions}
        self._ended: set[int] = set()
        self.there = bytearray(after + 1)
        """Of each position up to `after`, 1 where the store's event lies in what was read."""
        self.strange: list[str] = []
        """Records that are no events of the log, by place and reason."""
        self._differences: dict[int, str] = {}

    @property
    def first_difference(self) -> tuple[int, str] | None:
        """The lowest position at which another event lies, and the store's own does not lie beside it."""
        return min(self._differences.items(), default=None)

    @property
    def ambiguous(self) -> str | None:
        """Why there is no one order: two events of the topic have one position."""
        position = max(self._differences, default=0)
        return self._differences[position] if position > self.after else None

    def hungry(self) -> list[int]:
        """The partitions without which nothing more can be said."""
        return [n for n, queue in self._waiting.items() if not queue and n not in self._ended]

    def intact(self, raws: Iterable[Raw]) -> list[OwnRecord]:
        """Read the records; those that are not intact are listed as strange."""
        result: list[OwnRecord] = []
        for raw in raws:
            try:
                result.append(own_record(raw, self._service, self._partitions))
            except Unreadable as why:
                self.strange.append(f"{location(raw)}: {why}")
        return result

    def feed(self, partition: int, found: Sequence[OwnRecord], stored: Sequence[InStore] = ()) -> None:
        """Add a partition's next records, with what the store holds for each; nothing where there is no store."""
        self._waiting[partition] += zip(found, stored or [NOT_STORED] * len(found), strict=True)

    def end(self, partition: int) -> None:
        """There is no more of this partition."""
        self._ended.add(partition)

    def ready(self) -> list[OwnRecord]:
        """The events that come next. Raises Missing where the next one is in no partition."""
        result: list[OwnRecord] = []
        while True:
            taken = [found for queue in self._waiting.values() for found in self._take(queue)]
            if taken:
                result += taken
                continue
            if result or self.hungry() or not any(self._waiting.values()):
                return result
            nearest = min((queue[0][0] for queue in self._waiting.values() if queue), key=lambda each: each.position)
            raise Missing(gap_between(nearest, self.position))

    def _take(self, queue: deque[tuple[OwnRecord, InStore]]) -> list[OwnRecord]:
        """What this partition has of the next positions, passing over repeats and what is no event."""
        taken: list[OwnRecord] = []
        while queue:
            found, stored = queue[0]
            if not self._repeats(found):
                if not self._chains.accepts(found, stored):
                    envelope = found.event.envelope
                    what = f"position {found.position} ({envelope.stream} version {envelope.version})"
                    self.strange.append(f"{location(found.raw)}: {what} does not continue its stream: it is no event")
                    queue.popleft()
                    continue
                if found.position > self.position + 1:
                    break
                self._chains.note(found)
                if found.position == self.position + 1:
                    self.position += 1
                    self._prints += found.event.envelope.hash[:_PRINT]
                    taken.append(found)
                else:
                    self._compare(found, stored)
            queue.popleft()
        return taken

    def _repeats(self, found: OwnRecord) -> bool:
        """Whether the record is one that was taken before."""
        at = (found.position - self.after - 1) * _PRINT
        return at >= 0 and self._prints[at : at + _PRINT] == found.event.envelope.hash[:_PRINT]

    def _compare(self, found: OwnRecord, stored: InStore) -> None:
        """Note an event of a position that the store holds, or that was taken before."""
        position = found.position
        if stored.hash == found.event.envelope.hash:
            self.there[position] = 1
            self._differences.pop(position, None)
        elif position > self.after or not self.there[position]:
            self._differences.setdefault(
                position, f"position {position}: the event at {location(found.raw)} is another one"
            )


async def in_order(
    reader: TopicReader,
    merge: Merge,
    begin: dict[int, int],
    told: Callable[[int], None] = lambda _: None,
    lookup: Lookup | None = None,
) -> AsyncIterator[list[OwnRecord]]:
    """The topic's events from the offsets `begin` on, in the store's order, in batches. `told` hears how many records
    were read; `lookup` asks the store, if it holds anything."""
    at, total = dict(begin), 0
    while True:
        for n in merge.hungry():
            if at[n] >= reader.ends[n]:
                merge.end(n)
        wanted = merge.hungry()
        if wanted:
            for n, raws in (await reader.read(wanted, at)).items():
                found = merge.intact(raws)
                merge.feed(n, found, await lookup([each.event for each in found]) if lookup and found else ())
                total += len(raws)
            told(total)
        events = merge.ready()
        if events:
            yield events
        elif not merge.hungry():
            return
