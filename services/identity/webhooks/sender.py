"""The sender of webhooks: one process of the service has a delivery for each, by a lease."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog
import uuid_utils

from services.identity.projections import running_webhooks
from services.identity.webhooks import store
from services.identity.webhooks.delivery import Delivery, Parts
from services.identity.webhooks.store import Figures
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Lease, Unavailable

logger = structlog.get_logger("webhooks")

NAME: Final = "webhooks:identity"
LEASE_S: Final = 15.0
PRUNE_EVERY_S: Final = 60.0


class Sender:
    """The deliveries of all webhooks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._owner = str(uuid_utils.uuid7())
        self._running: dict[str, tuple[Delivery, asyncio.Task[None]]] = {}
        self._renewed_at = self._pruned_at = float("-inf")
        self.figures = Figures(0, 0.0)

    @property
    def parked(self) -> int:
        """The number of webhooks that wait for a person."""
        return sum(delivery.parked for delivery, _ in self._running.values())

    async def run(self) -> None:
        """Send what is due until cancelled; retry after errors of the database."""
        lease: Lease | None = None
        try:
            while True:
                try:
                    lease = await self._turn()
                except (*TRANSIENT, Unavailable, Conflict) as fault:
                    logger.warning("webhooks wait: the database is unavailable", fault=repr(fault))
                    if asyncio.get_running_loop().time() - self._renewed_at > LEASE_S / 2:
                        await self._stop()
                await asyncio.sleep(self._parts.pace.idle_s)
        finally:
            await self._stop()
            for topic in self._parts.topics.values():
                await topic.stop()
            if lease is not None:
                with suppress(*TRANSIENT, Unavailable):
                    await self._parts.log.store.release(NAME, lease)

    async def _turn(self) -> Lease | None:
        """Renew the lease, and begin or end deliveries."""
        asked_at = asyncio.get_running_loop().time()
        lease = await self._parts.log.store.lease(NAME, self._owner, LEASE_S)
        if lease is None:
            await self._stop()
            self.figures = Figures(0, 0.0)
            return None
        self._renewed_at = asked_at
        db = self._parts.db
        going_on = [each for each, (delivery, _) in self._running.items() if not delivery.stopped]
        self.figures = await store.figures(db, going_on)
        if asked_at - self._pruned_at > PRUNE_EVERY_S:
            await store.forget_ended(db)
            self._pruned_at = asked_at
        for webhook_id in await running_webhooks(db):
            if webhook_id not in self._running:
                delivery = Delivery(webhook_id, self._parts)
                task = asyncio.create_task(delivery.run(), name=f"webhook {webhook_id}")
                self._running[webhook_id] = delivery, task
        for webhook_id, (_, task) in [*self._running.items()]:
            if task.done():
                del self._running[webhook_id]
                if (fault := task.exception()) is not None:
                    logger.error("a webhook's delivery failed: it begins again", webhook=webhook_id, exc_info=fault)
        return lease

    async def _stop(self) -> None:
        tasks = [task for _, task in self._running.values()]
        self._running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
