"""The publication of outcomes to the topics of their publishers.

The table of outcomes is the outbox. An outcome is marked as sent after Kafka has acknowledged it, so a crash may repeat
it, with the same id, and never loses it. The outcomes of one topic of records are sent in the order in which they were
noted. A topic that can't be written to delays no other.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, Self

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.notices import Pause
from shared.eventlog.deliver.relay import BATCH_BYTES, LEASE_S, SendObserver
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Lease, Store, Unavailable
from shared.events import RecordAnswered
from shared.events.envelope import Envelope, publisher_of, source_of, to_headers
from shared.events.registry import OUTCOMES, outcomes_topic, publisher_of_topic
from shared.sql import statements

logger = structlog.get_logger(__name__)

SQL: Final = statements(__file__)
READ_OUTCOMES: Final = 500
POLL_S: Final = 0.1
QUIET_S: Final = 1.0
"""How often outcomes are polled while no checkpoint moves."""
SEND_S: Final = 30.0
LEFT_S: Final = 10.0
"""How long the outcomes of a topic's records wait after they could not be sent."""


class UnsentOutcome(NamedTuple):
    """An outcome that is not published yet, as its table has it; `n` is its number there."""

    n: int
    source: str
    id: str
    type: str
    topic: str
    partition: int
    offset: int
    status: str
    rule: str
    reason: str
    remedy: str
    because: str
    events: str
    time: datetime

    @classmethod
    def of(cls, row: Any) -> Self:
        return cls(*row)

    @property
    def publisher(self) -> str:
        """The publisher of the record, by its topic or else its source; "" if unknown."""
        return publisher_of_topic(self.topic) or publisher_of(self.source)

    def envelope(self, service: str) -> Envelope:
        """Return the envelope of the answer, whose id is the same each time."""
        place = f"{self.topic}:{self.partition}:{self.offset}"
        return Envelope(
            id=f"{place}:{self.status}",
            source=source_of(service),
            type=RecordAnswered.type(),
            stream=self.id or place,
            time=self.time,
            schema=RecordAnswered.SCHEMA,
            causation_id=self.id,
            tenant=self.publisher,
        )

    def event(self) -> RecordAnswered:
        """Return the answer."""
        return RecordAnswered.model_validate(
            {
                "status": self.status,
                "event_source": self.source,
                "event_id": self.id,
                "event_type": self.type,
                "rule": self.rule,
                "reason": self.reason,
                "remedy": self.remedy,
                "because": tuple(json.loads(self.because)),
                "events": tuple(json.loads(self.events)),
                "topic": self.topic,
                "partition": self.partition,
                "offset": self.offset,
            }
        )


class OutcomeObserver(SendObserver, Protocol):
    """A receiver of what was published, for metrics. Its methods must not raise or wait."""

    def outcome(self, publisher: str, status: str) -> None:
        """Take an outcome that Kafka has acknowledged.

        Args:
            publisher: That of the record's topic, or "".
        """


class OutcomeRelay:
    """The publication of one service's outcomes.

    Any number of processes can run it. A lease allows one of them at a time to publish.
    """

    def __init__(
        self,
        service: str,
        store: Store,
        pool: "asyncpg.Pool[asyncpg.Record]",
        access: KafkaAccess,
        *,
        owner: str = f"{socket.gethostname()}:{os.getpid()}",
        observer: OutcomeObserver | None = None,
        pause: Pause | None = None,
    ) -> None:
        self._pause = pause or Pause()
        self._service, self._store, self._pool, self._access = service, store, pool, access
        self._owner, self._observer = owner, observer
        self.name = f"outcomes:{service}"
        self._existing: frozenset[str] = frozenset()
        self._left: dict[str, float] = {}
        """Until when the outcomes of a topic's records wait, after they could not be sent."""
        self._renewed = 0.0

    async def run(self) -> None:
        """Publish outcomes until cancelled.

        Errors of Kafka and PostgreSQL lead to a new start after a pause.
        """
        pause = 0.25
        while True:
            try:
                lease = await self._store.lease(self.name, self._owner, LEASE_S)
                if lease is None:
                    await asyncio.sleep(LEASE_S / 6)
                    continue
                await self._publish_while_leading(lease)
                pause = 0.25
            except (KafkaError, Unavailable, OSError, TimeoutError, *TRANSIENT) as fault:
                logger.warning("outcomes can't be published now", relay=self.name, fault=repr(fault), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _publish_while_leading(self, lease: Lease) -> None:
        self._renewed = asyncio.get_running_loop().time()
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
            while await self._leads(lease):
                if not await self.publish(producer, lease):
                    await self._pause.wait(POLL_S, QUIET_S)
        finally:
            with suppress(Exception):  # A producer that failed is discarded, whether or not it stops cleanly.
                async with asyncio.timeout(2):
                    await producer.stop()
            with suppress(Exception):
                await self._store.release(self.name, lease)

    async def _leads(self, lease: Lease) -> bool:
        """Return whether this process still has the lease; renew it in time."""
        now = asyncio.get_running_loop().time()
        if now - self._renewed < LEASE_S / 3:
            return True
        renewed = await self._store.lease(self.name, self._owner, LEASE_S)
        self._renewed = now
        return renewed is not None and renewed.token == lease.token

    async def publish(self, producer: AIOKafkaProducer, lease: Lease) -> int:
        """Send the next outcomes of each topic of records, and return how many were sent.

        Raises:
            KafkaError, TimeoutError: Those of a topic were not all acknowledged. They wait, and those of others are
                sent; then the producer must not be used any more, as it may still send what it has.
        """
        count, fault = 0, None
        for (topic,) in await self._pool.fetch(SQL["topics"]):
            now = asyncio.get_running_loop().time()
            if self._left.get(topic, 0.0) > now or not await self._leads(lease):
                continue
            rows = await self._pool.fetch(SQL["unsent"], topic, READ_OUTCOMES)
            try:
                async with asyncio.timeout(SEND_S):
                    count += await self._send(producer, [UnsentOutcome.of(row) for row in rows])
            except (KafkaError, TimeoutError) as error:
                self._left[topic], fault = now + LEFT_S, error
                logger.warning(
                    "the outcomes of a topic's records wait", relay=self.name, topic=topic, fault=repr(error)
                )
        if fault is not None:
            raise fault
        return count

    async def _send(self, producer: AIOKafkaProducer, outcomes: Sequence[UnsentOutcome]) -> int:
        """Send outcomes in order, each batch after the one before it was acknowledged and marked."""
        for publisher in dict.fromkeys(outcome.publisher for outcome in outcomes):
            topic, batch, sent = await self._target(producer, publisher), producer.create_batch(), list[UnsentOutcome]()
            for outcome in (each for each in outcomes if each.publisher == publisher):
                if not self._append(batch, outcome):
                    await self._acknowledged(producer, topic, batch, sent)
                    batch, sent = producer.create_batch(), []
                    self._append(batch, outcome)
                sent.append(outcome)
            await self._acknowledged(producer, topic, batch, sent)
        return len(outcomes)

    async def _target(self, producer: AIOKafkaProducer, publisher: str) -> str:
        """Return the topic of a publisher's outcomes: its own, or that of all others."""
        own = outcomes_topic(publisher)
        if own not in self._existing:
            self._existing = frozenset((await producer.client.fetch_all_metadata()).topics())
        return own if own in self._existing else OUTCOMES

    def _append(self, batch: Any, outcome: UnsentOutcome) -> bool:
        envelope = outcome.envelope(self._service)
        key, headers = envelope.stream.encode(), to_headers(envelope)
        return batch.append(key=key, value=outcome.event().data(), timestamp=None, headers=headers) is not None

    async def _acknowledged(
        self, producer: AIOKafkaProducer, topic: str, batch: Any, outcomes: Sequence[UnsentOutcome]
    ) -> None:
        error = ""
        try:
            sent: Awaitable[Any] = await producer.send_batch(batch, topic, partition=0)
            await sent
        except BaseException as failed:
            error = type(failed).__name__
            raise
        finally:
            if self._observer is not None:
                self._observer.sent(topic, len(outcomes), error)
        await self._pool.execute(SQL["sent"], [outcome.n for outcome in outcomes])
        if self._observer is not None:
            for outcome in outcomes:
                self._observer.outcome(publisher_of_topic(outcome.topic), outcome.status)
