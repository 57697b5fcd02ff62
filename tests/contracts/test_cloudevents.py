"""Others read what we publish, and we read what they publish: the CloudEvents SDK stands for them."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from shared.events import EVENTS, CsnIssued
from shared.events.envelope import Envelope, from_headers, to_headers
from shared.events.upcasts import decode
from tests.contracts.golden import golden_file

TIME = datetime(2026, 11, 21, 4, 3, 0, 5, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def ours(name: str) -> Envelope:
    return Envelope(
        "01a1fca4-6f14-7081-8e20-2ebdc8254351",
        "urn:tenure:marketplace",
        name,
        "stream-1",
        TIME,
        EVENTS[name].SCHEMA,
        2,
        41_207,
        "story-1",
        "cause-1",
        "account-1",
        "tenant-1",
        TRACE,
        b"p" * 32,
        b"h" * 32,
    )


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_the_sdk_reads_every_attribute_of_every_event_that_we_publish(name: str) -> None:
    envelope, data = ours(name), golden_file(EVENTS[name]).read_bytes()
    headers = to_headers(envelope)
    assert len({header for header, _ in headers}) == len(headers), "a header stands there twice"
    read = from_binary(KafkaMessage(dict(headers), envelope.stream.encode(), data), JSONFormat())
    assert read.get_attributes() == {
        "specversion": "1.0",
        "id": envelope.id,
        "source": "urn:tenure:marketplace",
        "type": f"internal.tenure.{name}",
        "subject": "stream-1",
        "time": TIME,
        "datacontenttype": "application/json",
        "dataschema": f"urn:tenure:events:{name}:{EVENTS[name].SCHEMA}",
        "partitionkey": "stream-1",
        "sequence": "0000000002",
        "position": "41207",
        "correlationid": "story-1",
        "causationid": "cause-1",
        "actor": "account-1",
        "tenant": "tenant-1",
        "traceparent": TRACE,
        "prevhash": "70" * 32,
        "hash": "68" * 32,
    }
    assert read.get_data() == json.loads(data)


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_what_the_sdk_hands_on_of_ours_is_still_the_same_event(name: str) -> None:
    envelope, data = ours(name), golden_file(EVENTS[name]).read_bytes()
    read = from_binary(KafkaMessage(dict(to_headers(envelope)), envelope.stream.encode(), data), JSONFormat())
    again = to_binary(read, JSONFormat())
    assert from_headers(list(again.headers.items()), None) == envelope
    assert decode(envelope, again.value, trusted=True) == decode(envelope, data, trusted=True)


def test_we_read_a_foreign_event() -> None:
    attributes = {
        "type": "CsnIssued",
        "source": "urn:publisher:autodesk",
        "id": "foreign-1",
        "subject": "partner",
        "time": datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        "datacontenttype": "application/json",
        "correlationid": "theirs",
        "dataschema": "https://publisher.example/csn/4",
    }
    data = {"csn": "5100000001", "organisation_id": "o", "publisher": "autodesk", "more": "than we know"}
    message = to_binary(CloudEvent(attributes, data), JSONFormat())
    envelope = from_headers(list(message.headers.items()), None)
    assert envelope == Envelope(
        "foreign-1",
        "urn:publisher:autodesk",
        "CsnIssued",
        "partner",
        datetime(2026, 1, 1, tzinfo=UTC),
        correlation_id="theirs",
    )
    event = decode(envelope, message.value)
    assert event == CsnIssued(csn="5100000001", organisation_id="o", publisher="autodesk")
    assert event.ref == "foreign-1"


def test_a_foreign_event_without_a_subject_goes_by_its_key() -> None:
    attributes = {"type": "CsnIssued", "source": "s", "id": "i", "time": TIME, "partitionkey": "by-key"}
    message = to_binary(CloudEvent(attributes, {}), JSONFormat())
    assert isinstance(message.key, str)
    assert from_headers(list(message.headers.items()), message.key.encode()).stream == "by-key"
