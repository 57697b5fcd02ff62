"""What the oracle looks at: a service's store, its topic, its consumers' notes. Read once, whole."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import asyncpg
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import headers_of
from shared.eventlog.repair import anchors
from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.write.log import Answer, Refused
from shared.events.envelope import Envelope, Headers, from_headers, source_of
from shared.events.registry import INBOUND, is_inbound, topic_of, topics_read
from shared.events.structured import in_binary_mode

PUBLISHERS: Final = "publisher"
"""Whose evidence the gateway's inbound topic is; `publisher.<name>` is a publisher's own topic's."""
"""Under this name stands the evidence of the publishers' own topic, which no store is behind."""


@dataclass(frozen=True, slots=True)
class Stored:
    envelope: Envelope
    data: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """A record of a topic, as it lies there."""

    partition: int
    offset: int
    key: bytes | None
    headers: Headers
    value: bytes | None

    def envelope(self, *, foreign: bool) -> Envelope:
        """Its event's attributes. A publisher's event may be in structured mode, and need not say its time.

        Raises:
            Unreadable: It is no event.
        """
        headers, _ = in_binary_mode(self.headers, self.value) if foreign else (self.headers, self.value)
        return from_headers(headers, self.key, _ARRIVED if foreign else None)


_ARRIVED: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When a record arrived that says no time: nothing that is judged depends on it."""


@dataclass(slots=True)
class Asked:
    """A command as its client knows it: what it heard, or that it heard nothing."""

    command_id: str
    service: str
    stream: str
    outcome: Literal["unknown", "ok", "refused"] = "unknown"
    events: tuple[str, ...] = ()

    def heard(self, answer: Answer) -> None:
        self.outcome = "refused" if isinstance(answer, Refused) else "ok"
        self.events = () if isinstance(answer, Refused) else tuple(event.id for event in answer.events)


class Answered(NamedTuple):
    """A command as the store knows it: its events are `stream`, versions first + 1 to first + events."""

    stream: str
    first: int
    events: int
    refused: bool


class Waiting(NamedTuple):
    """A parked record: of this version of a stream (0 where it has none, or could not be read), with its bytes. Its
    stream waits behind it where it is held."""

    version: int
    held: bool
    key: bytes | None
    headers: Headers
    value: bytes | None


@dataclass(slots=True)
class Evidence:
    """One service's, or the publishers' topic's."""

    service: str
    published: bool = True
    """Whether there is a relay: without one only the store is judged."""
    foreign: bool = False
    """Whether what the topic holds is the publishers': no store says what should be there."""
    at_ends: bool = True
    """Whether consumers had the time to read the topic to its ends, repeats and all."""
    fenced: str | None = None
    """Why the store takes no commands."""
    events: list[Stored] = field(default_factory=list)
    position: int = 0
    chain: bytes = b""
    batches: list[tuple[int, bytes]] = field(default_factory=list)
    relayed: int = 0
    topic: list[Published] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=dict)
    """Of each of the topic's partitions the offset that its next record will have."""
    planted: set[tuple[int, int]] = field(default_factory=set)
    """Partition and offset of records that a test put there and no relay did."""
    anchors: list[Anchor] = field(default_factory=list)
    expected: frozenset[str] = frozenset()
    """The consumers, of any service, that read this topic by their services' registries."""
    seen: dict[tuple[str, str], int] = field(default_factory=dict)
    """Per consumer of any service and stream of this one: the version that it has dealt with."""
    checkpoints: dict[tuple[str, int], int] = field(default_factory=dict)
    """Per consumer of any service and partition of this one's topic: the last offset that it has dealt with."""
    parked: list[tuple[str, str, int, str]] = field(default_factory=list)
    """Consumer, topic, offset, reason; of this service's own consumers."""
    waiting: dict[tuple[str, int, int], Waiting] = field(default_factory=dict)
    """Per consumer of any service, partition and offset of this one's topic: what is parked there."""
    asked: list[Asked] = field(default_factory=list)
    """What this service's clients know, where a test has asked them."""
    answered: dict[str, Answered] = field(default_factory=dict)
    """What the store knows of its commands, by id."""


async def gather(
    dsns: Mapping[str, str],
    access: KafkaAccess,
    topics: Mapping[str, str] | None = None,
    readers: Mapping[str, Sequence[str]] | None = None,
    anchored: Path | None = None,
) -> dict[str, Evidence]:
    """All services' evidence. The system should be at rest: nothing on its way between stores and topics. `topics` says
    where a service publishes, if not where it always does; `readers` which topics each consumer reads, by its service's
    registry; `anchored` is the folder of the anchors: without it, none are read, from their topic neither."""
    envelope = {service: (topics or {}).get(service, topic_of(service)) for service in dsns}
    found = {service: Evidence(service) for service in dsns}
    reading = {name: topics_read(read, await _existing(access)) for name, read in (readers or {}).items()}
    for topic in {topic for read in reading.values() for topic in read if is_inbound(topic)}:
        name = PUBLISHERS + topic.removeprefix(INBOUND)
        envelope[name], found[name] = topic, Evidence(name, foreign=True)
    for service, dsn in dsns.items():
        await read_store(found[service], dsn)
        if anchored is not None:
            marks = anchors.from_file(anchored, service)[0] + (await anchors.from_topic(access, service))[0]
            found[service].anchors = marks
    for service, dsn in dsns.items():
        await _read_notes(found, service, dsn, envelope)
    for evidence in found.values():
        topic = envelope[evidence.service]
        evidence.topic, evidence.ends = await read_whole(topic, access)
        evidence.expected = frozenset(name for name, read in reading.items() if topic in read)
    return found


async def _existing(access: KafkaAccess) -> list[str]:
    admin = AIOKafkaAdminClient(**access.client())
    await admin.start()
    try:
        names: list[str] = await admin.list_topics()
        return names
    finally:
        await admin.close()


async def read_store(evidence: Evidence, dsn: str) -> None:
    """All that one service's database says of its own log."""
    db = await asyncpg.connect(dsn)
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            rows = await db.fetch("select *, data::text as bytes from log.events order by position")
            head = await db.fetchrow("select position, chain, fenced from log.head")
            batches = await db.fetch("select last_position, chain from log.batches order by last_position")
            relayed = await db.fetchval(
                "select coalesce(max(position), 0) from engine.leases where name like 'relay:%'"
            )
            commands = await db.fetch(
                "select id, stream, first, count, refusal is not null as refused from log.commands"
            )
            parked = await db.fetch(
                'select consumer, topic, "offset", reason from engine.parked order by topic, "offset"'
            )
    finally:
        await db.close()
    source = source_of(evidence.service)
    evidence.events = [
        Stored(
            Envelope(
                str(r["id"]),
                source,
                r["type"],
                r["stream"],
                r["time"],
                r["schema"],
                r["version"],
                r["position"],
                r["correlation_id"],
                r["causation_id"],
                r["actor"],
                r["tenant"],
                r["traceparent"],
                r["prevhash"],
                r["hash"],
                r["command_id"],
            ),
            r["bytes"].encode(),
        )
        for r in rows
    ]
    assert head is not None
    evidence.position, evidence.chain, evidence.fenced = head["position"], head["chain"], head["fenced"]
    evidence.batches = [(row["last_position"], row["chain"]) for row in batches]
    evidence.relayed = relayed
    evidence.answered = {r["id"]: Answered(r["stream"], r["first"], r["count"], r["refused"]) for r in commands}
    evidence.parked = [(row["consumer"], row["topic"], row["offset"], row["reason"]) for row in parked]


async def _read_notes(found: dict[str, Evidence], service: str, dsn: str, topics_of: Mapping[str, str]) -> None:
    """A consumer's notes stand in the consumer's database; they belong to the evidence of the stream's service."""
    owner = {event.envelope.stream: e.service for e in found.values() for event in e.events}
    db = await asyncpg.connect(dsn)
    try:
        for row in await db.fetch("select consumer, stream, version from engine.seen"):
            envelope = owner.get(row["stream"], service)
            found[envelope].seen[row["consumer"], row["stream"]] = row["version"]
        topics = {topics_of[name]: evidence for name, evidence in found.items()}
        for row in await db.fetch("select * from engine.checkpoints where topic = any($1::text[])", list(topics)):
            topics[row["topic"]].checkpoints[row["consumer"], row["partition"]] = row["offset"]
        for row in await db.fetch("select * from engine.parked where topic = any($1::text[])", list(topics)):
            place = (row["consumer"], row["partition"], row["offset"])
            topics[row["topic"]].waiting[place] = _waiting(row)
    finally:
        await db.close()


def _waiting(row: Any) -> Waiting:
    headers: Any = headers_of(json.loads(row["headers"]))
    return Waiting(row["version"] or 0, row["holds_stream"], row["key"], headers, row["value"])


async def read_topic(topic: str, access: KafkaAccess) -> list[Published]:
    """Every record of the topic, within a partition in its order."""
    return (await read_whole(topic, access))[0]


async def read_whole(topic: str, access: KafkaAccess) -> tuple[list[Published], dict[int, int]]:
    """Every record of the topic, within a partition in its order, and where each partition ends."""
    consumer = AIOKafkaConsumer(topic, **access.client(), auto_offset_reset="earliest")
    await consumer.start()
    records: list[Published] = []
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        for partition in ends:
            consumer.seek(partition, 0)
        while [p for p, end in ends.items() if await consumer.position(p) < end]:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records += [Published(r.partition, r.offset, r.key, list(r.headers), r.value) for r in batch]
    finally:
        await consumer.stop()
    return records, {place.partition: end for place, end in ends.items()}


def streams_of(events: Sequence[Stored]) -> dict[str, list[Stored]]:
    """A store's events by stream, in the store's order."""
    streams: dict[str, list[Stored]] = {}
    for event in events:
        streams.setdefault(event.envelope.stream, []).append(event)
    return streams
