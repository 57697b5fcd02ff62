"""What the document of the console's doors says of events is what the doors send."""

import json
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from services.console.live.described import any_event
from services.console.live.doors import FeedPage, make_doors
from services.console.live.rates import Tick
from services.console.live.stream import reset
from shared.documents.examples import SEALED, example_envelope
from shared.eventlog.deliver.ordered import Lost, Placed
from shared.eventlog.deliver.received import Raw
from shared.events import EVENTS
from shared.events.base import Event
from shared.events.envelope import to_headers
from shared.events.registry import EVENTS_ON, INBOUND
from shared.runtime.live.frames import frame_of
from shared.runtime.settings import Settings
from tests.contracts.golden import golden_file

ON_TOPICS = {event.type(): event for topic in EVENTS_ON if topic != INBOUND for event in EVENTS_ON[topic]}
VERSIONS = [(name, version) for name, event in ON_TOPICS.items() for version in range(1, event.SCHEMA + 1)]


@cache
def document() -> dict[str, Any]:
    return dict(make_doors(Settings()).openapi())


def faults(schema: dict[str, Any], value: object) -> list[str]:
    validator = Draft202012Validator({"components": document()["components"], **schema})
    return [error.message for error in validator.iter_errors(value)]


def sent(event: type[Event], version: int) -> Any:
    """A golden event as the doors send it."""
    data = json.loads(golden_file(event, version).read_bytes()) | dict.fromkeys(event.PERSONAL_FIELDS, SEALED)
    envelope = example_envelope(event)
    raw = Raw("topic", 0, 0, b"", to_headers(envelope), json.dumps(data).encode())
    return json.loads(frame_of(Placed(raw, envelope)).body)


def message(path: str) -> dict[str, Any]:
    """The schema of a stream's messages."""
    content = document()["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]
    schema: dict[str, Any] = content["itemSchema"]["properties"]["data"]["contentSchema"]
    assert content.keys() == {"itemSchema"}
    return schema


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_every_event_is_as_the_document_says(name: str, version: int) -> None:
    event = sent(ON_TOPICS[name], version)
    assert faults(any_event(), event) == []
    assert faults(message("/live/{topic}"), event) == []


def test_a_page_of_the_feed_is_as_the_document_says() -> None:
    page = FeedPage(items=[sent(EVENTS["SeatAssigned"], 1)], position=7, next="/feed/x?after=7").model_dump()
    schema = {"$ref": "#/components/schemas/FeedPage"}
    assert faults(schema, page) == []
    page["items"][0]["data"]["account_id"] = 7
    assert faults(schema, page)


@pytest.mark.parametrize("wrong", [{"type": "internal.tenure.SeatAsigned"}, {"data": {}}, {"specversion": "2"}])
def test_what_is_no_event_of_a_topic_is_not_as_the_document_says(wrong: dict[str, Any]) -> None:
    assert faults(any_event(), sent(EVENTS["SeatAssigned"], 1) | wrong)


def test_the_other_messages_of_streams_are_as_the_document_says() -> None:
    tick = Tick(second=1_796_015_320, events={"entitlements": {"SeatAssigned": 2}}).block
    assert faults(message("/live/rates"), json.loads(tick.removeprefix(b"data: "))) == []
    lines = reset(Lost(3, 9), "http://snapshot.example").splitlines()
    assert faults(message("/live/{topic}"), json.loads(lines[2].removeprefix(b"data: "))) == []
    assert faults(message("/live/{topic}"), {"after": 3})
