"""What a hostile sender writes: every kind of record that is no event of its topic, and a way to send very many."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiokafka import AIOKafkaProducer

from deploy.cast import PUBLISHER
from deploy.topics import declared
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import Raw
from shared.eventlog.repair.chains import own_event
from shared.events.envelope import Envelope, Unreadable, chained, from_headers, source_of, to_headers
from shared.events.registry import INBOUND, inbound_topic, is_inbound, topic_of
from shared.services import SERVICES
from tests.engine.batches import Written, read
from tests.oracle.evidence import Published, read_topic

OWN_TOPIC: Final = inbound_topic(PUBLISHER)
BATCH: Final = 25
LIMIT: Final = 1_048_588
"""The largest batch that Kafka takes, by its default, in bytes."""
_NOON: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
Headers = list[tuple[bytes | None, bytes | None]]
Change = Callable[[random.Random, Written], Written]


def but(name: bytes, value: bytes | None) -> Change:
    def change(_: random.Random, record: Written) -> Written:
        return record._replace(headers=[(n, value if n == name else v) for n, v in record.headers])

    return change


def named(name: bytes, value: bytes | None = b"x") -> Change:
    return lambda _, record: record._replace(headers=[*record.headers, (name, value)])


def body(value: bytes | None) -> Change:
    return lambda _, record: record._replace(value=value)


def flipped(chance: random.Random, record: Written) -> Written:
    value = bytearray(record.value or b"{}")
    value[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
    return record._replace(value=bytes(value))


def foreign(chance: random.Random, record: Written) -> Written:
    """Of a type that another service publishes, whichever service's the record is."""
    ours = (b"ce_source", source_of("entitlements").encode()) in record.headers
    return but(b"ce_type", b"SubscriptionEnded" if ours else b"SeatPoolOpened")(chance, record)


MANY: Final = "ten thousand headers"
MANY_OF: Final = 10
"""Of so many of these one is sent: they alone would be most of the bytes."""
TEN_THOUSAND: Final[Headers] = [(b"x%d" % n, b"y") for n in range(10_000)]
ANYWHERE: Final[Mapping[str, Change]] = {
    "a null header": but(b"ce_id", None),
    "a header that is not UTF-8": but(b"ce_source", b"\xff\xfe"),
    "a name with NUL": named(b"\0"),
    "a name that is not UTF-8": named(b"x\xff"),
    "a name of ours that is not UTF-8": named(b"ce_\xff"),
    "a NUL in an id": but(b"ce_id", b"a\0b"),
    "an id of 501 characters": but(b"ce_id", b"x" * 501),
    "no headers": lambda _, record: record._replace(headers=[]),
    MANY: lambda _, record: record._replace(headers=TEN_THOUSAND),
    "another service's source": but(b"ce_source", b"urn:tenure:nobody"),
    "another's type": foreign,
    "a time without a zone": but(b"ce_time", b"2026-01-01T00:00:00"),
    "another version of CloudEvents": but(b"ce_specversion", b"0.3"),
}
OWN: Final[Mapping[str, Change]] = {
    "a flipped bit": flipped,
    "a truncated body": lambda _, record: record._replace(value=(record.value or b"")[:-1]),
    "no body": body(None),
    "10,000 deep": body(b"[" * 10_000),
    "a version of its type that is unknown": but(b"ce_dataschema", b"urn:tenure:events:OperationPerformed:999"),
    "a null key": lambda _, record: record._replace(key=None),
    "another key": lambda _, record: record._replace(key=b"a\0b"),
    "no subject and a key with NUL": lambda _, record: record._replace(
        key=b"a\0b", headers=[(n, v) for n, v in record.headers if n not in (b"ce_subject", b"ce_partitionkey")]
    ),
    "a version beyond int4": but(b"ce_sequence", b"3000000000"),
    "a position beyond int8": but(b"ce_position", b"9223372036854775808"),
    "another tenant": but(b"ce_tenant", b"somebody-else"),
    "another hash": but(b"ce_hash", b"11" * 32),
    "another previous hash": but(b"ce_prevhash", b"22" * 32),
}
SAID: Final = b'{"csn": "5100000001", "organisation_id": "hostile", "publisher": "autodesk"}'
FOREIGN: Final[Mapping[str, Change]] = {
    "a truncated body of a publisher's": body(SAID[:-1]),
    "no body of a publisher's": body(None),
    "10,000 deep from a publisher": body(b"[" * 10_000),
    "a body that is not UTF-8": body(SAID.replace(b"hostile", b"hostile\xff")),
    "a key twice, the second time as no text": body(SAID[:-1] + b', "csn": 5}'),
    "a version that is unknown": lambda _, record: record._replace(
        headers=[*record.headers, (b"ce_dataschema", b"urn:tenure:events:CsnIssued:999")]
    ),
    "a version of another type": lambda _, record: record._replace(
        headers=[*record.headers, (b"ce_dataschema", b"urn:tenure:events:CsnRevoked:1")]
    ),
    "not a number": body(b'{"csn": NaN, "organisation_id": "x", "publisher": "autodesk"}'),
    "1e400": body(b'{"csn": 1e400, "organisation_id": "x", "publisher": "autodesk"}'),
    "a lone surrogate": body(b'{"csn": "\\ud800", "organisation_id": "x", "publisher": "autodesk"}'),
    "another publisher's": body(SAID.replace(b"autodesk", b"acme")),
    "from 2099": but(b"ce_time", b"2099-01-01T00:00:00Z"),
    "a service's type": but(b"ce_type", b"SubscriptionEnded"),
    "a type that is unknown": but(b"ce_type", b"SomethingElse"),
}


OF_EVERY_READER: Final = {"a service's type", "a type that is unknown", "a version of another type"}
"""Those of them that are parked by readers of other types, too."""
OF_THE_OWN_TOPIC: Final[Mapping[str, Change]] = {"another publisher's source": but(b"ce_source", b"urn:publisher:acme")}


@dataclass(slots=True)
class Sent:
    """A record that was sent, and who has to have parked it: all readers of its topic, or those of its type."""

    topic: str
    partition: int
    offset: int
    what: str
    record: Written
    by_type: bool = False


def good(topic: str, number: int) -> Written:
    """A publisher's event as it should be, of an organisation that does not exist."""
    headers: Headers = [
        (b"ce_specversion", b"1.0"),
        (b"ce_id", f"flood-{topic}-{number}".encode()),
        (b"ce_source", f"urn:publisher:{PUBLISHER}".encode()),
        (b"ce_type", b"CsnIssued"),
        (b"ce_time", b"2026-01-01T00:00:00Z"),
        (b"content-type", b"application/json"),
    ]
    return Written(b"flood", SAID, headers)


def gap(service: str, number: int) -> Written:
    """A correctly hashed version 7 of a stream of which no other comes, after an invented version 6."""
    envelope = Envelope(
        f"flood-{number}", source_of(service), "OperationPerformed", f"flood-{number}", _NOON, 1, 7, 10**9
    )
    envelope = envelope._replace(prevhash=b"\x33" * 32)
    envelope = envelope._replace(hash=chained(envelope, b"{}"))
    return Written(envelope.stream.encode(), b"{}", [(n.encode(), v) for n, v in to_headers(envelope)])


def forged(service: str, genuine: Published) -> Written:
    """The genuine event's version again, with another body and the hash that fits it."""
    record = as_written(genuine)
    fields = {n.decode(): (v or b"").decode() for n, v in record.headers if n is not None}
    envelope = from_headers([(n, v.encode()) for n, v in fields.items()], record.key)
    data = (record.value or b"")[:-1] + b" }"
    envelope = envelope._replace(source=source_of(service))
    envelope = envelope._replace(hash=chained(envelope, data))
    return Written(record.key, data, [(n.encode(), v) for n, v in to_headers(envelope)])


def _is_genuine(service: str, record: Published) -> bool:
    """Whether it is an event of the service, and not what another test of hostile records has left there."""
    raw = Raw(topic_of(service), record.partition, record.offset, record.key, record.headers, record.value)
    try:
        own_event(raw, service)
    except Unreadable:
        return False
    return True


def as_written(record: Published) -> Written:
    return Written(record.key, record.value, [(n.encode(), v) for n, v in record.headers])


class Flood:
    """Very many hostile records, over all topics and partitions, at a rate that can be told."""

    def __init__(self, access: KafkaAccess, chance: random.Random, producer: AIOKafkaProducer) -> None:
        self._access, self._chance, self._producer = access, chance, producer
        self._partitions = {topic.name: topic.partitions for topic in declared()}
        self._genuine: dict[str, list[Published]] = {}
        self.sent: list[Sent] = []

    async def send(self, number: int, a_second: float) -> None:
        """So many of every kind, in batches of a partition each."""
        for service in SERVICES:
            found = await read_topic(topic_of(service), self._access)
            self._genuine[service] = [record for record in found if _is_genuine(service, record)]
        waiting: dict[tuple[str, int], list[Sent]] = {}
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for nth in range(number):
            one = self._one(nth)
            while one.what == MANY and self._chance.randrange(MANY_OF):
                one = self._one(nth)
            batch = waiting.setdefault((one.topic, one.partition), [])
            batch.append(one)
            if len(batch) == BATCH or one.what == MANY:
                await self._send(waiting.pop((one.topic, one.partition)))
            if (ahead := begun + nth / a_second - loop.time()) > 0:
                await asyncio.sleep(ahead)
        for batch in waiting.values():
            await self._send(batch)

    def _one(self, number: int) -> Sent:
        chance = self._chance
        service = chance.choice((*SERVICES, INBOUND, OWN_TOPIC))
        if is_inbound(service):
            of_topic = OF_THE_OWN_TOPIC if service == OWN_TOPIC else {}
            what, change = chance.choice([*ANYWHERE.items(), *FOREIGN.items(), *of_topic.items()])
            by_type = what in FOREIGN and what not in OF_EVERY_READER
            record = change(chance, good(service, number))
            return Sent(service, chance.randrange(self._partitions[service]), -1, what, record, by_type)
        topic, source, kind = topic_of(service), chance.choice(self._genuine[service]), chance.random()
        if kind < 0.05:
            return Sent(topic, chance.randrange(self._partitions[topic]), -1, GAP, gap(service, number))
        if kind < 0.2:
            return Sent(topic, source.partition, -1, "a known version with another body", forged(service, source))
        what, change = chance.choice([*ANYWHERE.items(), *OWN.items()])
        return Sent(topic, source.partition, -1, what, change(chance, as_written(source)))

    async def _send(self, batch: Sequence[Sent]) -> None:
        topic, partition = batch[0].topic, batch[0].partition
        first = await self.raw(topic, partition, read([each.record for each in batch]), len(batch))
        for nth, each in enumerate(batch):
            each.offset = first + nth
        self.sent += batch

    async def raw(self, topic: str, partition: int, data: bytes, number: int) -> int:
        """Sends a batch as it is; its first offset, or what the broker says against it."""
        builder = self._producer.create_batch()
        builder._buffer, builder._relative_offset = bytearray(data), number
        builder.close()
        sent = await (await self._producer.send_batch(builder, topic, partition=partition))
        return int(sent.offset)

    async def largest(self, topic: str) -> None:
        """A record of exactly the size that is allowed."""
        record = self.sized(topic, LIMIT)
        one = Sent(topic, 0, -1, "of the largest size", record, is_inbound(topic))
        await self._send([one])

    def sized(self, topic: str, size: int) -> Written:
        """A record whose batch has this size."""
        record = good(topic, size)
        if not is_inbound(topic):
            service = next(each for each in SERVICES if topic_of(each) == topic)
            record = as_written(self._genuine[service][0])
        filled = record._replace(value=b"x" * (size - 2_000))
        return filled._replace(value=b"x" * (size - 2_000 + size - len(read([filled]))))


GAP: Final = "a gap that never closes"


@asynccontextmanager
async def flooding(access: KafkaAccess, chance: random.Random) -> AsyncIterator[Flood]:
    producer = AIOKafkaProducer(**access.client(), acks="all", max_request_size=2 * LIMIT)
    await producer.start()
    try:
        yield Flood(access, chance, producer)
    finally:
        await producer.stop()
