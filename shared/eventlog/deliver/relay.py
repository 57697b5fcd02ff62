"""The relay, which publishes a service's committed events to its topic, in order.

The topic may repeat an event, but never reorders or skips one. `plan` decides what to publish and is pure. `Relay` owns
the lease and has one unacknowledged batch in each partition. After any failure it discards the producer and starts
again from the checkpoint in the database. It does not use Kafka transactions, because their protocol can lose a
transaction or commit it in part (KIP-890).
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.traced import report_sent
from shared.eventlog.write.store import Head, Lease, LeaseLost, Store, Unavailable
from shared.events.envelope import StoredEvent
from shared.tracing import Tracer

logger = structlog.get_logger(__name__)

READ_EVENTS: Final = 2_000
LEASE_S: Final = 3.0
POLL_S: Final = 0.5
UNSAVED_S: Final = 0.05
"""How long the checkpoint waits for the next events, to be moved by the statement that reads them."""
ALARM_S: Final = 10.0
"""How long a relay that stopped with an alarm waits before it tries again."""
RECHECK_S: Final = 30.0
"""How often a relay that runs checks that its topic still has what was published."""
BATCH_BYTES: Final = 512 * 1024
STREAMS_REMEMBERED: Final = 100_000


class OutOfOrder(Exception):
    """The store does not continue what was published, or the topic has lost some of it.

    Nothing is published until an operator has repaired the store or the topic.
    """


@dataclass(slots=True)
class Published:
    """The last published version and hash of each stream that the relay remembers."""

    heads: dict[str, Head] = field(default_factory=dict)
    last: bytes | None = None
    """The hash of the last event that this relay published."""

    def unknown(self, events: Sequence[StoredEvent]) -> list[str]:
        """Return the streams of `events` whose last published version has to be read from the store."""
        first = {e.envelope.stream: e.envelope.version for e in reversed(events)}
        return [stream for stream, version in first.items() if version != 1 and stream not in self.heads]

    def follows(self, event: StoredEvent) -> bool:
        """Return whether `event` is the next one of its stream."""
        head = self.heads.get(event.envelope.stream, Head())
        return (event.envelope.version, event.envelope.prevhash) == (head.version + 1, head.hash)

    def note(self, event: StoredEvent) -> None:
        """Remember an event as published."""
        self.heads[event.envelope.stream] = Head(event.envelope.version or 0, event.envelope.hash)
        self.last = event.envelope.hash


@lru_cache(maxsize=16_384)
def partition_of(stream: str, partitions: int) -> int:
    """Return the partition of a stream's records, by Kafka's default rule (murmur2 of the key)."""
    return int((murmur2(stream.encode()) & 0x7FFFFFFF) % partitions)


def unpublished(checkpoint: int, events: Sequence[StoredEvent], published: Published) -> Sequence[StoredEvent]:
    """Return the events after the checkpoint.

    Args:
        checkpoint: The last published position, or 0.
        events: The events of the store from the checkpoint on, including the last published one.

    Raises:
        OutOfOrder: The store does not have the last published event, as when PostgreSQL was restored from a backup.
    """
    if not checkpoint:
        return events
    if not events or events[0].envelope.position != checkpoint:
        raise OutOfOrder(f"position {checkpoint} was published, but the store no longer has it")
    if published.last not in (None, events[0].envelope.hash):
        raise OutOfOrder(f"position {checkpoint}: the store has another event than the one that was published")
    return events[1:]


def plan(
    checkpoint: int, events: Sequence[StoredEvent], published: Published, partitions: int
) -> Mapping[int, Sequence[StoredEvent]]:
    """Return the events after `checkpoint` by partition, in the order to send them.

    Raises:
        OutOfOrder: A position is missing, or an event does not continue its stream.
    """
    batches: dict[int, list[StoredEvent]] = {}
    for expected, event in enumerate(events, start=checkpoint + 1):
        if event.envelope.position != expected:
            raise OutOfOrder(
                f"position {expected} should come after {expected - 1}, but {event.envelope.position} does"
            )
        if not published.follows(event):
            raise OutOfOrder(
                f"position {expected}: {event.envelope.stream} version {event.envelope.version} "
                "does not continue version "
                f"{published.heads.get(event.envelope.stream, Head()).version}, the last that was published"
            )
        published.note(event)
        batches.setdefault(partition_of(event.envelope.stream, partitions), []).append(event)
    return batches


class SendObserver(Protocol):
    """A receiver of what was sent to Kafka, for metrics. Its methods must not raise or wait."""

    def sent(self, topic: str, messages: int, error: str) -> None:
        """Take the number of messages in a request.

        Args:
            error: The class of the error that it ended with, or "".
        """


class RelayProgress(Protocol):
    """A receiver of the relay's progress. Its methods must not raise or wait."""

    def relayed(self, position: int, events: int) -> None: ...


class Guard(Protocol):
    """The comparison of a store with its topic.

    Its methods return why nothing may be published, or None.
    """

    async def __call__(self, relayed: int) -> str | None:
        """Compare them fully.

        A relay calls this with its checkpoint when it has got the lease, and when one of them has lost something.
        """

    async def recheck(self, relayed: int) -> str | None:
        """Check that the topic still has what was published, without reading its records.

        Raises KafkaError.
        """


class Anchors(Protocol):
    """The recording of the store's head outside of the store. Its methods must not raise."""

    def note(self, relayed: int, producer: Any) -> None: ...

    async def stop(self) -> None: ...


class Relay:
    """The relay of one service.

    Any number of processes can run it. The lease allows one of them at a time to publish.
    """

    def __init__(
        self,
        store: Store,
        topic: str,
        access: KafkaAccess,
        *,
        owner: str = f"{socket.gethostname()}:{os.getpid()}",
        progress: RelayProgress | None = None,
        observer: SendObserver | None = None,
        guard: Guard | None = None,
        anchors: Anchors | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._store, self._topic, self._access, self._owner, self._tracer = store, topic, access, owner, tracer
        self._progress, self._guard, self._anchors, self._observer = progress, guard, anchors, observer
        self.name = f"relay:{topic}"
        self.alarm: str | None = None
        """Why nothing is published until an operator has repaired it, or None."""
        self.leading = False
        self._acknowledged_to = 0
        """The last position that was sent and acknowledged. The checkpoint is there, or one batch behind."""
        self._renewed = 0.0
        self._renewing = asyncio.Lock()

    async def run(self) -> None:
        """Publish events until cancelled.

        Errors of Kafka and PostgreSQL lead to a new start after a pause. After OutOfOrder, `alarm` has the reason until
        a new start succeeds.
        """
        pause = 0.1
        while True:
            try:
                await self._lead()
                pause = 0.1
            except OutOfOrder as broken:
                self.alarm = str(broken)
                logger.critical(
                    "the relay stopped: the store and its topic do not fit together", relay=self.name, reason=self.alarm
                )
                await asyncio.sleep(ALARM_S)
            except LeaseLost as lost:
                logger.warning("the relay has lost its lease", relay=self.name, reason=str(lost))
            except (KafkaError, Unavailable, OSError, TimeoutError) as fault:
                logger.warning(
                    "the relay starts again from its checkpoint", relay=self.name, fault=repr(fault), pause_s=pause
                )
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
            finally:
                self.leading = False

    async def _lead(self) -> None:
        """Wait for the lease, publish while this process has it, and release it."""
        lease = await self._lease()
        while lease is None:
            await asyncio.sleep(LEASE_S / 6)
            lease = await self._lease()
        self._acknowledged_to = lease.position
        producer = AIOKafkaProducer(
            **self._access.client(),
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            linger_ms=0,
            request_timeout_ms=10_000,
        )
        try:
            await producer.start()
            if self._guard is not None:
                if why := await self._guard(lease.position):
                    raise OutOfOrder(why)
                await self._renew(lease)
            partitions = len(await producer.partitions_for(self._topic))
            logger.info("the relay has the lease", relay=self.name, token=lease.token, position=lease.position)
            self.leading, self.alarm = True, None
            try:
                await self._publish_while_leading(lease, producer, partitions)
            except OutOfOrder as broken:
                self.alarm = str(broken)  # The guard can take long.
                # Call the guard now, so that it fences the store before more commands are accepted.
                raise OutOfOrder(await self._guard_reason(lease) or str(broken)) from broken
        finally:
            if self._anchors is not None:
                await self._anchors.stop()
            with suppress(Exception):  # A producer that failed is discarded, whether or not it stops cleanly.
                async with asyncio.timeout(2):
                    await producer.stop()
            if self._acknowledged_to > lease.position:
                with suppress(Exception):
                    await self._store.advance(self.name, lease, self._acknowledged_to)
            with suppress(Exception):
                await self._store.release(self.name, lease)

    async def _publish_while_leading(self, lease: Lease, producer: AIOKafkaProducer, partitions: int) -> None:
        published, clock = Published(), asyncio.get_running_loop().time
        checked = clock()
        while True:
            stored = await self._read(lease)
            if self._anchors is not None:
                self._anchors.note(lease.position, producer)
            events = unpublished(lease.position, stored, published)
            if events:
                if len(published.heads) > STREAMS_REMEMBERED:
                    published.heads.clear()
                if unknown := published.unknown(events):
                    published.heads |= await self._store.heads(unknown, lease.position)
                batches = plan(lease.position, events, published, partitions)
                sent = (self._send(producer, partition, batch, lease) for partition, batch in batches.items())
                failed = [f for f in await asyncio.gather(*sent, return_exceptions=True) if f is not None]
                if failed:
                    raise failed[0]
                self._acknowledged_to = events[-1].envelope.position or 0
            await self._keep_lease(lease, LEASE_S / 3)
            if clock() - checked >= RECHECK_S:
                await self._recheck(lease)
                checked = clock()
            if len(events) < READ_EVENTS:
                unsaved = self._acknowledged_to > lease.position
                await self._store.wait(self._acknowledged_to, UNSAVED_S if unsaved else POLL_S)

    async def _read(self, lease: Lease) -> Sequence[StoredEvent]:
        """Move the checkpoint to what was acknowledged, and read what follows.

        The last published event is read as well, to compare it.
        """
        before, reached = lease.position, self._acknowledged_to
        if reached == before:
            overlap = 1 if before else 0
            return await self._store.read(before - overlap, READ_EVENTS + overlap)
        stored = await self._store.advance_and_read(self.name, lease, reached, READ_EVENTS + 1)
        if self._progress is not None:
            self._progress.relayed(reached, reached - before)
        return stored

    async def _recheck(self, lease: Lease) -> None:
        """Check that the topic still has what was published, unless Kafka is away.

        Raises OutOfOrder.
        """
        if self._guard is None:
            return
        await self._keep_lease(lease, 0)
        try:
            async with asyncio.timeout(LEASE_S / 2):
                why = await self._guard.recheck(lease.position)
        except (KafkaError, OSError, TimeoutError) as fault:
            logger.info("the relay could not check its topic", relay=self.name, fault=repr(fault))
            return
        if why is not None:
            raise OutOfOrder(why)

    async def _guard_reason(self, lease: Lease) -> str | None:
        with suppress(KafkaError, Unavailable, OSError, TimeoutError):  # The alarm is raised without its reason, too.
            return await self._guard(lease.position) if self._guard is not None else None
        return None

    async def _lease(self) -> Lease | None:
        asked = asyncio.get_running_loop().time()
        lease = await self._store.lease(self.name, self._owner, LEASE_S)
        if lease is not None:
            self._renewed = asked
        return lease

    async def _renew(self, lease: Lease) -> None:
        renewed = await self._lease()
        if renewed is None or renewed.token != lease.token:
            raise LeaseLost(f"{self.name}: the lease expired and another process has taken it")
        if renewed.position != lease.position:
            raise LeaseLost(f"{self.name}: the checkpoint was moved from {lease.position} to {renewed.position}")

    async def _keep_lease(self, lease: Lease, age_s: float) -> None:
        """Renew the lease if its last renewal is at least `age_s` seconds ago."""
        async with self._renewing:
            if asyncio.get_running_loop().time() - self._renewed >= age_s:
                await self._renew(lease)

    async def _send(
        self, producer: AIOKafkaProducer, partition: int, events: Sequence[StoredEvent], lease: Lease
    ) -> None:
        """Send a partition's events in order, each batch after the one before it was acknowledged.

        Acknowledgements can take longer than the lease lasts, so the lease is renewed between batches. If it is lost,
        no further batch is sent.
        """
        batch, first = producer.create_batch(), 0
        for number, event in enumerate(events):
            if not self._append(batch, event):
                await self._keep_lease(lease, LEASE_S * 2 / 3)
                await self._acknowledged(producer, batch, partition, events[first:number])
                batch, first = producer.create_batch(), number
                if not self._append(batch, event):
                    raise OutOfOrder(
                        f"position {event.envelope.position} has {len(event.data)} bytes, which is too large to publish"
                    )
        await self._keep_lease(lease, LEASE_S * 2 / 3)
        await self._acknowledged(producer, batch, partition, events[first:])

    @staticmethod
    def _append(batch: Any, event: StoredEvent) -> bool:
        # Kafka sets the record's timestamp, because it refuses one that is too far from its own. `ce_time` has the
        # event's time.
        key = event.envelope.stream.encode()
        return batch.append(key=key, value=event.data, timestamp=None, headers=event.headers()) is not None

    async def _acknowledged(
        self, producer: AIOKafkaProducer, batch: Any, partition: int, events: Sequence[StoredEvent]
    ) -> None:
        if batch.record_count():
            error, began = "", time.time_ns()
            try:
                sent: Awaitable[Any] = await producer.send_batch(batch, self._topic, partition=partition)
                async with asyncio.timeout(30):
                    await sent
            except BaseException as failed:
                error = type(failed).__name__
                raise
            finally:
                if self._observer is not None:
                    self._observer.sent(self._topic, batch.record_count(), error)
                if self._tracer is not None:
                    report_sent(self._tracer, self._topic, partition, events, began, error)
