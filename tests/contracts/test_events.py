"""Events, once released, are read for ever: no change may break a reader of any version."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.events import EVENTS
from shared.events.base import Event, json_schema
from shared.events.envelope import Envelope
from shared.events.upcasts import UPCASTS, decode
from tests.contracts.golden import HERE, missing, schema_file

Schema = dict[str, Any]


def envelope(event_type: str, schema: int) -> Envelope:
    return Envelope("id", "source", event_type, "stream", datetime(2026, 1, 1, tzinfo=UTC), schema)


def test_every_event_has_its_golden_sample_and_its_schema() -> None:
    assert not missing(), f"run `python -m tests.contracts.golden`: {[file.name for file in missing()]}"


@pytest.mark.parametrize("file", sorted((HERE / "golden").glob("*.json")), ids=lambda file: file.name)
def test_every_version_ever_released_is_read_today(file: Any) -> None:
    name, version, _ = file.name.split(".")
    data = file.read_bytes()
    event = decode(envelope(name, int(version[1:])), data)
    if int(version[1:]) == type(event).SCHEMA:
        written, kept = json.loads(event.data()), json.loads(data)
        assert {field: written[field] for field in kept} == kept, f"{name} does not keep what it read"


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_a_change_that_breaks_a_reader_fails_with_the_name_of_what_it_breaks(name: str) -> None:
    event = EVENTS[name]
    problems = breaks(json.loads(schema_file(event).read_text()), json_schema(event))
    assert not problems, f"{name} v{event.SCHEMA}: {'; '.join(problems)}. Raise SCHEMA and add an upcast."


def breaks(before: Schema, after: Schema) -> list[str]:
    """What a reader of the released schema would miss in the present one, and the other way round."""
    found = _fields("", before, after)
    for name, part in before.get("$defs", {}).items():
        if name not in after.get("$defs", {}):
            found.append(f"{name} is gone")
        else:
            found += _fields(f"{name}.", part, after["$defs"][name])
    return found


def _fields(where: str, before: Schema, after: Schema) -> list[str]:
    old, new = before.get("properties", {}), after.get("properties", {})
    plain = {name: _plain(field) for name, field in new.items()}
    found = [f"field {where}{name} is gone" for name in old if name not in new]
    found += [f"field {where}{n} has another type" for n in old if n in new and _plain(old[n]) != plain[n]]
    added = [name for name in new if name not in old]
    found += [f"new field {where}{name} has no default" for name in added if "default" not in new[name]]
    return found


def _plain(field: Schema) -> Schema:
    """What readers depend on: not the words, and not what stands when it is left out."""
    return {key: value for key, value in field.items() if key not in ("description", "title", "default")}


def test_the_check_of_changes_finds_them() -> None:
    before = json_schema(EVENTS["SeatAssigned"])
    for change in ("gone", "type", "required"):
        after = json.loads(json.dumps(before))
        if change == "gone":
            del after["properties"]["seat"]
        elif change == "type":
            after["properties"]["seat"]["type"] = "string"
        else:
            after["properties"]["more"] = {"type": "string"}
        assert breaks(before, after), change
    widened = json.loads(json.dumps(before))
    widened["properties"]["more"] = {"type": "string", "default": ""}
    assert breaks(before, widened) == []


def test_upcasts_have_no_gaps() -> None:
    for event in EVENTS.values():
        assert [v for v in range(1, event.SCHEMA) if (event.type(), v) not in UPCASTS] == [], event.type()


def test_the_events_that_the_system_is_known_for_exist() -> None:
    for name in ("RoleAssigned", "SubscriptionOrdered", "AutoRenewDisabled", "UpdatePublished", "CsnIssued"):
        assert issubclass(EVENTS[name], Event)
