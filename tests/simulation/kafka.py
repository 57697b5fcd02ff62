"""A broker in memory: partitions, offsets, groups that rebalance, producers whose last word is not heard.

`Member` is at once what the engine's feed asks of FastStream's subscriber and of aiokafka's consumer; `Producer` is
what the relay asks of aiokafka's.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaConnectionError

from shared.events.registry import INBOUND, topic_of
from shared.services import SERVICES
from tests.simulation.store import Rates
from tests.simulation.time import PROCESS, Loop, SimulatedProcess

POLL_S: Final = 0.3
"""How long a fetch may take at most: what comes meanwhile comes along."""

Headers = Sequence[tuple[str, bytes | None]]


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Headers
    value: bytes | None
    timestamp: int = 0


class Broker:
    """Topics and groups. It never dies: what clients see of its troubles is made in `Member` and `Producer`."""

    def __init__(self, chance: random.Random, rates: Rates) -> None:
        self.chance, self.rates = chance, rates
        self.partitions = chance.randrange(1, 4)
        self.topics: dict[str, list[list[Record]]] = {}
        self.groups: dict[str, Group] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def logs(self, topic: str) -> list[list[Record]]:
        return self.topics.setdefault(topic, [[] for _ in range(self.partitions)])

    def append(self, topic: str, partition: int, key: bytes | None, headers: Headers, value: bytes | None) -> None:
        log = self.logs(topic)[partition]
        log.append(Record(topic, partition, len(log), key, headers, value))
        for group in self.groups.values():
            if topic in group.topics:
                for member in group.members:
                    member.told(TopicPartition(topic, partition))

    def deliver(self, topic: str, partition: int, batch: "Batch", heard: asyncio.Future[None]) -> None:
        """A batch on its way: it may come late, even after its sender is gone; its answer may be lost."""
        task = asyncio.create_task(self._deliver(topic, partition, batch, heard))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    @property
    def under_way(self) -> bool:
        return bool(self._under_way)

    async def _deliver(self, topic: str, partition: int, batch: "Batch", heard: asyncio.Future[None]) -> None:
        fails = self.chance.random() < self.rates.broker
        late = fails and self.chance.random() < 0.5
        if late:
            _tell(heard, KafkaConnectionError("the answer was lost"))
            await asyncio.sleep(self.chance.random() * 5)
        else:
            await asyncio.sleep(self.chance.random() * 0.02)
        if fails and not late and self.chance.random() < 0.5:
            _tell(heard, KafkaConnectionError("nothing was written"))
            return
        for key, value, headers in batch.records:
            self.append(topic, partition, key, headers, value)
        _tell(heard, KafkaConnectionError("written, but the answer was lost") if fails else None)


def _tell(heard: asyncio.Future[None], error: Exception | None) -> None:
    if heard.done():
        return
    if error is None:
        heard.set_result(None)
    else:
        heard.set_exception(error)
        heard.exception()  # whoever sent it may be gone


class Batch:
    def __init__(self, room: int) -> None:
        self.records: list[tuple[bytes, bytes, Headers]] = []
        self._room = room

    def append(self, *, key: bytes, value: bytes, timestamp: None, headers: Headers) -> object | None:
        if len(self.records) >= self._room:
            return None
        self.records.append((key, value, headers))
        return self

    def record_count(self) -> int:
        return len(self.records)


class Access:
    """Stands in for KafkaAccess: the address that a relay hands to its producer is the broker itself."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def client(self) -> dict[str, Any]:
        return {"bootstrap_servers": self._broker}


class Producer:
    """Stands in for AIOKafkaProducer in the relay."""

    def __init__(self, *, bootstrap_servers: Any, **_settings: Any) -> None:
        self._broker: Broker = bootstrap_servers
        self._process = PROCESS.get()

    async def start(self) -> None:
        await self._process.gate()

    async def stop(self) -> None:
        await self._process.gate()

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(len(self._broker.logs(topic))))

    def create_batch(self) -> Batch:
        return Batch(self._broker.chance.choice((1, 30, 30)))

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Awaitable[None]:
        await self._process.gate()
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._broker.deliver(topic, partition, batch, heard)
        return heard


class Group:
    """A consumer group: its partitions are dealt out anew whenever a member comes, goes or isn't heard of."""

    def __init__(self, name: str, topics: Sequence[str], broker: Broker) -> None:
        self.name, self.topics, self._broker = name, tuple(topics), broker
        self.members: list[Member] = []
        self.generation = 0

    def rebalance(self) -> None:
        """The living and awake are the members; each learns its part in its own time."""
        self.generation += 1
        self.members = [member for member in self.members if not member.process.dead]
        heard_of = [member for member in self.members if member.process.heard_of]
        if not heard_of:
            return
        parts: dict[Member, list[TopicPartition]] = {member: [] for member in heard_of}
        every = [TopicPartition(t, n) for t in self.topics for n in range(len(self._broker.logs(t)))]
        self._broker.chance.shuffle(every)
        for number, partition in enumerate(every):
            parts[heard_of[number % len(heard_of)]].append(partition)
        for member, part in parts.items():
            member.process.spawn(member.take(part, self.generation))


class Member:
    """One process's subscription."""

    def __init__(self, group: Group, listener: Any, process: SimulatedProcess, broker: Broker) -> None:
        self.group, self.process = group, process
        self.wake = asyncio.Event()
        self._listener, self._broker, self._chance = listener, broker, broker.chance
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._taking = asyncio.Lock()
        self._loop = cast("Loop", asyncio.get_running_loop())
        self._handle: Callable[[Sequence[Any]], Awaitable[None]]
        self.get_msg: Callable[[Member], Awaitable[Sequence[Any]]]

    def __call__(self, handle: Callable[[Sequence[Any]], Awaitable[None]]) -> None:
        self._handle = handle

    @property
    def consumer(self) -> "Member":
        return self

    def _mine(self, partition: TopicPartition) -> None:
        if partition not in self._positions:
            raise IllegalStateError(f"{partition} is not assigned")

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._mine(partition)
        self._positions[partition] = offset
        self.wake.set()

    def pause(self, partition: TopicPartition) -> None:
        self._mine(partition)
        self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self._mine(partition)
        self._paused.discard(partition)
        self.wake.set()

    async def take(self, part: Sequence[TopicPartition], generation: int) -> None:
        """Gives everything back, then has this part. Kafka's own notes of offsets may say anything."""
        async with self._taking:  # a coordinator does one thing after the other
            await self._take(part, generation)

    async def _take(self, part: Sequence[TopicPartition], generation: int) -> None:
        await self.process.gate()
        if generation != self.group.generation:
            return
        await self._listener.on_partitions_revoked(list(self._positions))
        ends = {p: len(self._broker.logs(p.topic)[p.partition]) for p in part}
        self._positions = {p: self._chance.randrange(end + 1) for p, end in ends.items()}
        self._paused.clear()
        self.wake.set()
        await self._listener.on_partitions_assigned(part)

    async def fetching(self) -> None:
        """Fetches and hands over, a batch at a time, until the process ends."""
        while True:
            await self._handle(await self.get_msg(self))

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Record]]:
        await self.process.gate()
        if not (ready := self._ready):
            self.wake.clear()
            over = self._loop.call_later(timeout_ms / 1000, self.wake.set)
            await self.wake.wait()
            over.cancel()
            await self._loop.nap(self._chance.random() * POLL_S)
            ready = self._ready
        batch: dict[TopicPartition, list[Record]] = {}
        for partition in ready:
            start = self._positions[partition]
            if self._chance.random() < self._broker.rates.again:
                start -= self._chance.randrange(min(start, 5) + 1)
            found = self._broker.logs(partition.topic)[partition.partition][start:]
            found = found[: min(max_records, self._chance.choice((3, 100, 100)))]
            max_records -= len(found)
            batch[partition] = found
            self._positions[partition] = start + len(found)
        return batch

    @property
    def _ready(self) -> list[TopicPartition]:
        return [p for p in self._positions if p not in self._paused and self._left(p)]

    def told(self, partition: TopicPartition) -> None:
        """There is something new."""
        if partition in self._positions and partition not in self._paused:
            self.wake.set()

    def _left(self, partition: TopicPartition) -> bool:
        return self._positions[partition] < len(self._broker.logs(partition.topic)[partition.partition])


class Refetches:
    """Stands in for the second reader of a process: it belongs to no group."""

    def __init__(self, broker: Broker, process: SimulatedProcess) -> None:
        self._broker, self._process = broker, process

    async def fetch(self, offsets: Mapping[tuple[str, int], int]) -> Sequence[Record]:
        await self._process.gate()
        if self._broker.chance.random() < self._broker.rates.broker:
            raise KafkaConnectionError("nothing was fetched")
        found: list[Record] = []
        for (topic, partition), offset in offsets.items():
            records = self._broker.logs(topic)[partition][offset:]
            found += records[: self._broker.chance.choice((1, 100, 100))]
        if not found:
            await asyncio.sleep(POLL_S)
        return found


class Subscriptions:
    """Stands in for FastStream's broker in the engine's feeds of one process."""

    def __init__(self, broker: Broker, process: SimulatedProcess) -> None:
        self._broker, self._process = broker, process
        self.members: list[Member] = []

    def subscriber(
        self, *topics: str, pattern: str | None = None, group_id: str, listener: Any, **_settings: Any
    ) -> Member:
        if pattern is not None:
            topics = tuple(topic for topic in (*map(topic_of, SERVICES), INBOUND) if re.match(pattern, topic))
        group = self._broker.groups.setdefault(group_id, Group(group_id, topics, self._broker))
        member = Member(group, listener, self._process, self._broker)
        group.members.append(member)
        self.members.append(member)
        return member


def rebalance(groups: Iterable[Group]) -> None:
    for group in groups:
        group.rebalance()
