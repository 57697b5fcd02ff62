"""Publishes what is committed, in order: the topic may repeat, never reorder, never skip.

`plan` is the whole decision and pure. The driver below it owns the lease, keeps one unacknowledged batch a partition,
and on any failure throws the producer away and starts again from the checkpoint in the database. Kafka transactions
are not used: their protocol allows lost and torn ones (KIP-890).
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.write.store import Head, Lease, LeaseLost, Store, Unavailable
from shared.events.envelope import StoredEvent

logger = structlog.get_logger(__name__)

READ_EVENTS: Final = 2_000
LEASE_S: Final = 3.0
POLL_S: Final = 0.5
REST: Final = 2
LONGEST_REST_S: Final = 0.15
"""A round of publishing is followed by a rest so many times as long: an event that finds the relay idle goes at once,
those of a busy time go together, and are one fetch and one transaction for each consumer. As long as the quicker of the
last two: one that Kafka was slow with is no reason to wait longer still."""
ALARM_S: Final = 10.0
"""After this long a relay that stopped with an alarm looks whether somebody has repaired it."""
BATCH_BYTES: Final = 512 * 1024
STREAMS_REMEMBERED: Final = 100_000


class OutOfOrder(Exception):
    """The store does not continue what was published. Nothing is published until somebody has looked."""


@dataclass(slots=True)
class Published:
    """What the relay knows of the streams that it has published: each one's last version and hash."""

    heads: dict[str, Head] = field(default_factory=dict)
    last: bytes | None = None
    """The hash of the last event that this relay published."""

    def unknown(self, events: Sequence[StoredEvent]) -> list[str]:
        """The streams among `events` that began before this relay did; the store knows where they stood."""
        first = {e.envelope.stream: e.envelope.version for e in reversed(events)}
        return [stream for stream, version in first.items() if version != 1 and stream not in self.heads]

    def follows(self, event: StoredEvent) -> bool:
        """Whether `event` is the next of its stream."""
        head = self.heads.get(event.envelope.stream, Head())
        return (event.envelope.version, event.envelope.prevhash) == (head.version + 1, head.hash)

    def note(self, event: StoredEvent) -> None:
        self.heads[event.envelope.stream] = Head(event.envelope.version or 0, event.envelope.hash)
        self.last = event.envelope.hash


def partition_of(stream: str, partitions: int) -> int:
    """Where a stream's records go: Kafka's own murmur2 rule, so that every client finds the same partition."""
    return int((murmur2(stream.encode()) & 0x7FFFFFFF) % partitions)


def unpublished(checkpoint: int, events: Sequence[StoredEvent], published: Published) -> Sequence[StoredEvent]:
    """What comes after `checkpoint` among events that were read from it on. The first is what was published last: where
    the store has it no more, PostgreSQL came back older than it was. Raises OutOfOrder."""
    if not checkpoint:
        return events
    if not events or events[0].envelope.position != checkpoint:
        raise OutOfOrder(f"position {checkpoint} was published, and the store has it no more")
    if published.last not in (None, events[0].envelope.hash):
        raise OutOfOrder(f"position {checkpoint} is another event in the store than the one that was published")
    return events[1:]


def plan(
    checkpoint: int, events: Sequence[StoredEvent], published: Published, partitions: int
) -> Mapping[int, Sequence[StoredEvent]]:
    """What to send to which partition after `checkpoint`, in order. Raises OutOfOrder on a gap or a break."""
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


class RelayProgress(Protocol):
    """Told how far the relay is; for metrics. Must not raise or wait."""

    def relayed(self, position: int, events: int) -> None: ...


Guard = Callable[[int], Awaitable[str | None]]
"""Asked with the checkpoint by a new leader, and by one whose store has changed beneath it: why nothing may be
published, or None."""


class Anchors(Protocol):
    """Notes outside of the store where it stood. Must not raise or wait."""

    def note(self, relayed: int, producer: Any) -> None: ...

    async def stop(self) -> None: ...


class Relay:
    """One service's relay. Any number of processes may run one; the lease lets one at a time publish."""

    def __init__(
        self,
        store: Store,
        topic: str,
        access: KafkaAccess,
        *,
        owner: str = f"{socket.gethostname()}:{os.getpid()}",
        progress: RelayProgress | None = None,
        guard: Guard | None = None,
        anchors: Anchors | None = None,
    ) -> None:
        self._store, self._topic, self._access, self._owner = store, topic, access, owner
        self._progress, self._guard, self._anchors = progress, guard, anchors
        self.name = f"relay:{topic}"
        self.alarm: str | None = None
        """Why nothing is published until somebody has looked, if so."""
        self.leading = False
        self._renewed = 0.0
        self._renewing = asyncio.Lock()

    async def run(self) -> None:
        """Relays until cancelled. Faults of Kafka and PostgreSQL are waited out; OutOfOrder raises `alarm`."""
        pause = 0.1
        while True:
            try:
                await self._lead()
                pause = 0.1
            except OutOfOrder as broken:
                self.alarm = str(broken)
                logger.critical("relay stopped: the order is broken", relay=self.name, reason=self.alarm)
                await asyncio.sleep(ALARM_S)
            except LeaseLost as lost:
                logger.warning("relay stands back", relay=self.name, reason=str(lost))
            except (KafkaError, Unavailable, OSError, TimeoutError) as fault:
                logger.warning(
                    "relay starts again from its checkpoint", relay=self.name, fault=repr(fault), pause_s=pause
                )
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
            finally:
                self.leading = False

    async def _lead(self) -> None:
        """Waits for the lease, publishes while it holds it, gives it back."""
        lease = await self._lease()
        while lease is None:
            await asyncio.sleep(LEASE_S / 6)
            lease = await self._lease()
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
            logger.info("relay leads", relay=self.name, token=lease.token, position=lease.position)
            self.leading, self.alarm = True, None
            try:
                await self._publish_while_leading(lease, producer, partitions)
            except OutOfOrder as broken:  # at once, so that the store takes no commands which nobody could publish
                raise OutOfOrder(await self._told_by_guard(lease) or str(broken)) from broken
        finally:
            if self._anchors is not None:
                await self._anchors.stop()
            with suppress(Exception):  # a producer that failed is thrown away, not asked to finish
                async with asyncio.timeout(2):
                    await producer.stop()
            with suppress(Exception):
                await self._store.release(self.name, lease)

    async def _publish_while_leading(self, lease: Lease, producer: AIOKafkaProducer, partitions: int) -> None:
        published, before = Published(), 0.0
        while True:
            began = asyncio.get_running_loop().time()
            known = 1 if lease.position else 0  # the last that was published, read with what follows it
            found = await self._store.read(lease.position - known, READ_EVENTS + known)
            events = unpublished(lease.position, found, published)
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
                await self._store.advance(self.name, lease, events[-1].envelope.position or 0)
                if self._progress is not None:
                    self._progress.relayed(lease.position, len(events))
            if self._anchors is not None:
                self._anchors.note(lease.position, producer)
            await self._keep(lease, LEASE_S / 3)
            if len(events) < READ_EVENTS:
                took = asyncio.get_running_loop().time() - began
                await asyncio.sleep(min(LONGEST_REST_S, REST * min(took, before)) if events else 0)
                before = took
                await self._store.wait(lease.position, POLL_S)

    async def _told_by_guard(self, lease: Lease) -> str | None:
        with suppress(KafkaError, Unavailable, OSError, TimeoutError):  # the alarm is raised without it, too
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
            raise LeaseLost(f"{self.name}: it expired and somebody else took it")
        if renewed.position != lease.position:
            raise LeaseLost(f"{self.name}: its checkpoint was moved from {lease.position} to {renewed.position}")

    async def _keep(self, lease: Lease, age_s: float) -> None:
        """Renews the lease if it is as old as that."""
        async with self._renewing:
            if asyncio.get_running_loop().time() - self._renewed >= age_s:
                await self._renew(lease)

    async def _send(
        self, producer: AIOKafkaProducer, partition: int, events: Sequence[StoredEvent], lease: Lease
    ) -> None:
        """Sends a partition's events in order, each batch after the one before it was acknowledged. Acknowledgements
        may take longer than the lease lasts: it is renewed in time, and who lost it sends nothing more."""
        batch = producer.create_batch()
        for event in events:
            if not self._append(batch, event):
                await self._keep(lease, LEASE_S * 2 / 3)
                await self._acknowledged(producer, batch, partition)
                batch = producer.create_batch()
                if not self._append(batch, event):
                    raise OutOfOrder(
                        f"position {event.envelope.position} has {len(event.data)} bytes: too large to publish"
                    )
        await self._keep(lease, LEASE_S * 2 / 3)
        await self._acknowledged(producer, batch, partition)

    @staticmethod
    def _append(batch: Any, event: StoredEvent) -> bool:
        # The record's time is left to Kafka, which refuses one too far from its own; `ce_time` says when it happened.
        key = event.envelope.stream.encode()
        return batch.append(key=key, value=event.data, timestamp=None, headers=event.headers()) is not None

    async def _acknowledged(self, producer: AIOKafkaProducer, batch: Any, partition: int) -> None:
        if batch.record_count():
            sent: Awaitable[Any] = await producer.send_batch(batch, self._topic, partition=partition)
            async with asyncio.timeout(30):
                await sent
