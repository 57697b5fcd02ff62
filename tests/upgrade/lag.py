"""How far relays and consumers are behind, looked at every second: in time, which is what a reader notices."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.events.registry import topics_pattern, topics_read

EVERY_S: Final = 1.0
_STORE: Final = """
    select (select position from log.head) as head,
        (select coalesce(max(position), 0) from engine.leases where name like 'relay:%') as relayed"""
_NOTES: Final = 'select consumer, topic, partition, "offset" from engine.checkpoints'

Place = tuple[str, int]


class Lag:
    """The longest that something waited for a relay or a consumer, by phase.

    An end that was seen and is not reached yet has waited since then; so a figure is exact to `EVERY_S`.
    """

    def __init__(self, dsns: Mapping[str, str], access: KafkaAccess, reading: Mapping[str, Sequence[str]]) -> None:
        self._dsns, self._access, self._reading = dsns, access, reading
        self._seen: dict[Any, deque[tuple[float, int]]] = defaultdict(deque)
        self.phase = ""
        self.longest: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        """By phase, then by relay or consumer: seconds."""

    async def run(self) -> None:
        """Look until cancelled."""
        kafka = AIOKafkaConsumer(**self._access.client())  # of no group
        kafka.subscribe(pattern=topics_pattern({topic for read in self._reading.values() for topic in read}))
        await kafka.start()
        stores = {name: await asyncpg.connect(dsn) for name, dsn in self._dsns.items()}
        try:
            while True:
                with suppress(KafkaError, TimeoutError):
                    await self._look(kafka, stores)
                await asyncio.sleep(EVERY_S)
        finally:
            for store in stores.values():
                store.terminate()
            with suppress(asyncio.CancelledError):
                await kafka.stop()

    async def _look(self, kafka: Any, stores: Mapping[str, Any]) -> None:
        found = await kafka.end_offsets(list(kafka.assignment()))
        ends = {(place.topic, place.partition): end for place, end in found.items()}
        now = time.monotonic()
        for place, end in ends.items():
            self._note(place, end - 1, now)
        for name, store in stores.items():
            row = await store.fetchrow(_STORE)
            self._note(name, row["head"], now)
            self._judge(f"{name}'s relay", [(name, row["relayed"])], now)
            at = {(row["consumer"], row["topic"], row["partition"]): row["offset"] for row in await store.fetch(_NOTES)}
            for consumer, topics in self._reading.items():
                if consumer.partition(".")[0] == name:
                    read = [place for place in ends if place[0] in topics_read(topics, {place[0]})]
                    self._judge(consumer, [(place, at.get((consumer, *place), -1)) for place in read], now)

    def _note(self, what: Any, end: int, now: float) -> None:
        """Keep when an end was seen first, for the last minutes."""
        seen = self._seen[what]
        if not seen or seen[-1][1] < end:
            seen.append((now, end))
        while seen and now - seen[0][0] > 300:
            seen.popleft()

    def _judge(self, who: str, at: Sequence[tuple[Any, int]], now: float) -> None:
        waited = [next((now - when for when, end in self._seen[what] if end > done), 0.0) for what, done in at]
        longest = self.longest[self.phase]
        longest[who] = max([longest[who], *waited])
