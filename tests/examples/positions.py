"""A store's events with their positions, as the records of a topic."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.ordered import Placed, placed
from shared.eventlog.deliver.received import Raw
from shared.eventlog.deliver.relay import partition_of
from shared.eventlog.write.store import Head
from shared.events.envelope import StoredEvent, chained
from shared.events.registry import ENTITLEMENTS
from tests.examples.engine import head_of, next_events
from tests.examples.records import BODY

PARTITIONS: Final = 6
NOON: Final = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Store:
    """A log of entitlements' pools, in memory; each pool has a tenant."""

    def __init__(self, tenants: Sequence[str] = ("org-1",), pools: int = 12) -> None:
        self._tenants, self._pools = tenants, pools
        self._heads: dict[str, Head] = {}
        self.events: list[StoredEvent] = []

    def grow(
        self, count: int, body: bytes = BODY, time: datetime | None = None, event_type: str = "SeatUnassigned"
    ) -> list[StoredEvent]:
        """Return the next events, of the pools in turn, one a second."""
        made = []
        for position in range(len(self.events) + 1, len(self.events) + 1 + count):
            pool = position % self._pools
            stream = f"pool-{pool}"
            head = self._heads.get(stream, Head())
            (event,) = next_events(stream, head, 1, body, event_type=event_type)
            tenant, at = self._tenants[pool % len(self._tenants)], time or NOON + timedelta(seconds=position)
            envelope = event.envelope._replace(tenant=tenant, position=position, time=at)
            whole = StoredEvent(envelope._replace(hash=chained(envelope, body)), body)
            self._heads[stream] = head_of([whole])
            made.append(whole)
        self.events += made
        return made


def records(events: Iterable[StoredEvent], topic: str = ENTITLEMENTS) -> list[Raw]:
    """Return the records of events, with the offsets that they get when published in this order."""
    offsets, made = [0] * PARTITIONS, []
    for event in events:
        stream = event.envelope.stream
        n = partition_of(stream, PARTITIONS)
        made.append(Raw(topic, n, offsets[n], stream.encode(), [*event.headers()], event.data))
        offsets[n] += 1
    return made


def all_placed(events: Iterable[StoredEvent]) -> list[Placed]:
    return [event for event in map(placed, records(events)) if event is not None]


async def make_topic(access: KafkaAccess, topic: str) -> None:
    admin = AIOKafkaAdminClient(**access.client())
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()


async def publish(access: KafkaAccess, topic: str, events: Iterable[StoredEvent]) -> None:
    """Send these events in this order, as the relay does."""
    async with AIOKafkaProducer(**access.client(), acks="all", enable_idempotence=True) as producer:
        sent = [
            await producer.send(topic, event.data, key=event.envelope.stream.encode(), headers=event.headers())
            for event in events
        ]
        for each in sent:
            await each
