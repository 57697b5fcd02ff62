"""Outcomes are published to their publisher's topic: in order, each at least once, with the same id each time."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from deploy import topics
from shared.eventlog.deliver.answering import OutcomeRelay
from shared.eventlog.deliver.outcomes import Outcome, Status
from shared.eventlog.deliver.received import receive
from shared.eventlog.deliver.records import raw_of
from shared.eventlog.deliver.tables import PostgresTables
from shared.eventlog.write.postgres import PostgresStore
from shared.events import RecordAnswered
from shared.events.envelope import Envelope
from shared.events.registry import INBOUND, OUTCOMES, inbound_topic, outcomes_topic
from shared.runtime.metrics import Metrics
from tests.engine.hosting import stopped
from tests.examples.engine import NOON, new_id
from tests.system import parts

pytestmark = pytest.mark.system


@dataclass
class Bench:
    """A service's outcomes, and the topics that they go to."""

    store: PostgresStore
    pool: "asyncpg.Pool[asyncpg.Record]"
    kafka: parts.Kafka
    publisher: str
    metrics: Metrics = field(default_factory=lambda: Metrics("entitlements"))

    def relay(self, owner: str = "one") -> OutcomeRelay:
        access = self.kafka.access
        return OutcomeRelay("entitlements", self.store, self.pool, access, owner=owner, observer=self.metrics)

    def counted(self, status: str) -> float:
        """How many outcomes of the publisher were counted as published."""
        line = f'tenure_outcomes_total{{publisher="{self.publisher}",service_name="entitlements",status="{status}"}} '
        (found,) = [each for each in self.metrics.page().decode().splitlines() if each.startswith(line)]
        return float(found.removeprefix(line))

    async def noted(self, offset: int, status: Status = "accepted", publisher: str = "", topic: str = "") -> None:
        publisher = publisher or self.publisher
        envelope = Envelope(f"event {offset}", f"urn:publisher:{publisher}", "CreditsPurchased", "", NOON)
        place = (topic or inbound_topic(publisher), 0, offset)
        rule = "" if status == "accepted" else "limit"
        await PostgresTables(self.pool).answer([Outcome(place=place, envelope=envelope, status=status, rule=rule)])

    async def unsent(self) -> int:
        return int(await self.pool.fetchval("select count(*) from engine.outcomes where not sent"))

    async def published(self, *relays: OutcomeRelay) -> None:
        running = [asyncio.create_task(relay.run()) for relay in relays or (self.relay(),)]
        async with asyncio.timeout(30):
            while await self.unsent():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for task in running:
            await stopped(task)

    async def read(self, topic: str, count: int) -> list[tuple[Envelope, RecordAnswered]]:
        """Return the first answers of a topic, each as a reader gets it."""
        consumer = AIOKafkaConsumer(**self.kafka.access.client(), auto_offset_reset="earliest")
        await consumer.start()
        consumer.assign([TopicPartition(topic, 0)])
        found = list[tuple[Envelope, RecordAnswered]]()
        async with asyncio.timeout(20):
            while len(found) < count:
                record = receive(raw_of(await consumer.getone()), frozenset({"RecordAnswered"}))
                assert isinstance(record.event, RecordAnswered) and record.envelope is not None, record.problem
                found.append((record.envelope, record.event))
        await consumer.stop()
        return found


@pytest.fixture
async def bench(database: str, kafka: parts.Kafka) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=6)
    made = Bench(store, pool, kafka, new_id())
    names = (OUTCOMES, outcomes_topic(made.publisher))
    await topics.ensure(kafka.access, [topics.Topic(name, 1, {}) for name in names])
    yield made
    await store.close()
    await pool.close()


async def test_each_outcome_is_published_in_order_and_again_with_the_same_id_after_a_crash(bench: Bench) -> None:
    for offset in range(1_200):
        await bench.noted(offset, "waiting" if offset == 7 else "accepted")
    await bench.noted(7, "rejected")
    await bench.published(bench.relay("one"), bench.relay("two"))
    assert [bench.counted(status) for status in ("accepted", "waiting", "rejected")] == [1_199, 1, 1]
    await bench.pool.execute("update engine.outcomes set sent = false where n > 1200")  # a crash after it was sent
    await bench.published()
    topic = outcomes_topic(bench.publisher)
    answers = await bench.read(topic, 1_202)
    expected = [f"{inbound_topic(bench.publisher)}:0:{n}:{'waiting' if n == 7 else 'accepted'}" for n in range(1_200)]
    again = f"{inbound_topic(bench.publisher)}:0:7:rejected"
    assert [envelope.id for envelope, _ in answers] == [*expected, again, again]
    envelope, last = answers[-1]
    assert (last.event_id, last.status, last.rule, last.offset) == ("event 7", "rejected", "limit", 7)
    assert (envelope.stream, envelope.position, envelope.tenant) == ("event 7", 1_202, bench.publisher)


async def test_outcomes_without_a_topic_of_their_own_are_the_operators(bench: Bench) -> None:
    unknown = new_id()
    await bench.noted(1, publisher=unknown, topic=INBOUND)
    await bench.noted(2, topic=INBOUND)
    await bench.published()
    ((_, own),) = await bench.read(outcomes_topic(bench.publisher), 1)
    assert (own.topic, own.offset) == (INBOUND, 2), "an imported record is answered to whose event it is"
    others = await bench.read(OUTCOMES, 1)
    assert [(each.event_source, each.offset) for _, each in others] == [(f"urn:publisher:{unknown}", 1)]


class Refusing:
    """A producer to which one topic is closed."""

    def __init__(self, closed: str, open_: str) -> None:
        self.sent: list[str] = []
        self._closed = closed
        existing = SimpleNamespace(topics=lambda: {closed, open_})
        self.client = SimpleNamespace(fetch_all_metadata=lambda: _later(existing))

    def create_batch(self) -> Any:
        records: list[Any] = []

        def append(**record: Any) -> bool:
            records.append(record)
            return True

        return SimpleNamespace(append=append, records=records)

    async def send_batch(self, batch: Any, topic: str, partition: int) -> Any:
        if topic == self._closed:
            raise KafkaTimeoutError
        self.sent += [json.loads(record["value"])["event_id"] for record in batch.records]
        return _later(None)


async def _later(value: Any) -> Any:
    return value


async def test_a_topic_that_is_closed_delays_no_other(bench: Bench) -> None:
    await bench.noted(1, publisher="a")
    await bench.noted(2, publisher="b")
    relay = bench.relay()
    producer: Any = Refusing(outcomes_topic("a"), outcomes_topic("b"))
    lease = await bench.store.lease(relay.name, "one", 30.0)
    assert lease is not None
    with pytest.raises(KafkaTimeoutError):
        await relay.publish(producer, lease)
    assert producer.sent == ["event 2"] and await bench.unsent() == 1
