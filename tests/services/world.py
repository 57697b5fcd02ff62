"""A service's consumers and timers over a real database, without Kafka, and what has been said on the topics."""

import random
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from shared.eventlog.deliver.applying import Fault
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.received import Raw, Received
from shared.eventlog.deliver.tables import ConsumerTables, PostgresTables
from shared.eventlog.deliver.timers import TimerService
from shared.eventlog.write.log import Log
from shared.eventlog.write.store import Store
from shared.events import Event
from shared.events.envelope import Envelope
from shared.events.registry import INBOUND, topic_of
from shared.events.upcasts import decode
from shared.runtime.clocks import CLOCKS
from shared.runtime.service import Service
from tests.examples.engine import new_id


def _topic(source: str) -> str:
    return INBOUND if source.startswith("urn:publisher:") else topic_of(source.removeprefix("urn:tenure:"))


class World:
    """Each consumer hears each stream in its order, the streams in any. It is `noon`, but for moved clocks."""

    def __init__(
        self,
        service: Service,
        pool: Any,
        store: Store,
        noon: datetime,
        tables: Callable[[Any], ConsumerTables] = PostgresTables,
    ) -> None:
        self.pool, self.store, self.log, self.noon = pool, store, Log(store, service.name), noon
        self.clocks = Clocks(lambda: noon)
        assert service.timers is not None
        self.timers = TimerService(service.name, service.timers, pool, self.log, self.clocks)
        whats = (*service.consumers, service.timers.projection, CLOCKS)
        self.consumers = [Consumer(service.name, what, pool, self.log, self.clocks, tables=tables) for what in whats]
        self.said: dict[str, list[tuple[Envelope, Event]]] = {}
        self.stored: dict[str, tuple[Any, bytes]] = {}
        self.parks = False
        """Whether a consumer may park what it hears."""
        self.heard: dict[tuple[str, str], int] = {}
        self.own = 0

    def say(self, service: str, stream: str, event: Event, id_: str = "") -> None:
        """Another service's word; a publisher's system's, where `service` reads `publisher:<its name>`."""
        events = self.said.setdefault(stream, [])
        foreign = service.startswith("publisher:")
        source = f"urn:{service}" if foreign else f"urn:tenure:{service}"
        version = None if foreign else len(events) + 1
        events.append((Envelope(id_ or new_id(), source, event.type(), stream, self.noon, 1, version), event))

    def of(self, stream: str, event_type: str) -> str:
        """The id of the stream's last event of this type, among those relayed."""
        return next(envelope.id for envelope, event in reversed(self.said[stream]) if event.type() == event_type)

    async def relay(self) -> None:
        for stored in await self.store.read(self.own, 1000):
            self.said.setdefault(stored.envelope.stream, []).append(
                (stored.envelope, decode(stored.envelope, stored.data))
            )
            self.stored[stored.envelope.id] = stored.headers(), stored.data
            self.own = stored.envelope.position or 0

    async def next(self) -> list[tuple[Consumer, str]]:
        """What could be heard next, by whom."""
        await self.relay()
        return [
            (consumer, stream)
            for consumer in self.consumers
            for stream, events in self.said.items()
            if self.heard.get((consumer.name, stream), 0) < len(events)
            and _topic(events[0][0].source) in consumer.definition.topics
        ]

    async def hear(self, consumer: Consumer, stream: str) -> bool:
        number = self.heard.get((consumer.name, stream), 0)
        envelope, event = self.said[stream][number]
        topic, partition = _topic(envelope.source), zlib.crc32(stream.encode()) >> 1
        if number == 0:
            await consumer.assigned([(topic, partition)])
        raw = Raw(topic, partition, number, stream.encode(), *self.stored.get(envelope.id, ((), event.data())))
        handled = event if envelope.type in consumer.definition.types else None
        try:
            done = await consumer.consume([Received(raw, envelope, handled, data=raw.value or b"")])
        except Fault:
            return False
        assert self.parks or not done.parked, done.parked
        self.heard[(consumer.name, stream)] = number + 1
        return True

    async def settle(self, chance: random.Random) -> None:
        """Until everything is heard and every timer that is due has fired."""
        while True:
            while following := await self.next():
                await self.hear(*chance.choice(following))
            await self.clocks.refresh(self.pool)
            if not await self.timers.fire():
                return
