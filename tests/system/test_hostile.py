"""Records that no event of the contract looks like, between good ones, on the running system."""

import asyncio
import json
from datetime import UTC, datetime

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.events.registry import IDENTITY, INBOUND
from tests.system.running import System

pytestmark = pytest.mark.system

GOOD: list[tuple[str, bytes | None]] = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"hostile-1"),
    ("ce_source", b"urn:publisher:autodesk"),
    ("ce_type", b"CsnIssued"),
    ("ce_time", datetime(2026, 1, 1, tzinfo=UTC).isoformat().encode()),
    ("content-type", b"application/json"),
]


def but(name: str, value: bytes | None) -> list[tuple[str, bytes | None]]:
    return [(n, value if n == name else v) for n, v in GOOD]


HOSTILE: dict[str, tuple[list[tuple[str, bytes | None]], bytes | None]] = {
    "a null header": (but("ce_id", None), b"{}"),
    "a header that is not UTF-8": (but("ce_source", b"\xff\xfe"), b"{}"),
    "a truncated body": (GOOD, b'{"csn": "51000'),
    "no body": (GOOD, None),
    "no headers": ([], b"{}"),
    "an unknown type": (but("ce_type", b"SomethingElse"), b"{}"),
    "10,000 deep": (GOOD, b"[" * 10_000),
    "not a number": (GOOD, b'{"csn": NaN, "organisation_id": "x", "publisher": "autodesk"}'),
    "a lone surrogate": (GOOD, b'{"csn": "\\ud800", "organisation_id": "x", "publisher": "autodesk"}'),
    "a thousand headers": (GOOD + [(f"x{n}", b"y") for n in range(1_000)], b"{"),
}


async def _send(access: KafkaAccess, topic: str) -> list[tuple[int, int]]:
    """Sends them as they are; aiokafka's own producer writes null header values, its type hints notwithstanding."""
    producer = AIOKafkaProducer(**access.client(), acks="all")
    await producer.start()
    try:
        places = []
        for headers, body in HOSTILE.values():
            batch = producer.create_batch()
            batch.append(key=b"somebody", value=body, timestamp=None, headers=headers)
            sent = await (await producer.send_batch(batch, topic, partition=0))
            places.append((sent.partition, sent.offset))
        return places
    finally:
        await producer.stop()


async def _parked(dsn: str, topic: str) -> list[asyncpg.Record]:
    db = await asyncpg.connect(dsn)
    try:
        return await db.fetch('select * from engine.parked where topic = $1 order by "offset", consumer', topic)
    finally:
        await db.close()


def test_hostile_records_are_kept_whole_and_everything_else_goes_on(running: System) -> None:
    """In a publisher's topic and in a service's at the same time."""
    places = {topic: asyncio.run(_send(running.kafka.access, topic)) for topic in (INBOUND, IDENTITY)}
    running.planted |= {(topic, *place) for topic, sent in places.items() for place in sent}
    running.tell()
    for topic, sent in places.items():
        parked = asyncio.run(_parked(running.dsns()["marketplace"], topic))
        mine = {row["offset"]: row for row in parked if row["partition"] == 0}
        for (_, offset), (what, (headers, body)) in zip(sent, HOSTILE.items(), strict=True):
            assert offset in mine, f"{what} was not parked of {topic}"
            row = mine[offset]
            assert row["value"] == body, what
            assert [name for name, _ in json.loads(row["headers"])] == [name for name, _ in headers], what
            assert row["detail"], what
            assert not row["holds_stream"], f"{what} must not hold anybody's stream"
    assert "event parked" in running.log_of("marketplace"), "the service says what it left"
    assert all(service.ready() for service in running.services.values())
    running.assert_sound()


def test_nothing_is_committed_to_kafka_that_the_database_has_not(running: System) -> None:
    """What lag tools see never runs ahead of the truth."""

    async def look() -> list[str]:
        from aiokafka.admin import AIOKafkaAdminClient

        admin = AIOKafkaAdminClient(**running.kafka.access.client())
        await admin.start()
        ahead = []
        try:
            for dsn in running.dsns().values():
                db = await asyncpg.connect(dsn)
                rows = await db.fetch('select consumer, topic, partition, "offset" from engine.checkpoints')
                await db.close()
                for row in rows:
                    told = await admin.list_consumer_group_offsets(row["consumer"])
                    place = told.get(TopicPartition(row["topic"], row["partition"]))
                    if place is not None and place.offset > row["offset"] + 1:
                        ahead.append(f"{row['consumer']}: {place.offset} > {row['offset'] + 1}")
        finally:
            await admin.close()
        return ahead

    assert asyncio.run(look()) == []
    running.assert_sound()
