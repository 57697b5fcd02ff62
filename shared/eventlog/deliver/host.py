"""The consumer host, which passes batches of records from Kafka to consumers.

It uses FastStream and aiokafka, whose defaults lose data; the tests in `tests/contracts/` prove each setting here. A
consumer's progress is its checkpoint in the database: on assignment the consumer seeks there. The offsets that are
committed to Kafka are for monitoring tools only.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from math import ceil
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from shared.eventlog.deliver.consumer import BATCH_RECORDS, Consumer, Fault, Observer
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.lag import Lags, PartitionLag
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.projection import Reactions
from shared.eventlog.deliver.received import Partition, Received, receive, weight
from shared.eventlog.deliver.records import raw_of
from shared.events.envelope import type_on_wire
from shared.events.registry import INBOUND, is_inbound, topics_pattern
from shared.events.structured import in_json

logger = structlog.get_logger(__name__)

POLL_MS: Final = 1_000
LINGER_S: Final = 0.5
"""How long records of ignored types wait for a record that the consumer handles.

Each batch is a transaction, and about three of four records that a consumer gets only move its checkpoint."""
WATCH_EVERY_S: Final = 5.0
STALLED_S: Final = 60.0
MAX_PAUSE_S: Final = 30.0
GAP_PATIENCE_S: Final = 3.0
"""How long a missing version is waited for, by fetching its partition again.

A topic never skips an event, so a version that is missing hardly ever comes, and the rest of its partition waits."""
GAP_PAUSE_S: Final = 1.0
"""The longest pause between these fetches, whatever the partition waited for before."""
IMPATIENT_S: Final = 600.0
"""How long after that the partition's other gaps are parked at once."""
APART_S: Final = 0.05
"""How long the next batch waits for publishers' records. Then their partitions are paused, and it does not."""
READ_BYTES: Final = 256 * 1024
"""The weight of records after which other tasks get a turn, so that a flood of large records does not block them."""

BROKER_SETTINGS: Final[Mapping[str, Any]] = {
    "consumer_only": True,
    "acks": "all",
    "enable_idempotence": True,
    "allow_auto_create_topics": False,
    "metadata_max_age_ms": 5_000,  # A new publisher's topic is found within this time.
    "apply_types": False,
    "graceful_timeout": 15.0,
    "log_level": logging.DEBUG,
}
SUBSCRIBER_SETTINGS: Final[Mapping[str, Any]] = {
    "batch": True,
    "ack_policy": AckPolicy.MANUAL,
    "auto_offset_reset": "earliest",
    "max_records": BATCH_RECORDS,
    "batch_timeout_ms": POLL_MS,
    "fetch_max_wait_ms": 500,
    "session_timeout_ms": 6_000,  # The partitions of a killed process move to another one after this time.
    "heartbeat_interval_ms": 1_500,
    "max_partition_fetch_bytes": 2 * 1024 * 1024,
}


class Stalled(Exception):
    """A consumer makes no progress, although it has records to process and no error."""


async def parse(batch: tuple[ConsumerRecord, ...]) -> KafkaMessage:
    """Return the records of a batch unchanged.

    FastStream's own parser decodes headers and raises on a null value or one that is not UTF-8. The whole batch is then
    lost, under every acknowledgement policy.
    """
    return KafkaMessage(raw_message=batch, body=b"", consumer=_NoConsumer())


async def decode(message: KafkaMessage) -> Any:
    """Return the records of a message that `parse` made."""
    return message.raw_message


class _NoConsumer:
    """The consumer of a message, which commits nothing.

    FastStream's `ack()` would commit all that was fetched, including records that failed.
    """

    async def commit(self) -> None: ...

    def seek(self, partition: TopicPartition, offset: int) -> None: ...


class Feed(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """The subscription of one consumer: its partitions, their pauses and its progress."""

    def __init__(self, consumer: Consumer, broker: KafkaBroker, observer: Observer | None) -> None:
        self.consumer = consumer
        self._observer = observer
        self._mine: dict[Partition, int] = {}
        """The next offset to fetch from each assigned partition."""
        self._fetched: list[ConsumerRecord] = []
        """The fetched records that wait to be processed. None was fetched before its partition's last seek."""
        types = consumer.definition.types
        self._types = frozenset(name.encode() for each in types for name in (each, type_on_wire(each)))
        self._pauses: dict[Partition, float] = {}
        self._gap_since: dict[Partition, float] = {}
        self._impatient_until: dict[Partition, float] = {}
        self._retries: set[asyncio.Task[None]] = set()
        self._apart: dict[Partition, asyncio.Task[None]] = {}
        """The batches of publishers' partitions that are processed while other records are, one a partition."""
        self._committed: dict[Partition, int] = {}
        self._stands: dict[Partition, tuple[int, float]] = {}
        """The next offset of each partition, and since when it has not changed."""
        self._joined = False
        self._lags = Lags()
        self.lag: int | None = None
        """The number of unprocessed records at the last check, or None before the first check."""
        self.fault: str | None = None
        topics = consumer.definition.topics
        inbound = INBOUND in topics  # This is a family of topics, and each new publisher adds one.
        self._subscriber: Any = broker.subscriber(
            *(() if inbound else topics),
            pattern=topics_pattern(topics) if inbound else None,
            group_id=consumer.name,
            listener=self,
            parser=parse,
            decoder=decode,
            **SUBSCRIBER_SETTINGS,
        )
        self._subscriber.get_msg = self.next_batch
        self._subscriber(self.handle)

    @property
    def _kafka(self) -> AIOKafkaConsumer | None:
        consumer: AIOKafkaConsumer | None = self._subscriber.consumer
        return consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for partition in revoked:
            self._mine.pop((partition.topic, partition.partition), None)
            self._pauses.pop((partition.topic, partition.partition), None)
            self._gap_since.pop((partition.topic, partition.partition), None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Seek to the database's checkpoints. Until then, records of these partitions are skipped."""
        partitions = [(p.topic, p.partition) for p in assigned]
        offsets = await self._checkpoints(partitions) if partitions else {}
        for partition, offset in offsets.items():
            self._seek(partition, offset + 1)
        self._joined = True
        logger.info("consumer assigned", consumer=self.consumer.name, partitions=len(partitions))

    async def _checkpoints(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        pause = 0.1
        while True:
            try:
                offsets = await self.consumer.assigned(partitions)
            except Fault as fault:
                self.fault = str(fault)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 2.0)
            else:
                self.fault = None
                return offsets

    def _seek(self, partition: Partition, offset: int) -> None:
        if self._kafka is None:
            return
        with suppress(IllegalStateError):  # The partition was assigned to another member in the meantime.
            self._kafka.seek(TopicPartition(*partition), offset)
            self._mine[partition] = offset
            self._fetched = [r for r in self._fetched if (r.topic, r.partition) != partition]

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
        """Return whether the consumer may handle the record's type, as far as its headers say."""
        return any(n == "ce_type" and v in self._types for n, v in record.headers) or in_json(record.headers)

    async def handle(self, _batch: Sequence[ConsumerRecord]) -> None:
        """Process the fetched records, except those that a seek has dropped since.

        Each partition of publishers' records is a batch of its own, so that a slow sender delays nobody else. Errors
        are not raised, because FastStream would log them and go on with the next batch.
        """
        received = await self._read()
        batch, self._fetched = self._fetched, []
        mine = [r for r in batch if r.offset >= self._mine.get((r.topic, r.partition), r.offset + 1)]
        together: list[ConsumerRecord] = []
        batches: dict[Partition, list[ConsumerRecord]] = {}
        for record in mine:
            alone = is_inbound(record.topic) and isinstance(self.consumer.definition, Reactions)
            (batches.setdefault((record.topic, record.partition), []) if alone else together).append(record)
        for partition in batches.keys() & self._apart.keys():
            self._not_yet(partition, batches.pop(partition)[0].offset)
        apart = {p: asyncio.create_task(self._process(records, received)) for p, records in batches.items()}
        if together:
            await self._process(together, received)
        if apart:
            await asyncio.wait(apart.values(), timeout=APART_S)
        for partition, task in apart.items():
            if not task.done():
                self._leave_apart(partition, task)

    def _leave_apart(self, partition: Partition, task: "asyncio.Task[None]") -> None:
        """Fetch no more of this partition until its batch is processed."""

        def again(_done: "asyncio.Task[None]") -> None:
            del self._apart[partition]
            if self._kafka is not None and partition not in self._pauses:
                with suppress(IllegalStateError):
                    self._kafka.resume(TopicPartition(*partition))

        self._apart[partition] = task
        self._hold(partition)
        task.add_done_callback(again)

    def _hold(self, partition: Partition) -> None:
        if self._kafka is not None:
            with suppress(IllegalStateError):
                self._kafka.pause(TopicPartition(*partition))

    def _not_yet(self, partition: Partition, offset: int) -> None:
        """Fetch these records again once the partition's batch before them is processed.

        A pause that is over, or a new assignment, can bring them before. Processed beside that batch, they could move
        the checkpoint past records that are not processed.
        """
        self._hold(partition)
        self._seek(partition, offset)

    def close(self) -> None:
        """End what is processed apart. It is processed again by whoever gets the partition."""
        for task in [*self._apart.values()]:
            task.cancel()

    async def _process(self, batch: Sequence[ConsumerRecord], received: Mapping[int, Received]) -> None:
        records = [received[id(r)] for r in batch]
        first = {(r.topic, r.partition): r.offset for r in reversed(batch)}
        self._lags.fetched(batch)
        topics = Counter(r.topic for r in batch)
        began, error = asyncio.get_running_loop().time(), ""
        try:
            done = await self.consumer.consume(records, self._impatient())
        except Fault as fault:
            error = type(fault.__cause__ or fault).__name__
            self._back_off(first, str(fault))
        except Exception as bug:
            error = type(bug).__name__
            logger.exception("a consumer failed: it tries again", consumer=self.consumer.name)
            self._back_off(first, repr(bug))
        else:
            await self._processed(first, done)
        if self._observer is not None:
            took = asyncio.get_running_loop().time() - began
            self._observer.delivered(self.consumer.name, topics)
            self._observer.processed(self.consumer.name, topics, took, error)

    async def _read(self) -> dict[int, Received]:
        """Read the fetched records, and return them by the identity of the Kafka record.

        Other tasks get a turn between large records. The records stay in `_fetched` until they are read, so that a seek
        in the meantime drops those of its partition.
        """
        types, now, size = self.consumer.definition.types, self.consumer.now(), 0
        received: dict[int, Received] = {}
        for record in list(self._fetched):
            received[id(record)] = receive(raw_of(record), types, now)
            size += weight(record.headers, record.value)
            if size >= READ_BYTES:
                size = 0
                await asyncio.sleep(0)
        return received

    async def _processed(self, first: Mapping[Partition, int], done: BatchPlan) -> None:
        """Note the offsets that a batch reached, and fetch again what it could not process.

        Args:
            first: The first offset of each partition in the batch.
        """
        self.fault = "; ".join(done.gaps) or None
        for partition, offset in done.offsets.items():
            if partition in self._mine:
                # A partition that was revoked in the meantime must not get an offset: if it is assigned again, its
                # first records come from the offset in Kafka, until the seek to the database's checkpoint.
                self._mine[partition] = offset + 1
            if partition not in done.refetch:
                self._pauses.pop(partition, None)
                self._gap_since.pop(partition, None)
        if done.refetch:
            for partition in done.refetch:
                self._gap_since.setdefault(partition, asyncio.get_running_loop().time())
            self._back_off(done.refetch, self.fault or "a version is missing", GAP_PAUSE_S)
        skipped = [p for p in first if p not in done.offsets and p not in done.refetch]
        if skipped:  # The checkpoint is ahead of these records, was set back, or no longer exists.
            await self.on_partitions_assigned([TopicPartition(*p) for p in skipped])

    def _impatient(self) -> set[Partition]:
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
                    "a version is still missing: its stream is parked", consumer=self.consumer.name, partition=partition
                )
        self._impatient_until = {p: until for p, until in self._impatient_until.items() if until > now}
        return set(self._impatient_until)

    def _back_off(self, offsets: Mapping[Partition, int], fault: str, longest_s: float = MAX_PAUSE_S) -> None:
        """Pause these partitions, longer each time, and then fetch from these offsets again.

        Other partitions go on.
        """
        self.fault = fault
        for partition, offset in offsets.items():
            pause = min(2 * self._pauses.get(partition, 0.1), longest_s)
            self._pauses[partition] = pause
            logger.warning(
                "a consumer pauses a partition",
                consumer=self.consumer.name,
                partition=partition,
                fault=fault[:300],
                pause_s=pause,
            )
            if self._kafka is not None:
                with suppress(IllegalStateError):
                    self._kafka.pause(TopicPartition(*partition))
            self._seek(partition, offset)
            task = asyncio.create_task(self._resume(partition, pause))
            self._retries.add(task)
            task.add_done_callback(self._retries.discard)

    async def _resume(self, partition: Partition, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        if self._kafka is not None:
            with suppress(IllegalStateError):
                self._kafka.resume(TopicPartition(*partition))

    async def check_progress(self) -> None:
        """Compare the progress with the ends of the partitions.

        Commit the offsets to Kafka as well, for monitoring tools.

        Raises:
            Stalled: A partition makes no progress.
        """
        kafka = self._kafka
        if kafka is None or not self._mine:
            self.lag = 0 if self._joined and kafka is not None else None  # Other members may have all partitions.
            if self.lag is not None and self._observer is not None:
                self._observer.lagging(self.consumer.name, {})
            return
        mine = dict(self._mine)
        ends = await kafka.end_offsets([TopicPartition(*p) for p in mine])
        lags = self._lags.at(mine, {(p.topic, p.partition): end for p, end in ends.items()}, time.time())
        self.lag = sum(lag.records for lag in lags.values())
        if self._observer is not None:
            self._observer.lagging(self.consumer.name, lags)
        if back := await self.consumer.set_back(list(mine)):
            logger.warning("checkpoints were set back", consumer=self.consumer.name, partitions=back)
            await self.on_partitions_assigned([TopicPartition(*p) for p in back])
        if self._beyond(ends):
            await self.on_partitions_assigned([TopicPartition(*p) for p in mine])  # Checkpoints may have been moved.
            if lost := self._beyond(ends):
                self.fault = f"its checkpoint is beyond the end of {', '.join(lost)}: run `tenure restore topic`"
                return
        self._watch(mine, lags)
        fresh = {p: offset for p, offset in mine.items() if self._committed.get(p) != offset}
        if fresh:
            with suppress(KafkaError, IllegalStateError):
                await kafka.commit({TopicPartition(*p): offset for p, offset in fresh.items()})
                self._committed |= fresh

    def _watch(self, mine: Mapping[Partition, int], lags: Mapping[Partition, PartitionLag]) -> None:
        """Raise Stalled if a partition has records to process and no pause, but makes no progress.

        The time of a pause does not count.
        """
        now, before = asyncio.get_running_loop().time(), self._stands
        stands = {
            p: before[p]
            if p in before and before[p][0] == offset and lags[p].records and p not in self._pauses
            else (offset, now)
            for p, offset in mine.items()
        }
        self._stands = stands
        for partition, (_, since) in stands.items():
            if now - since > STALLED_S:
                raise Stalled(
                    f"{self.consumer.name} has {lags[partition].records} records to process in {partition[0]} "
                    f"[{partition[1]}] and made no progress for {STALLED_S:.0f} s"
                )

    def _beyond(self, ends: Mapping[TopicPartition, int]) -> list[str]:
        """Return the partitions that end before this consumer's next offset.

        Their topic was created again or has lost its last records. New records in them would never be read.
        """
        return [
            f"{t} [{n}]" for (t, n), offset in self._mine.items() if offset > ends.get(TopicPartition(t, n), offset)
        ]

    @property
    def ready(self) -> bool:
        """Whether the progress was checked and there is no error."""
        return self.lag is not None and self.fault is None


class ConsumerHost:
    """All consumers of one process."""

    def __init__(self, consumers: Sequence[Consumer], access: KafkaAccess, observer: Observer | None = None) -> None:
        self._consumers, self._access, self._observer = consumers, access, observer
        self.feeds: list[Feed] = []

    async def run(self) -> None:
        """Consume until cancelled.

        Raises:
            Stalled: A consumer makes no progress. The process should end and be started again.
        """
        pause = 0.5
        while True:
            broker = KafkaBroker(
                self._access.bootstrap,
                security=self._access.broker_security(),
                logger=logging.getLogger("faststream"),
                client_id="tenure",
                **BROKER_SETTINGS,
            )
            self.feeds = [Feed(consumer, broker, self._observer) for consumer in self._consumers]
            try:
                await broker.start()
                pause = 0.5
                await self._watch()
            except KafkaError as fault:
                logger.warning("Kafka cannot be reached", fault=repr(fault), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 5.0)
            finally:
                for feed in self.feeds:
                    feed.close()
                with suppress(Exception):
                    async with asyncio.timeout(10):
                        await asyncio.shield(asyncio.ensure_future(broker.stop()))

    async def _watch(self) -> None:
        while True:
            # Check often while a feed is not ready, so that its readiness shows soon.
            await asyncio.sleep(WATCH_EVERY_S if all(feed.ready for feed in self.feeds) else 0.2)
            # At the same time, because a feed's request to Kafka waits for the fetch in flight on its connection.
            await asyncio.gather(*(self._check_progress(feed) for feed in self.feeds))

    async def _check_progress(self, feed: Feed) -> None:
        try:
            async with asyncio.timeout(10):
                await feed.check_progress()
        except (KafkaError, TimeoutError, IllegalStateError, Fault) as fault:
            logger.warning("a consumer's progress cannot be checked", consumer=feed.consumer.name, fault=repr(fault))
