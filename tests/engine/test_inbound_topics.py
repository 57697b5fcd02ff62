"""Publishers' topics: a consumer of the inbound events reads the topic of a publisher that came while it ran."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from deploy import topics
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.host import ConsumerHost
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import CsnIssued
from shared.events.envelope import Envelope, to_headers
from shared.events.registry import INBOUND, inbound_topic
from tests.engine.hosting import stopped
from tests.examples.engine import NOON, new_id
from tests.system import parts

pytestmark = pytest.mark.system

NEW = "newcomer"


@pytest.fixture
async def newcomers_topic(kafka: parts.Kafka) -> AsyncIterator[str]:
    """Its name: the topic is made by the test, and is gone after it."""
    yield inbound_topic(NEW)
    admin = AIOKafkaAdminClient(**kafka.access.client())
    await admin.start()
    await admin.delete_topics([inbound_topic(NEW)])
    await admin.close()


async def _send(kafka: parts.Kafka, topic: str, publisher: str) -> str:
    envelope = Envelope(new_id(), f"urn:publisher:{publisher}", "CsnIssued", "number-1", NOON)
    event = CsnIssued(csn="5100012345", organisation_id="o", publisher=publisher)
    producer = AIOKafkaProducer(**kafka.access.client())
    await producer.start()
    await producer.send_and_wait(topic, event.data(), headers=list(to_headers(envelope)))
    await producer.stop()
    return envelope.id


async def test_a_new_publishers_topic_is_read_within_seconds(
    database: str, kafka: parts.Kafka, newcomers_topic: str
) -> None:
    seen: set[str] = set()
    numbers = Projection("newcomers", topics=(INBOUND,))

    @numbers.on(CsnIssued)
    async def noted(_tx: Any, _event: CsnIssued, envelope: Envelope) -> None:
        seen.add(envelope.id)

    store = await PostgresStore(database, "marketplace").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    consumer = Consumer("test", numbers, pool, Log(store, "marketplace"), Clocks(utc_now))
    running = asyncio.create_task(ConsumerHost("test.newcomers", [consumer], kafka.access).run())
    try:
        early = await _send(kafka, INBOUND, "anybody")
        async with asyncio.timeout(30):
            while early not in seen:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await topics.ensure(kafka.access, [topics.Topic(newcomers_topic, 2, {})])
        late = await _send(kafka, newcomers_topic, NEW)
        async with asyncio.timeout(12):
            while late not in seen:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        noted_topics = await pool.fetch(
            "select distinct topic from engine.checkpoints where consumer = 'test.newcomers'"
        )
        assert {row["topic"] for row in noted_topics} >= {INBOUND, newcomers_topic}
    finally:
        await stopped(running)
        await store.close()
        await pool.close()
