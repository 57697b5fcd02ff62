"""What a field accepts, everything behind it holds: any event that validates is appended, published, read and folded.

EVENTS says how many there are (400 by default).
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from hypothesis import HealthCheck, Phase, given, settings

from services import definitions
from shared.eventlog.decision import Decision, Stream
from shared.eventlog.write.log import Accepted, Log, Meta
from shared.eventlog.write.postgres import PostgresStore
from shared.events import EVENTS
from shared.events.base import Event
from shared.events.envelope import Envelope, StoredEvent, from_headers
from shared.events.upcasts import decode
from tests.properties.instances import instances
from tests.system import parts

pytestmark = pytest.mark.system

NOON: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOW_MANY: Final = int(os.environ.get("EVENTS", "400"))
AT_ONCE: Final = 200
TOPIC: Final = "any.events"
OF_NO_LOG: Final = {"RecordAnswered"}
"""It is on a topic only, and says in the service's own words what a record was that nothing has bounded."""
SERVICES: Final = definitions()


def _decide(command: Event, _state: None) -> Decision[Event]:
    return (command,)


ANY: Final[Stream[None, Event, Event]] = Stream(
    category="any", initial=None, evolve=lambda state, _event: state, decide=_decide, tenant=lambda _event: "org"
)


class Open:
    """A sealer that keeps personal fields as they are: in the clear or sealed, each is an instance that validates."""

    async def seal(self, events: Sequence[Event]) -> Sequence[Event]:
        return events

    async def open(self, events: Sequence[Event]) -> Sequence[Event]:
        return events


def examples(model: type[Event], count: int) -> list[Event]:
    """So many instances, each made by Hypothesis."""
    found: list[Event] = []

    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(instances(model))
    def collect(event: Event) -> None:
        found.append(event)

    collect()
    return found


@pytest.fixture(scope="module")
def events() -> Sequence[Event]:
    each = max(2, -(-HOW_MANY // len(EVENTS)))
    return [event for name in sorted(EVENTS.keys() - OF_NO_LOG) for event in examples(EVENTS[name], each)]


def chunks(events: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(events), AT_ONCE):
        yield events[start : start + AT_ONCE]


async def _appended(dsn: str, events: Sequence[Event]) -> list[StoredEvent]:
    store = await PostgresStore(dsn, "marketplace").open()
    try:
        log = Log(store, "marketplace", sealer=Open())
        for number, event in enumerate(events):
            answer = await log.execute(ANY, str(number % 50), event, Meta(f"c-{number}", "x", NOON))
            assert isinstance(answer, Accepted)
        found: list[StoredEvent] = []
        while batch := await store.read(len(found), 1000):
            found += batch
        return found
    finally:
        await store.close()


async def _through_kafka(kafka: parts.Kafka, stored: Sequence[StoredEvent]) -> list[Any]:
    """The records of a real broker for these events."""
    access = kafka.access
    admin = AIOKafkaAdminClient(**access.client())
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(**access.client(), acks="all")
    await producer.start()
    try:
        for chunk in chunks(stored):
            sent = [
                await producer.send(
                    TOPIC, each.data, key=each.envelope.stream.encode(), headers=each.headers(), partition=0
                )
                for each in chunk
            ]
            for each in sent:
                await each
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(**access.client(), auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(TOPIC, 0)])
        records: list[Any] = []
        while len(records) < len(stored):
            records += [record async for record in _some(consumer)]
        return records
    finally:
        await consumer.stop()


async def _some(consumer: AIOKafkaConsumer) -> Any:
    for records in (await consumer.getmany(timeout_ms=1000)).values():
        for record in records:
            yield record


async def test_it_comes_back_from_store_and_topic_as_it_was(
    events: Sequence[Event], databases: Callable[[str], str], kafka: parts.Kafka
) -> None:
    stored = await _appended(databases("marketplace"), events)
    assert [each.data for each in stored] == [event.data() for event in events]
    records = await _through_kafka(kafka, stored)
    for event, kept, record in zip(events, stored, records, strict=True):
        envelope = from_headers(record.headers, record.key)
        assert (envelope, record.value) == (kept.envelope, event.data())
        read = decode(envelope, record.value)
        assert (read, read.data()) == (event, event.data())


def test_it_is_json_for_every_reader(events: Sequence[Event]) -> None:
    for event in events:
        shown = orjson.dumps({"type": event.type(), "data": orjson.Fragment(event.data())})
        assert orjson.loads(shown)["data"] == json.loads(event.data()) == event.model_dump(mode="json")


async def test_every_projection_folds_it(events: Sequence[Event], databases: Callable[[str], str]) -> None:
    async with AsyncExitStack() as stack:
        folds = defaultdict(list)
        for service in SERVICES:
            db = await asyncpg.connect(databases(service.name))
            stack.push_async_callback(db.close)
            for projection in service.projections:
                for name in projection.types:
                    folds[name].append((db, projection))
        assert len(folds) > 50
        for number, event in enumerate(events):
            envelope = Envelope(
                f"e-{number}", "urn:tenure:x", event.type(), "any-1", NOON, 1, 1, number + 1, tenant="org"
            )
            for db, projection in folds[event.type()]:
                undone = db.transaction()
                await undone.start()
                try:
                    await projection.apply(db, event, envelope)
                except Exception as error:
                    raise AssertionError(f"{projection.name} can't fold {event!r}") from error
                finally:
                    await undone.rollback()
