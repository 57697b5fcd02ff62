"""The newest records of a topic, followed by a process for itself, and whether it has seen all of them."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.plan import Raw

logger = structlog.get_logger(__name__)

FETCH_WAIT_MS: Final = 400
"""How long Kafka waits for a record before it answers that there is none: so often at least it is heard of."""
AGAIN_S: Final = 1.0


class Tail:
    """Follows a topic without a group, from the records of the last `keep_s` seconds on.

    `take` is given each record once it is fetched, and must not raise. Whatever goes wrong, the tail begins again: it
    may give a record several times, and misses none of the last `keep_s` seconds.
    """

    def __init__(
        self,
        topic: str,
        access: KafkaAccess,
        keep_s: float,
        take: Callable[[Raw], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._topic, self._access, self._keep_s, self._take, self._clock = topic, access, keep_s, take, clock
        self._kafka: AIOKafkaConsumer | None = None
        self._next: dict[TopicPartition, int] = {}

    def seen_all(self, within_s: float) -> bool:
        """Whether Kafka has answered for every partition within so many seconds, and all it then had was taken."""
        kafka = self._kafka
        if kafka is None or not self._next:
            return False
        since = (self._clock() - within_s) * 1000
        for partition, following in self._next.items():
            end, answered = kafka.highwater(partition), kafka.last_poll_timestamp(partition)
            if end is None or answered is None or following != end or answered < since:
                return False
        return True

    async def run(self) -> None:
        """Follow the topic until cancelled."""
        while True:
            try:
                await self._follow()
            except Exception as fault:  # noqa: BLE001  # a record that the client can't read is not to end the process
                logger.warning("a topic can't be followed", topic=self._topic, fault=repr(fault))
            await asyncio.sleep(AGAIN_S)

    async def _follow(self) -> None:
        kafka = AIOKafkaConsumer(
            self._topic, **self._access.client(), enable_auto_commit=False, fetch_max_wait_ms=FETCH_WAIT_MS
        )
        try:
            await kafka.start()
            following = await self._last(kafka)
            for partition, offset in following.items():
                kafka.seek(partition, offset)
            self._kafka, self._next = kafka, following
            while True:
                for partition, records in (await kafka.getmany(timeout_ms=1000)).items():
                    for record in records:
                        if record.offset != following[partition]:
                            raise LookupError(f"{partition} goes on at {record.offset}: records are missing")
                        self._take(_raw(record))
                        following[partition] += 1
        finally:
            self._kafka, self._next = None, {}
            await kafka.stop()

    async def _last(self, kafka: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Where the last `keep_s` seconds begin, by partition."""
        partitions = list(kafka.assignment())
        if not partitions:
            raise LookupError(f"there is no topic {self._topic}")
        since = int((self._clock() - self._keep_s) * 1000)
        found = await kafka.offsets_for_times(dict.fromkeys(partitions, since))
        ends = await kafka.end_offsets(partitions)
        return {each: ends[each] if found[each] is None else found[each].offset for each in partitions}


def _raw(record: ConsumerRecord) -> Raw:
    return Raw(record.topic, record.partition, record.offset, record.key, record.headers, record.value)
