"""A process's reader over a Kafka in memory, with consumers that do as they are told."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from aiokafka import ConsumerRecord, TopicPartition

from shared.eventlog.deliver.applying import Fault, Overtaken
from shared.eventlog.deliver.lag import PartitionLag
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.reader import SharedReader
from shared.eventlog.deliver.received import Partition, Received
from shared.eventlog.write.log import utc_now
from shared.events.registry import ENTITLEMENTS

PLACE = (ENTITLEMENTS, 0)
END = 9


def record(
    offset: int, event_type: str = "Boring", place: tuple[str, int] = PLACE, age_s: float = 0.0
) -> ConsumerRecord:
    headers = [("ce_id", None), ("ce_type", event_type.encode())]
    return ConsumerRecord(*place, offset, int(1000 * (time.time() - age_s)), 0, b"k", b"{}", None, 1, 2, headers)


class Kafka:
    """Gives one of these fetches after the other, then nothing more."""

    def __init__(self, *fetches: Sequence[ConsumerRecord] | Callable[[], Sequence[ConsumerRecord]]) -> None:
        self.fetches = list(fetches)
        self.paused: set[tuple[str, int]] = set()
        self.committed: dict[Any, Any] = {}

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, Sequence[ConsumerRecord]]:
        if not self.fetches:
            await asyncio.sleep(timeout_ms / 1000)
            return {}
        fetch = self.fetches.pop(0)
        found = fetch() if callable(fetch) else fetch
        return {TopicPartition(*PLACE): found[:max_records]}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """What comes next is in `fetches`."""

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, END)

    async def commit(self, offsets: Any) -> None:
        self.committed |= offsets

    def pause(self, partition: TopicPartition) -> None:
        self.paused.add(tuple(partition))

    def resume(self, partition: TopicPartition) -> None:
        self.paused.discard(tuple(partition))


class Subscriber:
    consumer: Any = None
    get_msg: Any = None

    def __call__(self, _handle: Any) -> None: ...


class Member:
    """A consumer that notes what it is given, alone or with others, and does with it as it is told."""

    def __init__(self, name: str, definition: Any, at: int = -1) -> None:
        self.name, self.definition, self.at, self.now = name, definition, dict[Partition, int](), utc_now
        self.first = at
        self.alone, self.together = list[list[int]](), list[list[int]]()
        self.fails, self.unreadable, self.overtaken = False, False, 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    @property
    def folds(self) -> bool:
        return isinstance(self.definition, Projection)

    async def set_back(self, _partitions: Any) -> list[Any]:
        if self.unreadable:
            raise Fault("its checkpoints cannot be read")
        return []

    async def assigned(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return {partition: self.at.setdefault(partition, self.first) for partition in partitions}

    def share(self, records: Sequence[Received], _impatient: Any) -> Any:
        return SimpleNamespace(consumer=self.name, records=records)

    async def consume(self, records: Sequence[Received], _impatient: Any) -> BatchPlan:
        await self.go_on.wait()
        if self.fails:
            raise Fault("it fails")
        if self.overtaken:
            self.overtaken -= 1
            raise Overtaken("another member was first")
        self.alone.append([each.raw.offset for each in records])
        return self.plan(records)

    def plan(self, records: Sequence[Received]) -> BatchPlan:
        done = BatchPlan(offsets={(each.raw.topic, each.raw.partition): each.raw.offset for each in records})
        self.at |= done.offsets
        return done


class World:
    """A reader, its consumers, and what can be fetched again."""

    def __init__(self, *members: Member) -> None:
        self.lags = dict[str, Mapping[Partition, PartitionLag]]()
        self.members, self.kafka, self.topic = members, Kafka(), dict[Partition, list[ConsumerRecord]]()
        self.refetched = list[Mapping[Partition, int]]()
        broker = SimpleNamespace(subscriber=lambda *_, **__: Subscriber())
        refetcher = SimpleNamespace(fetch=self.fetch, close_unused=self.nothing)
        self.reader = SharedReader(
            "test.consumers", cast(Any, members), cast(Any, broker), cast(Any, refetcher), cast(Any, self)
        )
        self.reader._subscriber.consumer = self.kafka

    def lagging(self, consumer: str, lags: Mapping[Partition, PartitionLag]) -> None:
        self.lags[consumer] = lags

    def delivered(self, *_: object) -> None: ...

    def processed(self, *_: object) -> None: ...

    async def nothing(self) -> None:
        """There is no connection."""

    async def fetch(self, offsets: Mapping[Partition, int]) -> Sequence[ConsumerRecord]:
        self.refetched.append(offsets)
        found = [each for place, offset in offsets.items() for each in self.topic.get(place, [])[offset:]]
        await asyncio.sleep(0 if found else 0.01)
        return found

    async def assign(self, *places: Partition) -> None:
        await self.reader.on_partitions_assigned([TopicPartition(*place) for place in places])

    async def give(self, *records: ConsumerRecord) -> None:
        """The next records come to the reader."""
        for each in records:
            self.topic.setdefault((each.topic, each.partition), []).append(each)
        self.reader._fetched = [*records]
        await self.reader.handle(())

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


def projection(name: str, *topics: str) -> Projection:
    return Projection(name, topics=topics or (ENTITLEMENTS,))
