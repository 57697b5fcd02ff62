"""The envelope on the bus: CloudEvents 1.0 in Kafka's binary mode, as others write and read it."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from shared.events import CsnIssued, SeatUnassigned
from shared.events.envelope import Envelope, Unreadable, chained, from_headers, stamp, to_headers
from shared.events.upcasts import decode

TIME = datetime(2026, 11, 21, 4, 3, 0, 5, tzinfo=UTC)
EVENT = SeatUnassigned(subscription_id="s", contract_id="c", seat=1, account_id="a", unassigned_by="b")
OURS = Envelope(
    "01a1fca4-6f14-7081-8e20-2ebdc8254351", "urn:tenure:entitlements", "SeatUnassigned", "pool-s", TIME, 1, 2, 41_207,
    "story-1", "cause-1", "account-1", "tenant-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"p" * 32, b"h" * 32,
)  # fmt: skip


def test_the_cloudevents_sdk_reads_what_we_publish() -> None:
    message = KafkaMessage(dict(to_headers(OURS)), OURS.stream.encode(), EVENT.data())
    read = from_binary(message, JSONFormat())
    assert (read.get_id(), read.get_source(), read.get_type()) == (OURS.id, OURS.source, OURS.type)
    assert (read.get_subject(), read.get_time()) == (OURS.stream, TIME)
    assert read.get_dataschema() == "urn:tenure:events:SeatUnassigned:1"
    assert read.get_datacontenttype() == "application/json"
    assert read.get_data() == json.loads(EVENT.data())
    extensions = {
        "sequence": "2", "position": "41207", "partitionkey": OURS.stream, "correlationid": "story-1",
        "causationid": "cause-1", "actor": "account-1", "tenant": "tenant-1", "traceparent": OURS.traceparent,
        "prevhash": (b"p" * 32).hex(), "hash": (b"h" * 32).hex(),
    }  # fmt: skip
    for name, value in extensions.items():
        assert str(read.get_extension(name)) == value


def test_we_read_what_the_cloudevents_sdk_writes() -> None:
    attributes = {
        "type": "CsnIssued", "source": "urn:publisher:autodesk", "id": "foreign-1", "subject": "partner",
        "time": datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "datacontenttype": "application/json",
    }  # fmt: skip
    data = {"csn": "5100000001", "organisation_id": "o", "publisher": "autodesk", "more": "than we know"}
    message = to_binary(CloudEvent(attributes, data), JSONFormat())
    of = from_headers(list(message.headers.items()), None)
    assert (of.id, of.type, of.version, of.time) == ("foreign-1", "CsnIssued", None, datetime(2026, 1, 1, tzinfo=UTC))
    event = decode(of, message.value)
    assert event == CsnIssued(csn="5100000001", organisation_id="o", publisher="autodesk")
    assert event.ref == "foreign-1"


def test_headers_lose_nothing() -> None:
    assert from_headers(to_headers(OURS), OURS.stream.encode()) == OURS


def test_the_hash_is_the_one_that_the_readme_describes() -> None:
    fields = "\n".join(
        (OURS.id, OURS.source, OURS.type, OURS.stream, "2", "2026-11-21T04:03:00.000005Z", "1", "story-1", "cause-1",
         "account-1", "tenant-1", OURS.traceparent, "")
    )  # fmt: skip
    assert chained(OURS, b'{"a": 1}') == hashlib.sha256(b"p" * 32 + fields.encode() + b'{"a": 1}').digest()
    others = (
        OURS._replace(id="x"), OURS._replace(stream="x"), OURS._replace(version=7), OURS._replace(actor="x"),
        OURS._replace(tenant="x"), OURS._replace(schema=7), OURS._replace(time=TIME + timedelta(microseconds=1)),
    )  # fmt: skip
    assert len({chained(each, b"{}") for each in (OURS, *others)}) == 8


def test_a_time_is_written_in_utc_whatever_its_zone() -> None:
    assert stamp(TIME.astimezone(timezone(timedelta(hours=-5)))) == stamp(TIME) == "2026-11-21T04:03:00.000005Z"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_id", None), ("ce_id", b""), ("ce_id", b"a\nb"), ("ce_id", b"\xff"), ("ce_specversion", b"0.3"),
        ("ce_time", b"yesterday"), ("ce_time", b"2026-01-01T00:00:00"), ("ce_sequence", b"-1"),
        ("ce_sequence", b"\xd9\xa1"), ("ce_hash", b"12"), ("ce_dataschema", b"urn:tenure:events:Other:1"),
        ("ce_actor", b"x" * 501),
    ],
)  # fmt: skip
def test_a_header_that_is_wrong_is_named(name: str, value: bytes | None) -> None:
    headers = [(n, value if n == name else v) for n, v in to_headers(OURS)]
    with pytest.raises(Unreadable, match=name.removeprefix("ce_") if name == "ce_specversion" else name):
        from_headers(headers, None) if name != "ce_specversion" else _version(headers)


def _version(headers: list[tuple[str, bytes | None]]) -> None:
    try:
        from_headers(headers, None)
    except Unreadable as error:
        raise Unreadable(f"specversion: {error}") from None


_value = st.one_of(st.none(), st.binary(max_size=60), st.text(max_size=20).map(str.encode))


@given(st.dictionaries(st.sampled_from([n for n, _ in to_headers(OURS)] + ["other"]), _value))
def test_nothing_but_unreadable_comes_of_any_headers(changed: dict[str, bytes | None]) -> None:
    headers = [(n, changed.get(n, v)) for n, v in to_headers(OURS)]
    try:
        of = from_headers(headers, b"key")
    except Unreadable:
        return
    assert of.id and of.type and "\n" not in of.actor
