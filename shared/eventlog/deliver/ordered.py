"""A topic in its store's order: the newest events, and those after a position.

Positions have no gaps, and within a partition the first records of events are in their order (see the relay). So the
store's order is a merge of the partitions in which each position follows the one before, and a record of a position
that was taken is a repeat. Records that are not intact events of the service are skipped.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, NamedTuple, Self

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import UnknownTopicOrPartitionError

from shared.eventlog.deliver.connecting import start_reading, stop_reading
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.deliver.records import raw_of
from shared.eventlog.deliver.relay import READ_EVENTS
from shared.events.envelope import Envelope
from shared.events.fields import EARLIEST
from shared.events.registry import is_outcomes

logger = structlog.get_logger(__name__)

QUEUED: Final = 2 * READ_EVENTS
"""How many events of a partition wait for those of others at most; then it is not read on."""
ANSWERED_S: Final = 5.0
"""The greatest age of Kafka's answer that a partition has no more records."""
POLL_MS: Final = 500
FETCH_BYTES: Final = 128 * 1024
FETCH_WAIT_MS: Final = 50
"""How long Kafka waits for a record before it answers that there is none; a seek waits for that answer, too."""
READ_S: Final = 15.0
"""How long reading what is there may take."""
COMES_S: Final = 1.0
"""After how long a position is looked for again that was not found, or that only later ones were found for."""
FAR: Final = 10_000
"""How far beyond the number of the topic's records a position may be. Each event has a record, and a relay publishes
fewer at once, so a record with a greater position is forged. It would be waited for, and keep others back."""
HEAD_EVENTS: Final = 600
"""How many of the newest events are read to find the head."""
EXISTS_S: Final = 5.0
MARKS: Final = 1_000
"""Of how many positions the offsets are remembered at which the events after them begin."""
_NO_TYPES: Final[frozenset[str]] = frozenset()


class Placed(NamedTuple):
    """An intact event of a service, or an outcome, as its topic has it."""

    raw: Raw
    envelope: Envelope

    @property
    def position(self) -> int:
        return self.envelope.position or 0


class Lost(Exception):
    """The topic does not have the events that follow a position."""

    def __init__(self, after: int, nearest: int) -> None:
        super().__init__(f"after position {after} comes {nearest}")
        self.after, self.nearest = after, nearest


def placed(raw: Raw) -> Placed | None:
    """Return the event of a record; None if it is no intact event of the topic's service.

    On a topic of outcomes a record's offset is its position, so one that is no outcome stands there empty.
    """
    received = receive(raw, _NO_TYPES)
    if received.envelope is None or not received.envelope.position:
        logger.warning(
            "skipping a record that is no event of its topic's service",
            topic=raw.topic,
            partition=raw.partition,
            offset=raw.offset,
            why=received.problem,
        )
        return _empty(raw) if is_outcomes(raw.topic) else None
    return Placed(raw, received.envelope)


def _empty(raw: Raw) -> Placed:
    time = raw.arrived or EARLIEST
    return Placed(raw._replace(headers=(), value=None), Envelope("", "", "", "", time, position=raw.offset + 1))


class InOrder:
    """A merge of the partitions' events into the store's order, without repeats. Pure."""

    def __init__(self, after: int, partitions: Iterable[int]) -> None:
        self.position = after
        """The position of the last event that was taken."""
        self.known = True
        """Whether the position is known; if not, the lowest that comes first is taken for the first."""
        self.queues: dict[int, deque[Placed]] = {n: deque() for n in partitions}

    def add(self, event: Placed) -> None:
        """Add a partition's next event."""
        if event.position > self.position:
            self.queues[event.raw.partition].append(event)

    def take(self, at_most: int) -> list[Placed]:
        """Return the next events, as far as they are there."""
        taken: list[Placed] = []
        found = True
        while found and len(taken) < at_most:
            found = False
            for queue in self.queues.values():
                while queue and queue[0].position <= self.position:
                    queue.popleft()
                if queue and queue[0].position == self.position + 1 and len(taken) < at_most:
                    taken.append(queue.popleft())
                    self.position += 1
                    found = True
        return taken

    @property
    def nearest(self) -> int | None:
        """The lowest position that waits; None if none does."""
        return min((queue[0].position for queue in self.queues.values() if queue), default=None)

    def open(self, at_most: int = QUEUED) -> list[int]:
        """Return the partitions of which fewer than `at_most` events wait."""
        return [n for n, queue in self.queues.items() if len(queue) < at_most]


def dense_end(events: Iterable[Placed]) -> list[Placed]:
    """Return the last events of which each follows the one before, in order and without repeats."""
    by_position = {event.position: event for event in events}
    result: deque[Placed] = deque()
    position = max(by_position, default=0)
    while (event := by_position.get(position)) is not None:
        result.appendleft(event)
        position -= 1
    return list(result)


async def exists(topic: str, access: KafkaAccess) -> bool:
    """Return whether Kafka has a topic that may be read.

    Raises:
        KafkaError, TimeoutError: It can't be reached.
    """
    client = AIOKafkaClient(**access.client())
    try:
        async with asyncio.timeout(EXISTS_S):
            await client.bootstrap()
            return topic in (await client.fetch_all_metadata()).topics()
    finally:
        await client.close()


async def head_before(topic: str, position: int, access: KafkaAccess) -> int | None:
    """Return the position of a topic's newest event if the topic ends before a position.

    None if it has come to that position, or may have. It is asked again after a second: what was just stored is
    published within it, and a relay that starts again repeats earlier events, which may mislead the first search.

    Raises:
        KafkaError, TimeoutError: It can't be read.
    """
    async with OrderedTopic(topic, access) as reader:
        for pause_s in (0.0, COMES_S):
            await asyncio.sleep(pause_s)
            try:
                if await reader.after(position - 1, 1):
                    return None
            except Lost:
                return None
        _, order = await reader.newest(HEAD_EVENTS)
        return order.position if order.known and order.position < position else None


class OrderedTopic:
    """A connection that reads one topic, without a consumer group.

    One task at a time may use it, for `newest` and what follows, or for `after`.
    """

    def __init__(self, topic: str, access: KafkaAccess, clock: Callable[[], float] = time.time) -> None:
        self.topic, self._clock = topic, clock
        self._kafka = AIOKafkaConsumer(
            topic,
            **access.client(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        self._partitions: list[int] = []
        self._next: dict[int, int] = {}
        """The offset of each partition's next record, for those that were sought."""
        self._marks: OrderedDict[int, Mapping[int, int]] = OrderedDict()
        self._records = 0
        """The number of records that the topic has had, when it was last asked for."""

    async def __aenter__(self) -> Self:
        """Connect. Raises KafkaError if Kafka can't be reached or the topic does not exist."""
        try:
            await start_reading(self._kafka)
            self._partitions = sorted(each.partition for each in self._kafka.assignment())
            if not self._partitions:
                raise UnknownTopicOrPartitionError(f"there is no topic {self.topic}")
            self._kafka.unsubscribe()
            self._seek(dict.fromkeys(self._partitions, 0))
            self.rest()
        except BaseException:
            await stop_reading(self._kafka)
            raise
        return self

    async def __aexit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None
    ) -> None:
        await stop_reading(self._kafka)

    async def newest(self, count: int) -> tuple[list[Placed], InOrder]:
        """Return about the last `count` events, and the merge that goes on with `following`.

        Raises:
            TimeoutError: Kafka does not answer.
        """
        events: list[Placed] = []
        async with asyncio.timeout(READ_S):
            begins, ends = await self._edges()
            each = max(1, count // len(self._partitions))
            self._seek({n: max(begins[n], ends[n] - each) for n in self._partitions})
            while behind := [n for n in self._partitions if self._next[n] < ends[n]]:
                events += await self._read(behind)
        newest = dense_end(events)
        order = InOrder(newest[-1].position if newest else 0, self._partitions)
        order.known = bool(newest) or not any(ends.values())
        return newest, order

    async def following(self, order: InOrder, wait_ms: int = POLL_MS) -> list[Placed]:
        """Return the next events; nothing if none comes within `wait_ms`.

        Raises:
            Lost: The next event is not in the topic any more, and later ones are.
            LookupError: The topic has lost records, or is another one.
        """
        wanted = order.open()
        read = await self._read(wanted, wait_ms)
        for event in read:
            order.add(event)
        if not order.known and order.nearest is not None:
            order.position, order.known = order.nearest - 1, True
        events = order.take(len(read) + QUEUED)
        waiting = [n for n, queue in order.queues.items() if not queue]
        full, since = len(wanted) < len(self._partitions), self._clock() - ANSWERED_S
        ended = not waiting or (full and all(self._at_end(n, since) for n in wanted))
        if not events and order.nearest is not None and ended:
            raise Lost(order.position, order.nearest)
        return events

    async def after(self, position: int, at_most: int) -> list[Placed]:
        """Return the events after a position, as far as the topic has them now; at most so many.

        Raises:
            Lost: The next event is not in the topic any more, and later ones are.
            TimeoutError: Kafka does not answer.
        """
        async with asyncio.timeout(READ_S):
            try:
                try:
                    return await self._sought(position, at_most)
                except Lost:  # Events of several partitions are published at once, and a later one may be there first.
                    await asyncio.sleep(COMES_S)
                    return await self._sought(position, at_most)
            finally:
                self.rest()

    async def _sought(self, position: int, at_most: int) -> list[Placed]:
        begins, ends = await self._edges()
        at = self._marks.pop(position, None)
        if at is not None and all(begins[n] <= at[n] <= ends[n] for n in self._partitions):
            return await self._after(position, at, ends, at_most)
        at = await self._offsets(position, begins, ends)
        try:
            return await self._after(position, at, ends, at_most)
        except Lost:  # repeats that came late may have misled the search
            earlier = {n: max(begins[n], offset - QUEUED) for n, offset in at.items()}
            return await self._after(position, earlier, ends, at_most)

    async def position_at(self, time: datetime) -> int | None:
        """Return a position that all events since a time come after; None if there are none yet.

        Raises:
            TimeoutError: Kafka does not answer.
        """
        async with asyncio.timeout(READ_S):
            since = int(time.timestamp() * 1000)
            asked = {TopicPartition(self.topic, n): since for n in self._partitions}
            starts = await self._kafka.offsets_for_times(asked)
            offsets = {p.partition: found.offset for p, found in starts.items() if found is not None}
            try:
                self._seek(offsets)
                found_there = [await self._first(n, offset) for n, offset in offsets.items()]
            finally:
                self.rest()
        return min((event.position - 1 for event in found_there if event is not None), default=None)

    async def _after(self, position: int, at: Mapping[int, int], ends: Mapping[int, int], at_most: int) -> list[Placed]:
        order = InOrder(position, self._partitions)
        self._seek(at)
        events: list[Placed] = []
        while len(events) < at_most:
            events += order.take(at_most - len(events))
            needed = [n for n in order.open(1) if self._next[n] < ends[n]]
            if len(events) == at_most or not needed:
                break
            for event in await self._read(needed):
                order.add(event)
        if not events and order.nearest is not None:
            raise Lost(position, order.nearest)
        queues = order.queues.items()
        self._marks[order.position] = {n: q[0].raw.offset if q else self._next[n] for n, q in queues}
        while len(self._marks) > MARKS:
            self._marks.popitem(last=False)
        return events

    async def _offsets(self, position: int, begins: Mapping[int, int], ends: Mapping[int, int]) -> dict[int, int]:
        """Return an offset of each partition before which it has no event after the position."""
        low, high = dict(begins), dict(ends)
        while searched := {n: (low[n] + high[n]) // 2 for n in self._partitions if low[n] < high[n]}:
            self._seek(searched)
            found = {n: await self._first(n, offset) for n, offset in searched.items()}
            for n, event_there in found.items():
                if event_there is None or event_there.position > position:
                    high[n] = searched[n]
                else:
                    low[n] = min(event_there.raw.offset + 1, high[n])
        return low

    async def _first(self, n: int, offset: int) -> Placed | None:
        """Return the event at an offset that was sought; None if the record is no event."""
        events: list[Placed] = []
        while self._next[n] == offset:
            events = await self._read([n], at_most=1)
        return events[0] if events else None

    async def _edges(self) -> tuple[dict[int, int], dict[int, int]]:
        partitions = [TopicPartition(self.topic, n) for n in self._partitions]
        begins = await self._kafka.beginning_offsets(partitions)
        ends = await self._kafka.end_offsets(partitions)
        return {p.partition: o for p, o in begins.items()}, {p.partition: o for p, o in ends.items()}

    def rest(self) -> None:
        """Read nothing ahead until the next question."""
        self._kafka.pause(*self._kafka.assignment())

    def _seek(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        # Assigned anew, because after a mere seek the client waits 100 ms for somebody to take what it read ahead.
        self._kafka.assign([TopicPartition(self.topic, n) for n in offsets])
        for n, offset in offsets.items():
            self._kafka.seek(TopicPartition(self.topic, n), offset)
        self._next = dict(offsets)

    async def _read(
        self, partitions: Sequence[int], wait_ms: int = POLL_MS, at_most: int | None = None
    ) -> list[Placed]:
        """Return the next events of these partitions, each partition's in its order."""
        wanted = [TopicPartition(self.topic, n) for n in partitions]
        events: list[Placed] = []
        fetched = await self._kafka.getmany(*wanted, timeout_ms=wait_ms, max_records=at_most)
        for partition, records in fetched.items():
            for raw in map(raw_of, records):
                # A batch that can't be unpacked is one record, which has the offset of the batch's last.
                if raw.offset != self._next[partition.partition] and not raw.unparsed:
                    raise LookupError(f"{partition} continues at offset {raw.offset}: records are missing")
                self._next[partition.partition] = raw.offset + 1
                if (event := placed(raw)) is not None:
                    events.append(event)
        if any(event.position > self._records + FAR for event in events):
            _, ends = await self._edges()
            self._records = sum(ends.values())
            events = [event for event in events if self._believes(event)]
        return events

    def _believes(self, event: Placed) -> bool:
        if event.position <= self._records + FAR:
            return True
        logger.warning(
            "skipping an event whose position its topic can't have come to",
            topic=self.topic,
            partition=event.raw.partition,
            offset=event.raw.offset,
            position=event.position,
        )
        return False

    def complete_since(self, order: InOrder, time_s: float) -> bool:
        """Return whether `following` has returned all, as Kafka has said since a time."""
        waiting = not order.known or order.nearest is not None
        return not waiting and all(self._at_end(n, time_s) for n in self._partitions)

    def _at_end(self, n: int, since_s: float) -> bool:
        partition = TopicPartition(self.topic, n)
        end, answered = self._kafka.highwater(partition), self._kafka.last_poll_timestamp(partition)
        return end is not None and self._next[n] >= end and answered is not None and answered >= since_s * 1000
