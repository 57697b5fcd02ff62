"""The publisher's system in the year: answers orders, issues CSNs, publishes updates."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

from deploy.story.doors import Doors
from shared.events.envelope import Unreadable, from_headers

PUBLISHER: Final = "autodesk"
PRODUCT: Final = "autocad"


class Publisher:
    """Confirms every order of this run, but declines the first order of some customers."""

    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self.declines: set[str] = set()
        """Customers whose first order is declined."""
        self.answered = 0

    @contextmanager
    def at_work(self, consumer: AIOKafkaConsumer) -> Iterator[None]:
        task = asyncio.create_task(self._answer(consumer))
        try:
            yield
        finally:
            task.cancel()
        if task.done() and not task.cancelled():
            task.result()

    async def _answer(self, consumer: AIOKafkaConsumer) -> None:
        known: set[str] = set()
        while True:
            found = await consumer.getmany(timeout_ms=200)
            await asyncio.gather(*(self._read(record, known) for records in found.values() for record in records))

    async def _read(self, record: Any, known: set[str]) -> None:
        try:
            envelope = from_headers(record.headers, record.key)
        except Unreadable:
            return
        if (
            envelope.type == "SubscriptionOrdered"
            and envelope.correlation_id == self.doors.run
            and envelope.id not in known
        ):
            known.add(envelope.id)
            await self._word(envelope.id, json.loads(record.value))

    async def _word(self, order: str, data: dict[str, str]) -> None:
        answer = {"subscription_id": data["subscription_id"], "order": order}
        reference = f"AD-{data['subscription_id'][-12:]}"  # the same for an order that was sent twice
        if data["customer"] in self.declines:
            self.declines.remove(data["customer"])
            await self.doors.emit(PUBLISHER, "OrderDeclined", {**answer, "reason": "The address is incomplete."})
        else:
            await self.doors.emit(PUBLISHER, "OrderConfirmed", {**answer, "reference": reference})
        self.answered += 1

    async def issue(self, organisation_id: str) -> str:
        """Issue a CSN to a partner, and return it."""
        csn = f"52{int(sha256(organisation_id.encode()).hexdigest(), 16) % 10**8:08d}"
        data = {"csn": csn, "organisation_id": organisation_id, "publisher": PUBLISHER}
        await self.doors.emit(PUBLISHER, "CsnIssued", data)
        return csn

    async def revoke(self, organisation_id: str, csn: str) -> None:
        data = {"csn": csn, "organisation_id": organisation_id, "publisher": PUBLISHER, "reason": "audit"}
        await self.doors.emit(PUBLISHER, "CsnRevoked", data)

    async def publish_update(self) -> str:
        update_id = f"ACD-{self.doors.run}"
        await self.doors.emit(
            PUBLISHER,
            "UpdatePublished",
            {
                "update_id": update_id,
                "publisher": PUBLISHER,
                "product": PRODUCT,
                "kind": "update",
                "title": "AutoCAD 2027.1",
                "version": "2027.1",
                "platform": "win64",
                "severity": "important",
                "sha256": sha256(update_id.encode()).hexdigest(),
                "size_bytes": 412_000_000,
                "location": "https://updates.publisher.example/acd/2027.1.msp",
                "published_at": datetime.now(UTC).isoformat(),
                "component": self.doors.run,  # the updates of other years and stories do not supersede it
            },
        )
        return update_id
