"""Folding of a service's projections after its store was restored, or while it is.

It runs the code of a running service's consumers, which read a topic together. Missing events can't arrive later, so
events after a gap are parked at once, and so are records of the service's own topic that its store does not have.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer, consume_together
from shared.eventlog.deliver.feed import Portion
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.plan import Known
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.received import Partition, Received, receive, receive_intact
from shared.eventlog.deliver.tables import Asked, ConsumerTables, Facts, Lock, PostgresTables, Version
from shared.eventlog.deliver.together import Share
from shared.eventlog.repair.ahead import ahead
from shared.eventlog.repair.topic import ReportProgress, Taken, TopicReader
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events.registry import topic_of
from shared.sql import Queryable

AT_ONCE: Final = 5_000
_Tables: TypeAlias = Callable[[Any], ConsumerTables]


def _consumers(service: str, projections: Sequence[Projection], pool: Any, tables: "_Tables") -> list[Consumer]:
    log = Log(PostgresStore("", service), service)  # unused, because folds send no commands
    clocks = Clocks(utc_now)
    return [Consumer(service, each, pool, log, clocks, has_all=True, tables=tables) for each in projections]


async def fold(
    service: str, projections: Sequence[Projection], pool: Any, access: KafkaAccess, progress: ReportProgress
) -> int:
    """Fold projections from their checkpoints to the ends of their topics.

    Returns the number of records that they read.
    """
    consumers = _consumers(service, projections, pool, PostgresTables)
    topics = dict.fromkeys(topic for each in projections for topic in each.topics)
    return sum(
        [
            await _fold(topic, [each for each in consumers if topic in each.definition.topics], access, progress)
            for topic in topics
        ]
    )


async def _fold(topic: str, consumers: Sequence[Consumer], access: KafkaAccess, progress: ReportProgress) -> int:
    """Fold the rest of a topic, and return the number of records that its consumers read."""
    async with TopicReader(topic, access) as reader:
        folding = await _Folding.begun(topic, reader.ends, consumers)
        at = {n: max(reader.starts[n], folding.next(n)) for n in reader.ends}
        total, goal = 0, sum(reader.ends[n] - offset for n, offset in at.items()) * len(consumers)
        async for received in ahead(_received(reader, at, folding.types)):
            total += await folding.take(received)
            progress(f"folding {topic}", total, goal)
    return total


async def _received(reader: TopicReader, at: dict[int, int], types: frozenset[str]) -> AsyncIterator[list[Received]]:
    while batches := await reader.read(at, at):
        yield [receive(raw, types) for batch in batches.values() for raw in batch]


class _Folding:
    """The folding of a topic by consumers that read it together."""

    def __init__(
        self, consumers: Sequence[Consumer], partitions: Sequence[Partition], reached: Sequence[Mapping[Partition, int]]
    ) -> None:
        self._partitions = partitions
        self._consumers = list(zip(consumers, reached, strict=True))
        self.types = frozenset(chain.from_iterable(consumer.definition.types for consumer in consumers))

    @classmethod
    async def begun(cls, topic: str, numbers: Iterable[int], consumers: Sequence[Consumer]) -> "_Folding":
        partitions = [(topic, n) for n in numbers]
        return cls(consumers, partitions, [await consumer.assigned(partitions) for consumer in consumers])

    def next(self, number: int) -> int:
        """Return the first offset of a partition that a consumer has not processed."""
        return min(
            reached[topic, n] + 1 for _, reached in self._consumers for topic, n in self._partitions if n == number
        )

    async def take(self, received: Sequence[Received]) -> int:
        """Fold the next records, and return how many each consumer read, in total."""
        portion, shares = Portion.of(received), list[tuple[Consumer, Share]]()
        for consumer, reached in self._consumers:
            records = [
                each
                for each in portion.of_types(consumer.definition.types)
                if each.raw.offset > reached[each.raw.topic, each.raw.partition]
            ]
            if records:
                shares.append((consumer, consumer.share(records, self._partitions)))
        together = await consume_together(shares)
        for consumer, share in shares:
            if consumer.name not in together:
                await consumer.consume(share.records, self._partitions)
        return sum(len(share.records) for _, share in shares)


class FoldAlong:
    """The folding of a service's own topic while it is imported, a batch behind.

    Each record is read once. A batch is folded after its events were committed. What is not folded, because the import
    ends or because a consumer has to begin before the import does, is left to `fold`.
    """

    def __init__(self, service: str, projections: Sequence[Projection], pool: Any) -> None:
        self._topic, self._imported = topic_of(service), dict[Version, Known]()
        mine = [each for each in projections if self._topic in each.topics]
        self._consumers = _consumers(service, mine, pool, partial(_ImportedTables, self._imported))
        self._folding: _Folding | None = None
        self._running: asyncio.Task[int] | None = None
        self.folded = 0
        """How many records the consumers have read."""

    async def begin(self, offsets: Mapping[int, int]) -> bool:
        """Begin where the import does, and return whether anything is folded.

        Args:
            offsets: the partitions, with the first offset of each that is imported.
        """
        if self._consumers:
            folding = await _Folding.begun(self._topic, offsets, self._consumers)
            if all(folding.next(n) >= offset for n, offset in offsets.items()):
                self._folding = folding
        return self._folding is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None
    ) -> None:
        if kind is not None and self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        else:
            await self._finish()

    async def then(self, taken: Taken) -> None:
        """Begin to fold the records of a batch that is imported, once the one before it is folded."""
        await self._finish()
        if self._folding is not None and taken.records:
            self._running = asyncio.create_task(self._take(self._folding, taken))

    async def _take(self, folding: _Folding, taken: Taken) -> int:
        self._imported.clear()
        for _, (envelope, _) in taken.events:
            self._imported[envelope.stream, envelope.version or 0] = Known(
                envelope.hash, envelope.position, envelope.command_id
            )
        folded = 0
        for start in range(0, len(taken.records), AT_ONCE):
            folded += await folding.take(
                [
                    receive(raw, folding.types)
                    if own is None
                    else receive_intact(raw, own.event.envelope, folding.types)
                    for raw, own in taken.records[start : start + AT_ONCE]
                ]
            )
        return folded

    async def _finish(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self.folded += await running


class _ImportedTables(PostgresTables):
    """What consumers store, with what was just imported in memory."""

    def __init__(self, imported: Mapping[Version, Known], db: Queryable) -> None:
        super().__init__(db)
        self._imported = imported

    async def facts(
        self,
        asked: Mapping[str, Asked],
        own: Collection[Version] = (),
        others: Collection[Version] = (),
        *,
        lock: Lock = "none",
    ) -> Facts:
        imported = {version: self._imported[version] for version in own if version in self._imported}
        facts = await super().facts(asked, [each for each in own if each not in imported], others, lock=lock)
        return facts._replace(known={**facts.known, **imported})
