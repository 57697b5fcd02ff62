"""A publisher that answers the orders of a test's customers."""

import asyncio
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.data import SOURCE, TOPIC, as_publisher
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.events.envelope import from_headers
from shared.events.registry import MARKETPLACE

THINKS_S: Final = 3.0
"""How long the publisher thinks about an order: long enough for a page to be seen waiting."""


class AnsweringPublisher:
    """Confirms each order of its customers in a thread, as Playwright occupies the test's own."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.customers = set[str]()
        self._ready, self._over = Event(), Event()
        self._thread = Thread(target=lambda: asyncio.run(self._work()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(60), "Kafka does not answer"

    def stop(self) -> None:
        self._over.set()
        self._thread.join(20)

    async def _work(self) -> None:
        producer = AIOKafkaProducer(**as_publisher(self._env).client(), acks="all")
        access = KafkaAccess.from_environment(self._env)
        consumer = AIOKafkaConsumer(MARKETPLACE, **access.client(), enable_auto_commit=False)
        await producer.start()
        await consumer.start()
        try:
            await consumer.seek_to_end()
            await asyncio.gather(*(consumer.position(each) for each in consumer.assignment()))
            self._ready.set()
            while not self._over.is_set():
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        envelope, data = from_headers(record.headers, record.key), json.loads(record.value or b"{}")
                        if envelope.type == "SubscriptionOrdered" and data["customer"] in self.customers:
                            await asyncio.sleep(THINKS_S)
                            await self._confirm(producer, envelope.id, data["subscription_id"])
        finally:
            await producer.stop()
            await consumer.stop()

    async def _confirm(self, producer: AIOKafkaProducer, order: str, subscription_id: str) -> None:
        answer = {"subscription_id": subscription_id, "order": order, "reference": f"AD-{subscription_id[-12:]}"}
        attributes = {
            "ce_specversion": "1.0",
            "ce_id": str(uuid.uuid4()),
            "ce_source": SOURCE,
            "ce_type": "OrderConfirmed",
            "ce_time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "content-type": "application/json",
        }
        headers = [(name, value.encode()) for name, value in attributes.items()]
        await producer.send_and_wait(TOPIC, json.dumps(answer).encode(), headers=headers)
