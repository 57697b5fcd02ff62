"""Feeds consumers from Kafka, through FastStream, in batches.

FastStream's and aiokafka's defaults lose data; what is set here, and why, is held by tests/contracts/. The database's
checkpoint is the truth: on assignment a consumer seeks there, and what is committed to Kafka is for lag tools only.
"""

import asyncio
import logging
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
from shared.eventlog.deliver.plan import BatchPlan, Partition, Received, receive, weight
from shared.eventlog.deliver.records import raw_of
from shared.events.registry import INBOUND, topics_pattern

logger = structlog.get_logger(__name__)

POLL_MS: Final = 1_000
LINGER_S: Final = 0.5
"""How long records of no use to a consumer wait for one that is: each batch is a transaction, and three of four records
that a consumer is given only have to be noted as dealt with."""
WATCH_EVERY_S: Final = 5.0
STALLED_S: Final = 60.0
MAX_PAUSE_S: Final = 30.0
GAP_PATIENCE_S: Final = 3.0
"""So long a missing version is fetched again. A topic never skips, so that it hardly ever comes, and all that lies
behind it in its partition waits."""
GAP_PAUSE_S: Final = 1.0
"""The longest pause of these: whatever the partition had to wait for before."""
IMPATIENT_S: Final = 600.0
"""So long after that the partition's other gaps are parked at once."""
READ_BYTES: Final = 256 * 1024
"""So much is read at a time: a flood of large records must not keep a process from its other work."""

BROKER_SETTINGS: Final[Mapping[str, Any]] = {
    "consumer_only": True,
    "acks": "all",
    "enable_idempotence": True,
    "allow_auto_create_topics": False,
    "metadata_max_age_ms": 5_000,  # within so long a new publisher's topic is read
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
    "session_timeout_ms": 6_000,  # the partitions of a killed process move after this
    "heartbeat_interval_ms": 1_500,
    "max_partition_fetch_bytes": 2 * 1024 * 1024,
}


class Stalled(Exception):
    """A consumer makes no progress although there is something to consume, and does not say why."""


async def parse(batch: tuple[ConsumerRecord, ...]) -> KafkaMessage:
    """Hands the records on as they are. FastStream's own parser decodes headers, and on a null or non-UTF-8 one it
    raises, and the whole batch vanishes under every acknowledgement policy."""
    return KafkaMessage(raw_message=batch, body=b"", consumer=_NoConsumer())


async def decode(message: KafkaMessage) -> Any:
    return message.raw_message


class _NoConsumer:
    """FastStream's bare ack() would commit whatever was fetched, failed records included: it commits nothing here."""

    async def commit(self) -> None: ...

    def seek(self, partition: TopicPartition, offset: int) -> None: ...


class Feed(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One consumer's subscription: its partitions, their pauses, its progress."""

    def __init__(self, consumer: Consumer, broker: KafkaBroker, observer: Observer | None) -> None:
        self.consumer = consumer
        self._observer = observer
        self._mine: dict[Partition, int] = {}  # the next offset to fetch
        self._fetched: list[ConsumerRecord] = []
        """What waits to be dealt with; none of it from before its partition's last seek."""
        self._types = frozenset(name.encode() for name in consumer.what.types)
        self._pauses: dict[Partition, float] = {}
        self._gap_since: dict[Partition, float] = {}
        self._impatient_until: dict[Partition, float] = {}
        self._retries: set[asyncio.Task[None]] = set()
        self._committed: dict[Partition, int] = {}
        self._stands: dict[Partition, tuple[int, float]] = {}  # the next offset, and since when it is that
        self._joined = False
        self.lag: int | None = None
        """Records not dealt with yet, as of the last look; None before the first."""
        self.fault: str | None = None
        topics = consumer.what.topics
        inbound = INBOUND in topics  # a family of topics, to which one comes with each new publisher
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
        """Seeks to the database's checkpoints. Until that went through, records of these partitions are passed over."""
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
        with suppress(IllegalStateError):  # the partition went elsewhere meanwhile
            self._kafka.seek(TopicPartition(*partition), offset)
            self._mine[partition] = offset
            self._fetched = [r for r in self._fetched if (r.topic, r.partition) != partition]

    async def next_batch(self, kafka: AIOKafkaConsumer) -> tuple[ConsumerRecord, ...]:
        """Waits until there is something to do, and no longer. FastStream's own, where a wait brought nothing, sleeps
        as long again beside records that have come meanwhile: either they lie about, or an idle process wakes up
        hundreds of times a second."""
        clock, due, concerned = asyncio.get_running_loop().time, 0.0, False
        while not (self._fetched and (concerned or clock() >= due or len(self._fetched) >= BATCH_RECORDS)):
            wait_ms = ceil(1000 * max(0.0, due - clock())) if self._fetched else POLL_MS
            found = await kafka.getmany(timeout_ms=wait_ms, max_records=BATCH_RECORDS - len(self._fetched))
            if not self._fetched:
                due = clock() + LINGER_S
            for record in chain.from_iterable(found.values()):
                self._fetched.append(record)
                concerned = concerned or any(n == "ce_type" and v in self._types for n, v in record.headers)
        return tuple(self._fetched)

    async def handle(self, _batch: Sequence[ConsumerRecord]) -> None:
        """Deals with what was fetched and not sought away from since. Never raises: FastStream would log it and go on
        with the next."""
        known = await self._read()
        batch, self._fetched = self._fetched, []
        mine = [r for r in batch if r.offset >= self._mine.get((r.topic, r.partition), r.offset + 1)]
        if not mine:
            return
        records = [known[id(r)] for r in mine]
        first = {(r.topic, r.partition): r.offset for r in reversed(mine)}
        try:
            done = await self.consumer.consume(records, self._impatient())
        except Fault as fault:
            self._back_off(first, str(fault))
        except Exception as bug:
            logger.exception("consumer fails", consumer=self.consumer.name)
            self._back_off(first, repr(bug))
        else:
            await self._dealt_with(first, done)

    async def _read(self) -> dict[int, Received]:
        """What was fetched, read, by the record's identity; others have their turn between large ones. They stay in
        `_fetched` meanwhile, so that those of a partition that is sought away from are given up as ever."""
        types, now, done = self.consumer.what.types, self.consumer.now(), 0
        known: dict[int, Received] = {}
        for record in list(self._fetched):
            known[id(record)] = receive(raw_of(record), types, now)
            done += weight(record.headers, record.value)
            if done >= READ_BYTES:
                done = 0
                await asyncio.sleep(0)
        return known

    async def _dealt_with(self, first: Mapping[Partition, int], done: BatchPlan) -> None:
        self.fault = "; ".join(done.gaps) or None
        for partition, offset in done.offsets.items():
            if partition in self._mine:
                # Not one that was taken away meanwhile: given back, its next records come from wherever Kafka notes
                # until the database was asked, and those are none to deal with.
                self._mine[partition] = offset + 1
            if partition not in done.refetch:
                self._pauses.pop(partition, None)
                self._gap_since.pop(partition, None)
        if done.refetch:
            for partition in done.refetch:
                self._gap_since.setdefault(partition, asyncio.get_running_loop().time())
            self._back_off(done.refetch, self.fault or "a gap", GAP_PAUSE_S)
        behind = [p for p in first if p not in done.offsets and p not in done.refetch]
        if behind:  # the database is ahead of these records, or was set back, or has forgotten the partition
            await self.on_partitions_assigned([TopicPartition(*p) for p in behind])

    def _impatient(self) -> set[Partition]:
        """The partitions in which no gap is waited for any more: one was, for long enough, and in vain. That holds for
        a while, so that a flood of gaps doesn't cost that patience each time."""
        now = asyncio.get_running_loop().time()
        for partition, since in list(self._gap_since.items()):
            if now - since >= GAP_PATIENCE_S:
                self._gap_since.pop(partition)
                self._impatient_until[partition] = now + IMPATIENT_S
                logger.error("a gap stays: its stream is parked", consumer=self.consumer.name, partition=partition)
        self._impatient_until = {p: until for p, until in self._impatient_until.items() if until > now}
        return set(self._impatient_until)

    def _back_off(self, offsets: Mapping[Partition, int], fault: str, longest_s: float = MAX_PAUSE_S) -> None:
        """Pauses these partitions, for longer each time, then fetches from these offsets again; others flow on."""
        self.fault = fault
        for partition, offset in offsets.items():
            pause = min(2 * self._pauses.get(partition, 0.1), longest_s)
            self._pauses[partition] = pause
            logger.warning(
                "consumer waits", consumer=self.consumer.name, partition=partition, fault=fault[:300], pause_s=pause
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
        """Compares progress with the ends of the partitions, and tells Kafka the offsets, for lag tools."""
        kafka = self._kafka
        if kafka is None or not self._mine:
            self.lag = 0 if self._joined and kafka is not None else None  # others may have all partitions
            return
        mine = dict(self._mine)
        ends = await kafka.end_offsets([TopicPartition(*p) for p in mine])
        lags = {p: max(0, ends[TopicPartition(*p)] - offset) for p, offset in mine.items()}
        self.lag = sum(lags.values())
        for (topic, partition), lag in lags.items():
            if self._observer is not None:
                self._observer.lagging(self.consumer.name, topic, partition, lag)
        if back := await self.consumer.set_back(list(mine)):
            logger.warning("checkpoints were set back", consumer=self.consumer.name, partitions=back)
            await self.on_partitions_assigned([TopicPartition(*p) for p in back])
        if self._beyond(ends):
            await self.on_partitions_assigned([TopicPartition(*p) for p in mine])  # the database may know better by now
            if lost := self._beyond(ends):
                self.fault = f"its checkpoint lies behind the end of {', '.join(lost)}: `tenure restore topic` mends it"
                return
        self._watch(mine, lags)
        fresh = {p: offset for p, offset in mine.items() if self._committed.get(p) != offset}
        if fresh:
            with suppress(KafkaError, IllegalStateError):
                await kafka.commit({TopicPartition(*p): offset for p, offset in fresh.items()})
                self._committed |= fresh

    def _watch(self, mine: Mapping[Partition, int], lags: Mapping[Partition, int]) -> None:
        """Raises Stalled where a partition that has records to go, and no reason to wait, does not move. The time of a
        wait with a reason does not count once the reason is gone."""
        now, before = asyncio.get_running_loop().time(), self._stands
        stood = {
            p: before[p]
            if p in before and before[p][0] == offset and lags[p] and p not in self._pauses
            else (offset, now)
            for p, offset in mine.items()
        }
        self._stands = stood
        for partition, (_, since) in stood.items():
            if now - since > STALLED_S:
                raise Stalled(
                    f"{self.consumer.name} has {lags[partition]} records to go in {partition[0]} [{partition[1]}] and "
                    f"made no progress for {STALLED_S:.0f} s"
                )

    def _beyond(self, ends: Mapping[TopicPartition, int]) -> list[str]:
        """The partitions that end before this consumer's place: the topic was made anew or lost its tail, and without
        a word what comes there now would never be read."""
        return [
            f"{t} [{n}]" for (t, n), offset in self._mine.items() if offset > ends.get(TopicPartition(t, n), offset)
        ]

    @property
    def ready(self) -> bool:
        """Whether it has partitions or has looked, and is not waiting on a fault."""
        return self.lag is not None and self.fault is None


class ConsumerHost:
    """All consumers of one process."""

    def __init__(self, consumers: Sequence[Consumer], access: KafkaAccess, observer: Observer | None = None) -> None:
        self._consumers, self._access, self._observer = consumers, access, observer
        self.feeds: list[Feed] = []

    async def run(self) -> None:
        """Consumes until cancelled. Raises Stalled when a consumer stands still: the process should end and be
        started again."""
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
                logger.warning("Kafka can't be reached", fault=repr(fault), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 5.0)
            finally:
                with suppress(Exception):
                    async with asyncio.timeout(10):
                        await asyncio.shield(asyncio.ensure_future(broker.stop()))

    async def _watch(self) -> None:
        while True:  # looks often while somebody is not ready, so that readiness shows soon
            await asyncio.sleep(WATCH_EVERY_S if all(feed.ready for feed in self.feeds) else 0.2)
            # Side by side: what a feed asks Kafka waits behind the fetch under way on its connection.
            await asyncio.gather(*(self._look_at(feed) for feed in self.feeds))

    async def _look_at(self, feed: Feed) -> None:
        try:
            async with asyncio.timeout(10):
                await feed.check_progress()
        except (KafkaError, TimeoutError, IllegalStateError, Fault) as fault:
            logger.warning("can't see how far it is", consumer=feed.consumer.name, fault=repr(fault))
