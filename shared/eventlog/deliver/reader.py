"""The one reader of a process, which fetches each record once for all its consumers.

Consumers that are in step fold a batch in one transaction, which is as slow as all their folds, but does not wait long
for a lock. A consumer that is not in step, or that reacts to a record, has the records in a lane of its own, which no
other consumer waits for.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from math import ceil
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream.kafka import KafkaBroker

from shared.eventlog.deliver.applying import Fault
from shared.eventlog.deliver.consumer import BATCH_RECORDS, Consumer, Observer, consume_together
from shared.eventlog.deliver.feed import Feed, Offer, Portion, Stalled
from shared.eventlog.deliver.lag import times_of
from shared.eventlog.deliver.offsets import metadata_of
from shared.eventlog.deliver.received import Partition, Received
from shared.eventlog.deliver.records import receive_all
from shared.eventlog.deliver.refetch import Refetcher
from shared.eventlog.deliver.subscribing import POLL_MS, subscriber
from shared.events.envelope import type_on_wire
from shared.events.structured import in_json

logger = structlog.get_logger(__name__)

LINGER_S: Final = 0.5
"""How long records of types that every consumer ignores wait for a record that one handles.

Each batch is a transaction, and such records only move the checkpoints."""


class SharedReader(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """The subscription of a process to all topics that its consumers read."""

    def __init__(
        self,
        group: str,
        consumers: Sequence[Consumer],
        broker: KafkaBroker,
        refetcher: Refetcher,
        observer: Observer | None = None,
    ) -> None:
        self._group, self._refetcher, self._now = group, refetcher, consumers[0].now
        self.feeds = [Feed(consumer, self, observer) for consumer in consumers]
        self._types = frozenset(chain.from_iterable(consumer.definition.types for consumer in consumers))
        self._wire_types = frozenset(name.encode() for each in self._types for name in (each, type_on_wire(each)))
        self._position: dict[Partition, int] = {}
        """The offset of the next record of each assigned partition that is offered to the feeds."""
        self._fetched: list[ConsumerRecord] = []
        """The fetched records that wait to be offered. None was fetched before its partition's last seek."""
        self._paused: set[Partition] = set()
        self._committed: dict[Partition, tuple[int, str]] = {}
        self._joined = False
        topics = dict.fromkeys(chain.from_iterable(consumer.definition.topics for consumer in consumers))
        self._subscriber: Any = subscriber(broker, group, list(topics), self)
        self._subscriber.get_msg = self.next_batch
        self._subscriber(self.handle)

    @property
    def _kafka(self) -> AIOKafkaConsumer | None:
        consumer: AIOKafkaConsumer | None = self._subscriber.consumer
        return consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for partition in ((p.topic, p.partition) for p in revoked):
            self._position.pop(partition, None)
            self._paused.discard(partition)
            for feed in self.feeds:
                feed.revoke(partition)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Go on from the database's checkpoints.

        Until then, records of these partitions are skipped.
        """
        partitions = [(p.topic, p.partition) for p in assigned]
        offsets = await asyncio.gather(*(self._checkpoints(feed, partitions) for feed in self.feeds))
        for partition in partitions:
            self._seek(partition, _start([each[partition] for each in offsets if partition in each]))
        for feed, each in zip(self.feeds, offsets, strict=True):
            for partition, offset in each.items():
                if partition in self._position:
                    feed.place(partition, offset)
        self._joined = True
        logger.info("partitions assigned", group=self._group, partitions=len(partitions))

    async def _checkpoints(self, feed: Feed, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return the next offset of each of these partitions that the feed reads."""
        mine = [partition for partition in partitions if feed.reads(partition[0])]
        return {each: offset + 1 for each, offset in (await feed.assigned(mine)).items()} if mine else {}

    def _seek(self, partition: Partition, offset: int) -> None:
        if self._kafka is None:
            return
        with suppress(IllegalStateError):  # The partition was assigned to another member in the meantime.
            self._kafka.seek(TopicPartition(*partition), offset)
            self._position[partition] = offset
            self._fetched = [r for r in self._fetched if (r.topic, r.partition) != partition]

    def position(self, partition: Partition) -> int:
        """Return the offset of the next record that is offered to the feeds."""
        return self._position.get(partition, 0)

    async def refetch(self, offsets: Mapping[Partition, int]) -> Sequence[ConsumerRecord]:
        """Return records from these offsets on."""
        return await self._refetcher.fetch(offsets)

    def balance(self, partition: Partition) -> None:
        """Fetch the partition's records while a feed takes them, and no others."""
        if self._kafka is None or partition not in self._position:
            return
        wanted = any(feed.takes(partition) for feed in self.feeds)
        with suppress(IllegalStateError):
            if not wanted and partition not in self._paused:
                self._kafka.pause(TopicPartition(*partition))
                self._paused.add(partition)
            elif wanted and partition in self._paused:
                self._kafka.resume(TopicPartition(*partition))
                self._paused.discard(partition)

    async def next_batch(self, kafka: AIOKafkaConsumer) -> tuple[ConsumerRecord, ...]:
        """Wait for records, and return them.

        This replaces FastStream's own function. After an empty poll, that one sleeps for the length of the poll again,
        so either new records wait for it, or an idle process with a short poll wakes up hundreds of times a second.
        """
        clock, due, handled = asyncio.get_running_loop().time, 0.0, False
        while not (self._fetched and (handled or clock() >= due or len(self._fetched) >= BATCH_RECORDS)):
            wait_ms = ceil(1000 * max(0.0, due - clock())) if self._fetched else POLL_MS
            fetched = await kafka.getmany(timeout_ms=wait_ms, max_records=BATCH_RECORDS - len(self._fetched))
            if not self._fetched:
                due = clock() + LINGER_S
            for record in chain.from_iterable(fetched.values()):
                self._fetched.append(record)
                handled = handled or self._handles(record)
        return tuple(self._fetched)

    def _handles(self, record: ConsumerRecord) -> bool:
        """Return whether a consumer may handle the record's type, as far as its headers say."""
        return any(n == "ce_type" and v in self._wire_types for n, v in record.headers) or in_json(record.headers)

    async def handle(self, _batch: Sequence[ConsumerRecord]) -> None:
        """Offer the fetched records to the feeds.

        After an error, the feeds go on from their checkpoints in these partitions. It is not raised, because FastStream
        would log it and go on with the next batch.
        """
        records = list(self._fetched)
        try:
            await self._offer(records)
        except Exception:
            logger.exception("records could not be offered to the consumers: they fetch them again", group=self._group)
            self._take()
            for feed in self.feeds:
                feed.reread_checkpoints({(r.topic, r.partition) for r in records})

    async def _offer(self, records: Sequence[ConsumerRecord]) -> None:
        received = {id(r): each for r, each in zip(records, await self._received(records), strict=True)}
        mine = self._take()
        partitions: dict[Partition, list[Received]] = {}
        for record in mine:
            partitions.setdefault((record.topic, record.partition), []).append(received[id(record)])
        portions = {partition: Portion.of(records_) for partition, records_ in partitions.items()}
        times = times_of(mine)
        offers = [offer for feed in self.feeds if (offer := feed.offer(portions, times)) is not None]
        if offers:
            await self._together(offers)

    def _take(self) -> Sequence[ConsumerRecord]:
        """Move the positions behind the fetched records.

        Returns:
            The records, except those that a seek has dropped.
        """
        fetched, self._fetched = self._fetched, []
        taken = [r for r in fetched if r.offset >= self._position.get((r.topic, r.partition), r.offset + 1)]
        for record in taken:
            self._position[record.topic, record.partition] = record.offset + 1
        return taken

    async def _received(self, records: Sequence[ConsumerRecord]) -> list[Received]:
        return await receive_all(records, self._types, self._now())

    async def _together(self, offers: Sequence[Offer]) -> None:
        """Process the offers in one transaction. A feed for which that fails goes on by itself."""
        began = asyncio.get_running_loop().time()
        try:
            done = await consume_together(
                [(o.feed.consumer, o.feed.consumer.share(o.records, o.feed.impatient())) for o in offers]
            )
        except Exception:
            logger.exception("consumers failed together: each tries again by itself", group=self._group)
            done = {}
        took = asyncio.get_running_loop().time() - began
        for offer in offers:
            if (planned := done.get(offer.feed.name)) is None:
                offer.lane.add([r for r in offer.records if _still(offer, r)])
            else:
                offer.lane.finished(offer.begun, planned)
                offer.feed.observe(offer.records, took)

    async def check_progress(self) -> None:
        """Compare the feeds' progress with the ends of the partitions, and commit it to Kafka.

        A feed whose checkpoints cannot be read does not hold the others.

        Raises:
            Stalled: A consumer makes no progress in a partition.
        """
        await self._refetcher.close_unused()
        kafka = self._kafka
        if kafka is None or not self._position:
            for feed in self.feeds:  # Other members may have all partitions.
                feed.has_no_partitions(0 if self._joined and kafka is not None else None)
            return
        before, position = [feed.next for feed in self.feeds], dict(self._position)
        found = await kafka.end_offsets([TopicPartition(*partition) for partition in position])
        ends = {(p.topic, p.partition): end for p, end in found.items()}
        self._come_back(position, ends)
        await self._check_feeds(before, ends)
        await self._commit(kafka)

    async def _check_feeds(self, before: Sequence[Mapping[Partition, int]], ends: Mapping[Partition, int]) -> None:
        checks = (feed.check_progress(next_, ends) for feed, next_ in zip(self.feeds, before, strict=True))
        results = await asyncio.gather(*checks, return_exceptions=True)
        errors = list[BaseException]()
        for feed, error in zip(self.feeds, results, strict=True):
            if isinstance(error, Fault):
                logger.warning("a consumer's progress cannot be checked", consumer=feed.name, fault=str(error))
            elif error is not None:
                errors.append(error)
        if errors:
            raise next((error for error in errors if isinstance(error, Stalled)), errors[0])

    def _come_back(self, before: Mapping[Partition, int], ends: Mapping[Partition, int]) -> None:
        """Leave positions beyond the ends, which checkpoints of a former topic have led to.

        Args:
            before: The positions before the ends were asked for.
        """
        for partition, end in ends.items():
            if before[partition] > end:
                offsets = [feed.next[partition] for feed in self.feeds if partition in feed.next]
                if within := [offset for offset in offsets if offset <= end]:
                    self._seek(partition, _start(within))

    async def _commit(self, kafka: AIOKafkaConsumer) -> None:
        """Commit the lowest next offset of each partition, with the others' as its metadata."""
        offsets: dict[Partition, dict[str, int]] = {}
        for feed in self.feeds:
            for partition, offset in feed.next.items():
                offsets.setdefault(partition, {})[feed.name] = offset
        notes = {partition: (min(each.values()), metadata_of(each)) for partition, each in offsets.items()}
        fresh = {partition: note for partition, note in notes.items() if self._committed.get(partition) != note}
        if fresh:
            with suppress(KafkaError, IllegalStateError):
                await kafka.commit({TopicPartition(*partition): note for partition, note in fresh.items()})
                self._committed |= fresh

    def close(self) -> None:
        """End what is being processed."""
        for feed in self.feeds:
            feed.close()


def _still(offer: Offer, record: Received) -> bool:
    """Return whether the feed goes on where it was when the record was offered."""
    partition = (record.raw.topic, record.raw.partition)
    return offer.lane.takes(partition) and offer.lane.next[partition] == offer.begun.get(partition)


def _start(offsets: Sequence[int]) -> int:
    """Return where to begin: the lowest of these offsets, without those that are far behind."""
    return min(offset for offset in offsets if offset >= max(offsets) - BATCH_RECORDS)
