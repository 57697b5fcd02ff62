"""The newest records of a topic, followed by one process without a consumer group."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from shared.eventlog.deliver.connecting import start_reading, stop_reading
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import Raw

logger = structlog.get_logger(__name__)

FETCH_WAIT_MS: Final = 300
FETCH_BYTES: Final = 1024 * 1024
"""Kafka answers with fewer bytes of records only after this time, which so is how late a follower knows of a record at
most. An answer for each record would cost a busy topic's followers and Kafka more than all else that they do."""
AGAIN_S: Final = 1.0


class Tail:
    """A follower of a topic, from the records of the last `keep_s` seconds on.

    It calls `take`, which must not raise, with each record. After an error it starts again: a record may then come
    several times, but none of the last `keep_s` seconds is missed.
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
        """Return whether all records that Kafka had `within_s` seconds ago were taken.

        This needs an answer of Kafka for every partition within that time.
        """
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
            except Exception as fault:  # noqa: BLE001  # A record that the client cannot read must not end the process.
                logger.warning("a topic cannot be followed: starting again", topic=self._topic, fault=repr(fault))
            await asyncio.sleep(AGAIN_S)

    async def _follow(self) -> None:
        kafka = AIOKafkaConsumer(
            self._topic,
            **self._access.client(),
            enable_auto_commit=False,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_min_bytes=FETCH_BYTES,
        )
        try:
            await start_reading(kafka)
            following = await self._last(kafka)
            for partition, offset in following.items():
                kafka.seek(partition, offset)
            self._kafka, self._next = kafka, following
            while True:
                for partition, records in (await kafka.getmany(timeout_ms=1000)).items():
                    for record in records:
                        if record.offset != following[partition]:
                            raise LookupError(f"{partition} continues at offset {record.offset}: records are missing")
                        self._take(_raw(record))
                        following[partition] += 1
        finally:
            self._kafka, self._next = None, {}
            await stop_reading(kafka)

    async def _last(self, kafka: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Return the offset in each partition at which the last `keep_s` seconds begin."""
        partitions = list(kafka.assignment())
        if not partitions:
            raise LookupError(f"there is no topic {self._topic}")
        since = int((self._clock() - self._keep_s) * 1000)
        starts = await kafka.offsets_for_times(dict.fromkeys(partitions, since))
        ends = await kafka.end_offsets(partitions)
        return {p: ends[p] if starts[p] is None else starts[p].offset for p in partitions}


def _raw(record: ConsumerRecord) -> Raw:
    return Raw(record.topic, record.partition, record.offset, record.key, record.headers, record.value)
