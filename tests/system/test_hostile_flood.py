"""A flood of hostile records on every topic, beside a story: each is parked with its bytes, or a repeat; nobody waits.

`HOSTILE=50000` sends so many; the seed is printed, and `HOSTILE_SEED` plays it again.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.topics import declared
from deploy.year.check import SERVICES as DECLARED
from shared.eventlog.kafka import KafkaAccess
from shared.eventlog.plan import headers_of
from shared.eventlog.records import raw_of
from shared.events.envelope import Envelope, chained, from_headers, source_of, to_headers
from shared.events.registry import INBOUND, SERVICES, topic_of
from tests.engine.batches import Written, read, send
from tests.oracle.evidence import Published, read_topic
from tests.system.rest import readers, rests
from tests.system.running import System, finished

pytestmark = pytest.mark.system

NUMBER: Final = int(os.environ.get("HOSTILE", "600"))
BATCH: Final = 50
PATIENCE_S: Final = 30 + NUMBER / 200
"""A gap costs a partition three seconds a minute, and parking costs each consumer a statement a record."""
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


ANYWHERE: Final[Mapping[str, Change]] = {
    "a null header": but(b"ce_id", None),
    "a header that is not UTF-8": but(b"ce_source", b"\xff\xfe"),
    "a name with NUL": named(b"\0"),
    "a name that is not UTF-8": named(b"x\xff"),
    "a name of ours that is not UTF-8": named(b"ce_\xff"),
    "a NUL in an id": but(b"ce_id", b"a\0b"),
    "an id of 501 characters": but(b"ce_id", b"x" * 501),
    "no headers": lambda _, record: record._replace(headers=[]),
    "ten thousand headers": lambda _, record: record._replace(
        headers=[(b"x%d" % n, b"y") for n in range(10_000)]
    ),
    "another service's source": but(b"ce_source", b"urn:tenure:nobody"),
    "another's type": but(b"ce_type", b"SeatPoolOpened"),
    "a time without a zone": but(b"ce_time", b"2026-01-01T00:00:00"),
    "another version of CloudEvents": but(b"ce_specversion", b"0.3"),
}  # fmt: skip
OWN: Final[Mapping[str, Change]] = {
    "a flipped bit": flipped,
    "a truncated body": lambda _, record: record._replace(value=(record.value or b"")[:-1]),
    "no body": body(None),
    "10,000 deep": body(b"[" * 10_000),
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
}  # fmt: skip
SAID: Final = b'{"csn": "5100000001", "organisation_id": "hostile", "publisher": "autodesk"}'
FOREIGN: Final[Mapping[str, Change]] = {
    "not a number": body(b'{"csn": NaN, "organisation_id": "x", "publisher": "autodesk"}'),
    "1e400": body(b'{"csn": 1e400, "organisation_id": "x", "publisher": "autodesk"}'),
    "a lone surrogate": body(b'{"csn": "\\ud800", "organisation_id": "x", "publisher": "autodesk"}'),
    "another publisher's": body(SAID.replace(b"autodesk", b"acme")),
    "from 2099": but(b"ce_time", b"2099-01-01T00:00:00Z"),
    "a service's type": but(b"ce_type", b"SubscriptionEnded"),
    "a type that is unknown": but(b"ce_type", b"SomethingElse"),
}


@dataclass(slots=True)
class Sent:
    """A record that was sent, and who has to have parked it: all readers of its topic, or those of its type."""

    topic: str
    partition: int
    offset: int
    what: str
    record: Written
    by_type: bool


def good(topic: str, number: int) -> Written:
    headers: Headers = [
        (b"ce_specversion", b"1.0"), (b"ce_id", b"flood-%d" % number), (b"ce_source", b"urn:publisher:autodesk"),
        (b"ce_type", b"CsnIssued"), (b"ce_time", b"2026-01-01T00:00:00Z"), (b"content-type", b"application/json"),
    ]  # fmt: skip
    assert topic == INBOUND
    return Written(b"flood", SAID, headers)


def gap(service: str, number: int) -> Written:
    """A correctly hashed version 7 of a stream of which no other comes."""
    of = Envelope(f"flood-{number}", source_of(service), "OperationPerformed", f"flood-{number}", _NOON, 1, 7, 10**9)
    of = of._replace(hash=chained(of, b"{}"))
    return Written(of.stream.encode(), b"{}", [(n.encode(), v) for n, v in to_headers(of)])


def forged(service: str, genuine: Published) -> Written:
    """The genuine event's version again, with another body and the hash that fits it."""
    record = raw_of_published(genuine)
    fields = {n.decode(): (v or b"").decode() for n, v in record.headers if n is not None}
    of = from_headers([(n, v.encode()) for n, v in fields.items()], record.key)
    data = (record.value or b"")[:-1] + b" }"
    of = of._replace(source=source_of(service))
    of = of._replace(hash=chained(of, data))
    return Written(record.key, data, [(n.encode(), v) for n, v in to_headers(of)])


def raw_of_published(record: Published) -> Written:
    return Written(record.key, record.value, [(n.encode(), v) for n, v in record.headers])


async def flood(access: KafkaAccess, chance: random.Random) -> list[Sent]:
    """Sends the records in batches, over all topics and partitions."""
    genuine = {service: [r for r in await read_topic(topic_of(service), access) if r.value] for service in SERVICES}
    partitions = {topic.name: topic.partitions for topic in declared()}
    batches: dict[tuple[str, int], list[tuple[str, Written, bool]]] = {}
    for number in range(NUMBER):
        service = chance.choice((*SERVICES, ""))
        if not service:
            what, change = chance.choice([*ANYWHERE.items(), *FOREIGN.items()])
            record = change(chance, good(INBOUND, number))
            by_type = what in FOREIGN and what not in ("a service's type", "a type that is unknown")
            batches.setdefault((INBOUND, chance.randrange(partitions[INBOUND])), []).append((what, record, by_type))
            continue
        source = chance.choice(genuine[service])
        if (kind := chance.random()) < 0.05:
            what, record = "a gap that never closes", gap(service, number)
        elif kind < 0.2:
            what, record = "a known version with another body", forged(service, source)
        else:
            what, change = chance.choice([*ANYWHERE.items(), *OWN.items()])
            record = change(chance, raw_of_published(source))
        partition = (
            source.partition if not what.startswith("a gap") else chance.randrange(partitions[topic_of(service)])
        )
        batches.setdefault((topic_of(service), partition), []).append((what, record, False))
    sent: list[Sent] = []
    for (topic, partition), records in batches.items():
        for begin in range(0, len(records), BATCH):
            some = records[begin : begin + BATCH]
            data = (read([record for _, record, _ in some]), len(some))
            (first,) = await send(access, topic, partition, [data])
            sent += [Sent(topic, partition, first + n, *each) for n, each in enumerate(some)]
    return sent


async def parked(dsn: str) -> dict[tuple[str, str, int, int], asyncpg.Record]:
    db = await asyncpg.connect(dsn)
    try:
        rows = await db.fetch("select * from engine.parked")
        return {(row["consumer"], row["topic"], row["partition"], row["offset"]): row for row in rows}
    finally:
        await db.close()


async def held(access: KafkaAccess, sent: Sequence[Sent]) -> None:
    """What Kafka holds is what was sent: so the comparison is with what came, not with what was meant."""
    kafka = AIOKafkaConsumer(**access.client())
    await kafka.start()
    try:
        one = sent[0]
        partition = TopicPartition(one.topic, one.partition)
        kafka.assign([partition])
        kafka.seek(partition, one.offset)
        raw = raw_of(await kafka.getone(partition))
        assert (raw.key, raw.value) == (one.record.key, one.record.value)
    finally:
        await kafka.stop()


def missing(sent: Sequence[Sent], rows: Mapping[tuple[str, str, int, int], Any]) -> list[str]:
    """The records that a consumer should have parked and has not, or not with the same bytes."""
    wrong = []
    for service in DECLARED:
        for what in service.consumers:
            name = f"{service.name}.{what.name}"
            for each in sent:
                if each.topic not in what.topics or (each.by_type and "CsnIssued" not in what.types):
                    continue
                row = rows.get((name, each.topic, each.partition, each.offset))
                if row is None:
                    wrong.append(f"{name} has not parked {each.what} at {each.topic}/{each.partition}/{each.offset}")
                    continue
                headers = [(n.encode(errors="surrogateescape"), v) for n, v in headers_of(json.loads(row["headers"]))]
                if (row["key"], row["value"], headers) != (each.record.key, each.record.value, [*each.record.headers]):
                    wrong.append(f"{name} has other bytes of {each.what} at {each.topic}/{each.offset}")
    return wrong


def test_a_flood_of_hostile_records_is_kept_whole_and_everything_else_goes_on(running: System) -> None:
    seed = int(os.environ.get("HOSTILE_SEED", str(random.SystemRandom().randrange(10**9))))
    print(f"HOSTILE_SEED={seed}")
    access = running.kafka.access
    sent = asyncio.run(flood(access, random.Random(seed)))
    running.planted |= {(each.topic, each.partition, each.offset) for each in sent}
    story, begun = running.story(), time.monotonic()
    finished(story)
    asyncio.run(rests(running.dsns(), access, readers(DECLARED)))
    assert time.monotonic() - begun < PATIENCE_S + 60, "a partition waited"
    asyncio.run(held(access, sent))
    rows = {place: row for dsn in running.dsns().values() for place, row in asyncio.run(parked(dsn)).items()}
    assert missing(sent, rows) == []
    assert all(service.ready() for service in running.services.values())
    running.assert_sound()
