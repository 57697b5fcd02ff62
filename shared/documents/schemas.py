"""The JSON Schema of each event type, as its readers and its senders need it.

The schema for readers describes everything that may be on a topic. A topic keeps its records for ever, so this schema
has the types of the fields and not the bounds of today: older records were accepted without them. The schema for
senders also has the bounds, because an event from outside is accepted only within them.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.documents.compatibility import BOUNDS
from shared.documents.texts import texts_of
from shared.events.base import Event
from shared.events.envelope import schema_id
from shared.events.registry import EVENTS, PUBLISHERS_EVENTS

Schema = dict[str, Any]

REFERENCE: Final = "#/components/schemas/{model}"
"""A reference to a schema of an OpenAPI document."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
SEALED: Final = "^(enc:1:[A-Za-z0-9+/]{38,11000}={0,2})?$"
"""What a personal field is on a topic: sealed under its person's key, or empty if it is empty or erased."""


def sent_schema_id(event_type: str, version: int) -> str:
    """Return the `$id` of the schema for the publishers that send such events."""
    return f"{schema_id(event_type, version)}:sent"


def schema_of(event: type[Event], *, sent: bool = False) -> Schema:
    """Return the JSON Schema 2020-12 of an event's present version.

    Its `$id` is the `dataschema` of the events. With `sent`, it is the schema for senders, with the bounds of today.
    """
    id_of = sent_schema_id if sent else schema_id
    return {"$schema": DIALECT, "$id": id_of(event.type(), event.SCHEMA), **_of_one(event, sent)}


def parts_of(events: Mapping[str, type[Event]], template: str, *, sent: bool = False) -> Mapping[str, Schema]:
    """Return the schemas of several events and of the records in them, by name.

    Args:
        template: the reference from one schema to another, such as `REFERENCE`.
    """
    models: list[tuple[type[Event], JsonSchemaMode]] = [(event, "serialization") for event in events.values()]
    _, found = models_json_schema(models, ref_template=template)
    return {name: _described(schema, events.get(name), sent) for name, schema in found.get("$defs", {}).items()}


@cache
def _of_one(event: type[Event], sent: bool) -> Schema:
    schema = event.model_json_schema(mode="serialization")
    parts = schema.pop("$defs", None)
    described = _described(schema, event, sent)
    if parts:
        described["$defs"] = {name: _described(part, None, sent) for name, part in parts.items()}
    return described


def _described(schema: Schema, event: type[Event] | None, sent: bool) -> Schema:
    """Return the schema without titles, with personal fields as they are on a topic."""
    properties = {name: _field(field, sent) for name, field in schema.get("properties", {}).items()}
    for name, text in texts_of(schema.get("title", "")).items():
        if name in properties and "$ref" not in properties[name]:
            properties[name] = {**properties[name], "description": text}
    if event is not None:
        personal = {
            "type": "string",
            "pattern": SEALED,
            "description": f"Personal: encrypted under the key of the person that {event.PERSONAL_OF} names.",
        }
        properties |= dict.fromkeys(event.PERSONAL_FIELDS, personal)
    return {**schema, "properties": properties}


def _field(schema: Any, sent: bool) -> Any:
    if isinstance(schema, list):
        return [_field(part, sent) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _field(value, sent)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str)) and (sent or key not in BOUNDS)
    }


def schemas() -> Iterator[tuple[str, int, bool]]:
    """Return the type and version of each schema that there is, and whether it is for senders."""
    for name, event in EVENTS.items():
        yield from ((name, version, False) for version in range(1, event.SCHEMA + 1))
        if name in PUBLISHERS_EVENTS:
            yield name, event.SCHEMA, True


def schema_at(event_type: str, version: int, *, sent: bool = False) -> Schema:
    """Return the schema of any version of `schemas()`.

    The schema of the present version is made from its model, with the fields that were added since its release. Those
    of former versions are as they were released.
    """
    event = EVENTS[event_type]
    if version == event.SCHEMA:
        return schema_of(event, sent=sent)
    released: Schema = json.loads(released_file(event_type, version).read_text())
    parts = {name: _described(part, None, sent=False) for name, part in released.pop("$defs", {}).items()}
    return {
        "$schema": DIALECT,
        "$id": schema_id(event_type, version),
        **_described(released, event, sent=False),
        **({"$defs": parts} if parts else {}),
    }


@cache
def known_schemas() -> Mapping[str, tuple[str, int, bool]]:
    """Return what each `$id` of a schema names."""
    return {
        (sent_schema_id if sent else schema_id)(name, version): (name, version, sent)
        for name, version, sent in schemas()
    }


def released_file(event_type: str, version: int) -> Path:
    """Return the file of a version's schema as it was first released. It is never changed."""
    return _RELEASED / f"{event_type}.v{version}.json"


_RELEASED: Final = Path(__file__).parent / "released"
