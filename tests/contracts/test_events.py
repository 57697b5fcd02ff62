"""Events, once released, are read for ever: no change may break a reader of any version."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.documents.compatibility import breaks
from shared.events import EVENTS, upcasts
from shared.events.base import Event, Record, json_schema
from shared.events.envelope import Envelope, Unreadable
from shared.events.upcasts import UPCASTS, BadUpcasts, check, decode
from shared.runtime.routes import CommandRoutes
from shared.runtime.service import Service, run
from tests.contracts.golden import HERE, golden_file, missing, schema_file

Schema = dict[str, Any]


def envelope(event_type: str, schema: int) -> Envelope:
    return Envelope("id", "source", event_type, "stream", datetime(2026, 1, 1, tzinfo=UTC), schema)


def test_every_event_has_its_golden_sample_and_its_schema() -> None:
    assert not missing(), f"run `python -m tests.contracts.golden`: {[file.name for file in missing()]}"


@pytest.mark.parametrize("file", sorted((HERE / "golden").glob("*.json")), ids=lambda file: file.name)
def test_every_version_ever_released_is_read_today(file: Path) -> None:
    name, version, _ = file.name.split(".")
    data = file.read_bytes()
    event = decode(envelope(name, int(version[1:])), data, trusted=True)
    if int(version[1:]) == type(event).SCHEMA:
        assert written_as(event, data) == data.decode(), f"{name} does not write what it read"


TIMES = sorted(
    file for file in (HERE / "golden").glob("*.json") if b'"2026-11-21T04:03:00.000005Z"' in file.read_bytes()
)


def test_the_samples_have_times() -> None:
    assert len(TIMES) > 5


@pytest.mark.parametrize(
    "time", ["2026-11-21T04:03:00", "2026-11-21", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"]
)
@pytest.mark.parametrize("file", TIMES, ids=lambda file: file.name)
def test_a_time_without_a_zone_or_at_the_ends_of_the_calendar_is_refused(file: Path, time: str) -> None:
    data = file.read_bytes().replace(b"2026-11-21T04:03:00.000005Z", time.encode())
    with pytest.raises(Unreadable, match=r"timezone info|9000|1900"):
        decode(envelope(file.name.split(".")[0], 1), data, trusted=True)


def written_as(event: Event, data: bytes) -> str:
    """The event's JSON as it is written today, without what was added since `data` was written."""
    return json.dumps(_common(json.loads(event.data()), json.loads(data)), ensure_ascii=False, separators=(",", ":"))


def _common(written: Any, kept: Any) -> Any:
    if isinstance(written, dict) and isinstance(kept, dict):
        return {name: _common(value, kept[name]) for name, value in written.items() if name in kept}
    if isinstance(written, list) and isinstance(kept, list) and len(written) == len(kept):
        return [_common(one, other) for one, other in zip(written, kept, strict=True)]
    return written


def test_a_sample_fills_every_field_that_its_schema_names() -> None:
    for event in EVENTS.values():
        names = set(json.loads(schema_file(event).read_text())["properties"])
        assert set(json.loads(golden_file(event).read_bytes())) == names, event.type()


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_a_change_that_breaks_a_reader_fails_with_the_name_of_what_it_breaks(name: str) -> None:
    event = EVENTS[name]
    problems = breaks(json.loads(schema_file(event).read_text()), json_schema(event))
    assert not problems, f"{name} v{event.SCHEMA}: {'; '.join(problems)}. Raise SCHEMA and add an upcast."


def _changed(change: str) -> Schema:
    """SubscriptionOrdered's schema with one thing changed in `Plan`, or in the event itself."""
    after: Schema = json.loads(json.dumps(json_schema(EVENTS["SubscriptionOrdered"])))
    fields, plan = after["properties"], after["$defs"]["Plan"]["properties"]
    match change:
        case "field Plan.product_id is gone":
            plan["product"] = plan.pop("product_id")
        case "field seats is gone":
            del fields["seats"]
        case "field seats has another type":
            fields["seats"] = {"type": "string"}
        case "field Plan.period has another type":
            plan["period"] = plan["period"] | {"enum": [*plan["period"]["enum"], "weekly"]}
        case "new field more has no default":
            fields["more"] = {"type": "string"}
        case "field country has a default no more":
            del fields["country"]["default"]
        case "Money is gone":
            del after["$defs"]["Money"]
        case _:
            fields["more"] = plan["more"] = {"type": "string", "default": ""}
            fields["seats"]["description"] = "in other words"
    return after


@pytest.mark.parametrize(
    "change",
    [
        "field Plan.product_id is gone",
        "field seats is gone",
        "field seats has another type",
        "field Plan.period has another type",
        "new field more has no default",
        "field country has a default no more",
        "Money is gone",
        "",
    ],
)
def test_the_check_of_changes_finds_them_and_no_others(change: str) -> None:
    assert breaks(json_schema(EVENTS["SubscriptionOrdered"]), _changed(change)) == ([change] if change else [])


def test_a_sample_outlives_a_field_that_is_added_inside_it() -> None:
    class Inner(Record):
        number: int
        more: str = ""

    class Outer(Event):
        inner: Inner
        inners: tuple[Inner, ...]
        more: str = ""

    old = b'{"inner":{"number":1},"inners":[{"number":2}]}'
    assert written_as(Outer.model_validate_json(old), old) == old.decode()


def test_the_upcasts_lead_from_every_version_to_todays() -> None:
    check(UPCASTS, EVENTS)


class Third(Event):
    SCHEMA = 3

    told: date
    name: str = ""


LIFTS: dict[tuple[str, int], upcasts.Upcast] = {
    ("Third", 1): lambda shape: {**shape, "label": shape["title"]},
    ("Third", 2): lambda shape: {**shape, "name": shape["label"].upper()},
}


@pytest.mark.parametrize(
    ("version", "body"),
    [(1, {"title": "a"}), (2, {"label": "a"}), (3, {"name": "A"})],
)
def test_an_old_shape_is_lifted_step_by_step(
    version: int, body: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upcasts, "EVENTS", {"Third": Third})
    monkeypatch.setattr(upcasts, "UPCASTS", LIFTS)
    data = json.dumps({"told": "2026-11-21", **body}).encode()
    assert decode(envelope("Third", version), data) == Third(told=date(2026, 11, 21), name="A")


@pytest.mark.parametrize("data", [b"{}", b"[]", b"7", b'{"title":7}', b'{"told":"x","title":"a"}', b"{"])
def test_a_body_that_never_had_the_old_shape_is_unreadable(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upcasts, "EVENTS", {"Third": Third})
    monkeypatch.setattr(upcasts, "UPCASTS", LIFTS)
    with pytest.raises(Unreadable, match="Third"):
        decode(envelope("Third", 1), data)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([("Third", 1)], "Third version 2 can't be read"),
        ([("Third", 2)], "Third version 1 can't be read"),
        ([("Third", 1), ("Third", 2), ("Third", 3)], "upcast of Third version 3 can't be used"),
        ([("Third", 0), ("Third", 1), ("Third", 2)], "upcast of Third version 0 can't be used"),
        ([("Third", 1), ("Third", 2), ("Fourth", 1)], "Fourth version 1, but no such event"),
    ],
)
def test_gaps_and_steps_that_lead_nowhere_are_named(steps: list[tuple[str, int]], said: str) -> None:
    with pytest.raises(BadUpcasts, match=said):
        check(dict.fromkeys(steps, lambda shape: shape), {"Third": Third})


def test_a_service_does_not_start_with_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    def gap() -> None:
        raise BadUpcasts("a gap")

    monkeypatch.setattr(upcasts, "check", gap)
    monkeypatch.setattr("sys.argv", ["service"])
    with pytest.raises(BadUpcasts):
        run(
            Service(
                name="entitlements",
                migrations=Path(),
                streams=(),
                commands=CommandRoutes(),
                queries=None,
                consumers=(),
            )
        )


def test_the_events_that_the_system_is_known_for_exist() -> None:
    for name in ("RoleAssigned", "SubscriptionOrdered", "AutoRenewDisabled", "UpdatePublished", "CsnIssued"):
        assert issubclass(EVENTS[name], Event)
