"""Publishers' events in structured mode: read by the checks of binary mode, and one event in both modes."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from shared.eventlog.deliver.duplicates import content_of, identity_of
from shared.eventlog.deliver.received import Raw, Received, receive
from shared.events import UpdateWithdrawn
from shared.events.registry import DISTRIBUTION, EVENTS, INBOUND, inbound_topic
from shared.events.structured import ATTRIBUTES, BATCH, STRUCTURED

NOW = datetime(2026, 11, 21, 4, 3, tzinfo=UTC)
DATA = {"update_id": "u-1", "publisher": "autodesk", "reason": "it breaks printing"}
TYPES = frozenset(EVENTS)
OWN = inbound_topic("autodesk")


def attributes(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "id": "e-1",
        "source": "urn:publisher:autodesk",
        "type": "internal.tenure.UpdateWithdrawn",
        "subject": "u-1",
        "datacontenttype": "application/json",
    }
    return given | more


def written(message: Any, topic: str = OWN) -> Received:
    headers = [(name, value) for name, value in message.headers.items()]
    return receive(Raw(topic, 0, 0, None, headers, message.value, "", NOW), TYPES, NOW)


def of_json(found: object, topic: str = OWN, content_type: str = STRUCTURED) -> Received:
    value = found if isinstance(found, bytes) else json.dumps(found).encode()
    return receive(Raw(topic, 0, 0, None, [("content-type", content_type.encode())], value, "", NOW), TYPES, NOW)


def spelled(**more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", **attributes(), "time": "2026-11-21T04:00:00Z", "data": DATA} | more


@pytest.mark.parametrize("topic", [OWN, INBOUND])
def test_the_sdks_structured_record_is_the_event_that_its_binary_one_is(topic: str) -> None:
    event = CloudEvent(attributes(time=NOW, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01"), DATA)
    one, other = (written(write(event, JSONFormat()), topic) for write in (to_binary, to_structured))
    assert one.envelope == other.envelope and one.event == other.event == UpdateWithdrawn(**DATA)
    assert (identity_of(one), content_of(one)) == (identity_of(other), content_of(other))


def test_data_may_be_in_base64_and_the_content_type_have_a_charset() -> None:
    packed = spelled(data_base64=base64.b64encode(json.dumps(DATA).encode()).decode())
    del packed["data"]
    read = of_json(packed, content_type="Application/CloudEvents+JSON; charset=utf-8")
    assert read.event == UpdateWithdrawn(**DATA)
    assert content_of(read) == content_of(of_json(spelled()))


def test_an_event_that_says_no_time_has_that_of_its_arrival_which_is_not_its_content() -> None:
    event = CloudEvent(attributes(), DATA)
    event._attributes.pop("time")  # the SDK fills it in
    one = written(to_binary(event, JSONFormat()))
    again = receive(one.raw._replace(arrived=datetime(2026, 11, 22, tzinfo=UTC)), TYPES)
    assert one.envelope is not None and one.envelope.time == NOW and one.event is not None
    assert content_of(one) == content_of(again)
    assert content_of(one) != content_of(of_json(spelled())), "one that says its time is another"
    assert "missing attributes: time" in str(receive(one.raw._replace(arrived=None), TYPES).problem)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (b"{", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"", "it is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"id": "1", "id": "2"}', "a key is given twice"),
        (b'{"data": {"a": 1, "a": 2}}', "a key is given twice"),
        (b'{"data": NaN}', "NaN is not a JSON value"),
        ([spelled()], "it is not a JSON object"),
        (None, "it is not a JSON object"),
        (spelled(Id="x"), "'Id' is not a CloudEvents attribute"),
        (spelled(actor={"a": 1}), "'actor' is not a CloudEvents attribute"),
        (spelled(actor=1.5), "'actor' is not a CloudEvents attribute"),
        (spelled(actor="two\nlines"), "not printable ASCII"),
        (spelled(actor="\ud800"), "not UTF-8"),
        (spelled(data_base64="e30="), "it has data and data_base64"),
        ({**spelled(), "data": None, "data_base64": "!"}, "it has data and data_base64"),
        (dict.fromkeys((f"a{n}" for n in range(ATTRIBUTES + 1)), "x"), "more than 100 members"),
        (spelled(specversion="0.3"), "not 1.0"),
        (spelled(id=None), "missing attributes: id"),
        (spelled(data={"update_id": "u-1", "publisher": "autodesk"}), "UpdateWithdrawn: reason"),
    ],
)
def test_what_is_no_event_is_set_aside_with_the_reason(what: object, why: str) -> None:
    read = of_json(what)
    assert read.event is None and why in str(read.problem) and read.reason == "unreadable"


def test_headers_beside_the_event_may_repeat_it_and_not_contradict_it() -> None:
    record = of_json(spelled()).raw
    for name, value, good in (("ce_id", b"e-1", True), ("ce_id", b"e-2", False), ("x-trace", b"\xff", True)):
        read = receive(record._replace(headers=[*record.headers, (name, value)]), TYPES, NOW)
        assert (read.event is not None) == good, read.problem


def test_a_batch_is_no_record_and_a_services_own_events_are_in_binary_mode() -> None:
    assert "a record has one event" in str(of_json([spelled()], content_type=BATCH).problem)
    assert of_json(spelled(source="urn:tenure:distribution"), DISTRIBUTION).event is None


def test_another_publishers_event_is_refused_in_this_mode_too() -> None:
    assert of_json(spelled(source="urn:publisher:rival")).reason == "refused"
    assert of_json(spelled(data={**DATA, "publisher": "rival"})).reason == "refused"


_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([*spelled()]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*spelled(), "data_base64", "dataschema", "x"]), _json))
def test_any_values_are_an_event_or_set_aside(changed: dict[str, Any]) -> None:
    read = of_json(spelled(**changed))
    assert (read.event is None) != (read.problem is None)


@given(st.binary(max_size=60))
def test_any_bytes_are_set_aside(value: bytes) -> None:
    assert of_json(value).problem is not None
