"""How long each record of a topic waited for each of its consumers, from the broker's time to the consumer's note."""

import asyncio
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, NamedTuple, Self

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.eventlog.deliver.kafka import KafkaAccess

LOOK_EVERY_S: Final = 0.2
Place = tuple[str, int, int]


class Longest(NamedTuple):
    """Of a topic's records: how many, the longest wait of one, which and whose, and the middle one."""

    records: int
    longest_s: float
    place: Place
    consumer: str
    median_s: float


@dataclass(slots=True)
class Waits:
    """Looks at checkpoints in a thread of its own, while the block is executed."""

    dsns: Mapping[str, str]
    noted: dict[tuple[str, str, int], list[tuple[int, float]]] = field(default_factory=dict)
    """Per consumer and partition: the offsets that were seen, each with the time at which its database noted it."""
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._look()), name="waits")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    async def _look(self) -> None:
        databases = [await asyncpg.connect(dsn) for dsn in self.dsns.values()]
        last = False
        while not last:
            last = self._over.is_set()
            for db in databases:
                for row in await db.fetch("select * from engine.checkpoints"):
                    seen = self.noted.setdefault((row["consumer"], row["topic"], row["partition"]), [])
                    if not seen or seen[-1][0] != row["offset"]:
                        seen.append((row["offset"], row["time"].timestamp()))
            await asyncio.sleep(0 if last else LOOK_EVERY_S)
        for db in databases:
            await db.close()

    def longest(self, times: Mapping[Place, float], but: Collection[Place]) -> dict[str, Longest]:
        """By topic, over all of its consumers, of the records in `times` without those in `but`."""
        waits: dict[str, list[tuple[float, Place, str]]] = {}
        for (consumer, topic, partition), noted in self.noted.items():
            mine = sorted((place for place in times if place[:2] == (topic, partition)), key=lambda place: place[2])
            at = 0
            for place in mine:
                while at < len(noted) and noted[at][0] < place[2]:
                    at += 1
                if place not in but:
                    over = noted[at][1] if at < len(noted) else float("inf")
                    waits.setdefault(topic, []).append((over - times[place], place, consumer))
        return {topic: _longest(each) for topic, each in waits.items()}


def _longest(waits: Sequence[tuple[float, Place, str]]) -> Longest:
    wait, place, consumer = max(waits)
    records = len({place for _, place, _ in waits})
    return Longest(records, wait, place, consumer, median([each for each, _, _ in waits]))


async def times_of(access: KafkaAccess, partitions: Mapping[str, int], since: float) -> dict[Place, float]:
    """When the broker took each record of these topics, of those that it took since then."""
    kafka: Any = AIOKafkaConsumer(**access.client())
    await kafka.start()
    try:
        places = [TopicPartition(topic, n) for topic, number in partitions.items() for n in range(number)]
        kafka.assign(places)
        ends = await kafka.end_offsets(places)
        begins = await kafka.offsets_for_times(dict.fromkeys(places, int(since * 1000)))
        for place in places:
            kafka.seek(place, begins[place].offset if begins[place] else ends[place])
        found: dict[Place, float] = {}
        for place in places:
            while await kafka.position(place) < ends[place]:
                for records in (await kafka.getmany(timeout_ms=1_000)).values():
                    found |= {(r.topic, r.partition, r.offset): r.timestamp / 1000 for r in records}
        return found
    finally:
        await kafka.stop()
