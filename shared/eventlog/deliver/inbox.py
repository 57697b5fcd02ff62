"""Publishers' events that come by another door than Kafka, and are kept on its topics.

Such an event is checked as a record of that topic would be, so both doors refuse the same. It is kept once Kafka has
acknowledged it; a repeat has the effect of the first one, because its source and id are the same.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.outcomes import CORRECT_IT
from shared.eventlog.deliver.plan import ConsumerCheckpoint, plan
from shared.eventlog.deliver.received import Raw, Reason, receive
from shared.eventlog.deliver.relay import BATCH_BYTES
from shared.events.envelope import Envelope, source_of_publisher
from shared.events.registry import INBOUND, PUBLISHERS_EVENTS, inbound_topic

KEEP_S: Final = 10.0
"""How long Kafka may take to acknowledge events."""
LOOK_AGAIN_S: Final = 10.0
"""After how long a publisher without a topic of its own is looked for again."""
_TYPES: Final = frozenset(PUBLISHERS_EVENTS)
_KEYS: Final = ("ce_partitionkey", "ce_subject", "ce_source")
"""The attributes of which the first one is the record's key, so that a publisher's events keep their order."""


class NotKept(Exception):
    """Kafka did not acknowledge the events in time.

    It may have them nevertheless; sending them again is safe.
    """


class Given(NamedTuple):
    """An event as its sender gave it, with its attributes as headers of a record."""

    headers: Sequence[tuple[str, bytes]]
    data: bytes


class Refusal(NamedTuple):
    """Why an event may not be on its publisher's topic, in the words of an outcome."""

    rule: Reason
    reason: str
    remedy: str = CORRECT_IT


@dataclass(frozen=True, slots=True)
class Checked:
    """An event that may be on its publisher's topic."""

    envelope: Envelope
    key: bytes
    given: Given


def checked(given: Given, publisher: str, now: datetime) -> Checked | Refusal:
    """Check an event of this publisher as the consumers check a record."""
    headers = dict(given.headers)
    key = next((headers[name] for name in _KEYS if name in headers), b"")
    topic, own = _own_topic(publisher) or INBOUND, source_of_publisher(publisher)
    source = headers.get("ce_source", b"").decode("utf-8", "replace")
    another = Refusal("refused", f"the source {source[:120]} is not this publisher's, {own}")
    if topic == INBOUND and source not in ("", own):  # where other publishers' events may be, too
        return another
    received = receive(Raw(topic, 0, 0, key, given.headers, given.data, arrived=now), _TYPES, now)
    done = plan([received], ConsumerCheckpoint(offsets={(topic, 0): -1}, seen={}))
    if done.parked:
        return Refusal(done.parked[0].reason, done.parked[0].detail)
    if received.envelope is None or received.envelope.source != own:
        return another
    return Checked(received.envelope, key, given)


def _own_topic(publisher: str) -> str:
    """Return the name of the publisher's own topic; "" if its name can't be in one."""
    try:
        return inbound_topic(publisher)
    except ValueError:
        return ""


class Inbox:
    """The connection of a process over which events are kept. It begins with the first event."""

    def __init__(self, access: KafkaAccess) -> None:
        self._access = access
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._existing: frozenset[str] = frozenset()
        self._looked_at = -LOOK_AGAIN_S

    async def keep(self, publisher: str, events: Sequence[Checked], noted: Mapping[str, str]) -> None:
        """Keep a publisher's events, in their order.

        Args:
            noted: Further headers of their records.

        Raises:
            NotKept: Some of them are not acknowledged.
        """
        producer: AIOKafkaProducer | None = None
        more = [(name, text.encode()) for name, text in noted.items()]
        try:
            async with asyncio.timeout(KEEP_S):
                producer = await self._opened()
                topic = await self._topic(producer, publisher)
                waiting = [
                    await producer.send(topic, each.given.data, key=each.key, headers=[*each.given.headers, *more])
                    for each in events
                ]
                await asyncio.gather(*waiting)
        except (KafkaError, OSError, TimeoutError) as fault:
            await self._discard(producer)
            raise NotKept(repr(fault)) from fault

    async def stop(self) -> None:
        """Close the connection."""
        await self._discard(self._producer)

    async def _opened(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._access.client(),
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=BATCH_BYTES,
                    request_timeout_ms=int(KEEP_S * 1000),
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _topic(self, producer: AIOKafkaProducer, publisher: str) -> str:
        """Return the topic of a publisher's events: its own, or that of all others."""
        own, now = _own_topic(publisher), asyncio.get_running_loop().time()
        if own not in self._existing and now - self._looked_at >= LOOK_AGAIN_S:
            self._existing = frozenset((await producer.client.fetch_all_metadata()).topics())
            self._looked_at = now
        return own if own in self._existing else INBOUND

    async def _discard(self, producer: AIOKafkaProducer | None) -> None:
        """Stop a producer that failed, which may still send what it has."""
        if self._producer is producer:
            self._producer = None
        with suppress(Exception):
            async with asyncio.timeout(2):
                if producer is not None:
                    await producer.stop()
