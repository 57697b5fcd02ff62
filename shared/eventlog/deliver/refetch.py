"""The second reader of a process, which fetches records again for consumers that are apart."""

import asyncio
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.eventlog.deliver.connecting import start_reading, stop_reading
from shared.eventlog.deliver.consumer import BATCH_RECORDS
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import Partition

FETCH_BYTES: Final = 512 * 1024
FETCH_WAIT_MS: Final = 50
"""How long Kafka waits for a record before it answers that there is none; a seek waits for that answer, too."""
WAIT_MS: Final = 200
OPEN_S: Final = 10.0
UNUSED_S: Final = 10.0
"""After how long without a question the connection is closed."""


class Refetcher:
    """A connection without a consumer group, which exists while it is needed.

    Its questions are answered in turn.
    """

    def __init__(self, access: KafkaAccess) -> None:
        self._access = access
        self._kafka: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()
        self._used_at = 0.0

    async def fetch(self, offsets: Mapping[Partition, int]) -> Sequence[Any]:
        """Return records of these partitions from these offsets on, as far as there are any.

        Raises:
            KafkaError, OSError, TimeoutError: Kafka cannot be reached.
        """
        async with self._turn:
            try:
                kafka = await self._opened()
                # Assigned anew, because after a mere seek the client waits 100 ms for somebody to take what it read
                # ahead.
                kafka.assign([TopicPartition(*partition) for partition in offsets])
                for partition, offset in offsets.items():
                    kafka.seek(TopicPartition(*partition), offset)
                fetched = await kafka.getmany(timeout_ms=WAIT_MS)
                kafka.pause(*kafka.assignment())
            except BaseException:
                await self._close()
                raise
            self._used_at = asyncio.get_running_loop().time()
            each = ceil(BATCH_RECORDS / max(1, len(fetched)))  # so that no partition keeps another waiting
            return [record for records in fetched.values() for record in records[:each]]

    async def close_unused(self) -> None:
        """Close the connection if nobody has asked for a while."""
        unused = asyncio.get_running_loop().time() - self._used_at > UNUSED_S
        if self._kafka is not None and unused and not self._turn.locked():
            async with self._turn:
                await self._close()

    async def close(self) -> None:
        """Close the connection."""
        await self._close()

    async def _opened(self) -> AIOKafkaConsumer:
        if self._kafka is None:
            kafka = AIOKafkaConsumer(
                **self._access.client(),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_wait_ms=FETCH_WAIT_MS,
            )
            try:
                async with asyncio.timeout(OPEN_S):
                    await start_reading(kafka)
            except BaseException:
                await stop_reading(kafka)
                raise
            self._kafka = kafka
        return self._kafka

    async def _close(self) -> None:
        kafka, self._kafka = self._kafka, None
        if kafka is not None:
            await stop_reading(kafka)
