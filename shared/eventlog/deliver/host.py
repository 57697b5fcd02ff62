"""The consumer host: all consumers of a process behind one subscription to Kafka.

A consumer's progress is its checkpoint in the database: on assignment it goes on from there. The offsets that are
committed to Kafka are for monitoring tools, and for the restore of a lost database.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog
from aiokafka.errors import IllegalStateError, KafkaError

from shared.eventlog.deliver.consumer import Consumer, Observer
from shared.eventlog.deliver.feed import Feed
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.reader import SharedReader
from shared.eventlog.deliver.refetch import Refetcher
from shared.eventlog.deliver.subscribing import connection

logger = structlog.get_logger(__name__)

WATCH_EVERY_S: Final = 5.0


class ConsumerHost:
    """All consumers of one process."""

    def __init__(
        self, group: str, consumers: Sequence[Consumer], access: KafkaAccess, observer: Observer | None = None
    ) -> None:
        self._group, self._consumers, self._access, self._observer = group, consumers, access, observer
        self.feeds: Sequence[Feed] = []

    async def run(self) -> None:
        """Consume until cancelled.

        Raises:
            Stalled: A consumer makes no progress. The process should end and be started again.
        """
        pause = 0.5
        while True:
            broker, refetcher = connection(self._access), Refetcher(self._access)
            reader = SharedReader(self._group, self._consumers, broker, refetcher, self._observer)
            self.feeds = reader.feeds
            try:
                await broker.start()
                pause = 0.5
                await self._watch(reader)
            except KafkaError as fault:
                logger.warning("Kafka cannot be reached", fault=repr(fault), pause_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 5.0)
            finally:
                reader.close()
                with suppress(Exception):
                    async with asyncio.timeout(10):
                        stopping = asyncio.gather(broker.stop(), refetcher.close())
                        await asyncio.shield(stopping)

    async def _watch(self, reader: SharedReader) -> None:
        while True:
            # Check often while a feed is not ready, so that its readiness shows soon.
            await asyncio.sleep(WATCH_EVERY_S if all(feed.ready for feed in self.feeds) else 0.2)
            try:
                async with asyncio.timeout(10):
                    await reader.check_progress()
            except (KafkaError, TimeoutError, IllegalStateError) as fault:
                logger.warning("consumers' progress cannot be checked", group=self._group, fault=repr(fault))
