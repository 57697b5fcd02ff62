"""Reading a service's topic as a whole: its events in the store's order, out of partitions that may repeat.

The relay publishes in the order of positions, and after a failure goes back by at most READ_EVENTS of them. One that
lost its lease while Kafka was slow may still get in what it had sent, wherever its heir stands by then: a block of at
most READ_EVENTS repeats. So within a partition no event's first record comes after that of a later one, the store's
order is a merge of the partitions, and how far a partition is at an offset is said by the highest position among more
records before it than a block of repeats has.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence, Set
from types import TracebackType
from typing import Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from shared.eventlog.kafka import KafkaAccess
from shared.eventlog.plan import Raw
from shared.eventlog.records import raw_of
from shared.eventlog.relay import READ_EVENTS
from shared.events.envelope import StoredEvent, Unreadable, counted, flaw, from_headers, source_of

Progress = Callable[[str, int, int], None]
"""Told of a step by name, how much of it is done, and of how much (0: not known). Must not raise or wait."""

OVERLAP: Final = 4 * READ_EVENTS
"""So far before a position a reading begins that must not miss the first record of what comes after it."""
LOOK_BACK: Final = 2 * READ_EVENTS
"""So many records tell how far a partition is: more than a block of repeats has."""
FETCHED: Final = 2_000
_PRINT: Final = 8


def silent(_step: str, _done: int, _of: int) -> None:
    """A Progress that nobody listens to."""


class Missing(Exception):
    """An event is not where the log says that it must be. The message names the place."""


class Differs(Exception):
    """What lies in the topic is not what the store holds at the same position. The message names the place."""


class Found(NamedTuple):
    """One of the service's own events in its topic, intact."""

    raw: Raw
    event: StoredEvent

    @property
    def position(self) -> int:
        return self.event.of.position or 0


def own_event(raw: Raw, service: str) -> StoredEvent:
    """The event of a record. Raises Unreadable where it is not an event of this service, or not intact."""
    if raw.unparsed:
        raise Unreadable(raw.unparsed)
    of, data = from_headers(raw.headers, raw.key), raw.value or b""
    if of.source != source_of(service) or not of.stream or not counted(of):
        raise Unreadable(f"it is not an event of {service}'s store but of {of.source[:80]!r}")
    if (why := flaw(of, raw.key, data)) is not None:
        raise Unreadable(why)
    return StoredEvent(of, data)


def place(raw: Raw) -> str:
    return f"{raw.topic}, partition {raw.partition}, offset {raw.offset}"


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

    async def last(self, partition: int, service: str, look_back: int = LOOK_BACK) -> Found | None:
        """The service's event of the highest position among the partition's last records. None where there is none
        in the whole partition."""
        end, start = self.ends[partition], self.starts[partition]
        while end > start:
            begin = max(start, end - look_back)
            best: Found | None = None
            async for found in self._own(partition, begin, end, service):
                if best is None or found.position >= best.position:
                    best = found
            if best is not None:
                return best
            end, look_back = begin, 4 * look_back
        return None

    async def offset_before(self, partition: int, position: int, service: str) -> int:
        """An offset from which on no first record of an event after `position` is missed."""
        end, start, step = self.ends[partition], self.starts[partition], READ_EVENTS
        while True:
            begin = max(start, end - step)
            if begin == start:
                return start
            before = [f.position async for f in self._own(partition, max(start, begin - LOOK_BACK), begin, service)]
            if before and max(before) <= position - OVERLAP:
                return begin
            step *= 4

    async def _own(self, partition: int, begin: int, end: int, service: str) -> AsyncIterator[Found]:
        at = {partition: begin}
        while at[partition] < end:
            for raw in (await self.read([partition], at))[partition]:
                if raw.offset >= end:
                    return
                try:
                    yield Found(raw, own_event(raw, service))
                except Unreadable:
                    continue  # whatever else lies there is no event of the service


class Merge:
    """The store's order out of the partitions' records, from position `after` on. Pure.

    `known` are the hashes of the positions before, as many as matter: a repeat is compared with them.
    """

    def __init__(self, service: str, after: int, partitions: Iterable[int], known: Sequence[bytes] = ()) -> None:
        self._service = service
        self.position = after
        self.base = after - len(known)
        self._prints = bytearray(b"".join(h[:_PRINT] for h in known))
        self._waiting: dict[int, deque[Found]] = {n: deque() for n in partitions}
        self._ended: set[int] = set()
        self.strange: list[str] = []
        """Records that are no intact events of the service, by place and reason."""
        self.first_difference: tuple[int, str] | None = None
        """The lowest position at which a repeat is not what stood there before."""

    def hungry(self) -> list[int]:
        """The partitions without which nothing more can be said."""
        return [n for n, queue in self._waiting.items() if not queue and n not in self._ended]

    def feed(self, partition: int, raws: Iterable[Raw]) -> None:
        queue = self._waiting[partition]
        for raw in raws:
            try:
                found = Found(raw, own_event(raw, self._service))
            except Unreadable as why:
                self.strange.append(f"{place(raw)}: {why}")
                continue
            if found.position > self.base:
                queue.append(found)

    def end(self, partition: int) -> None:
        """There is no more of this partition."""
        self._ended.add(partition)

    def ready(self) -> list[Found]:
        """The events that come next. Raises Missing where the next one is in no partition."""
        result: list[Found] = []
        while True:
            taken = [found for queue in self._waiting.values() for found in self._take(queue)]
            if taken:
                result += taken
                continue
            if result or self.hungry() or not any(self._waiting.values()):
                return result
            nearest = min((queue[0] for queue in self._waiting.values() if queue), key=lambda found: found.position)
            raise Missing(
                f"position {self.position + 1} is missing in the topic: after {self.position} comes "
                f"{nearest.position} ({place(nearest.raw)})"
            )

    def _take(self, queue: deque[Found]) -> list[Found]:
        """What this partition has of the next positions, passing over repeats."""
        taken: list[Found] = []
        while queue and queue[0].position <= self.position + 1:
            found = queue.popleft()
            if found.position <= self.position:
                self._repeated(found)
                continue
            self.position += 1
            self._prints += found.event.of.hash[:_PRINT]
            taken.append(found)
        return taken

    def _repeated(self, found: Found) -> None:
        at = (found.position - self.base - 1) * _PRINT
        if self._prints[at : at + _PRINT] == found.event.of.hash[:_PRINT]:
            return
        if self.first_difference is None or found.position < self.first_difference[0]:
            why = f"position {found.position}: the event at {place(found.raw)} is another one"
            self.first_difference = (found.position, why)


async def in_order(
    reader: TopicReader, merge: Merge, begin: dict[int, int], told: Callable[[int], None] = lambda _: None
) -> AsyncIterator[list[Found]]:
    """The topic's events from the offsets `begin` on, in the store's order, in batches. `told` hears how many records
    were read."""
    at, total = dict(begin), 0
    while True:
        for n in merge.hungry():
            if at[n] >= reader.ends[n]:
                merge.end(n)
        wanted = merge.hungry()
        if wanted:
            for n, raws in (await reader.read(wanted, at)).items():
                merge.feed(n, raws)
                total += len(raws)
            told(total)
        events = merge.ready()
        if events:
            yield events
        elif not merge.hungry():
            return
