"""The JSON Schema of each event type, as its readers and its senders need it.

The schema for readers describes everything that may be on a topic. A topic keeps its records for ever, so this schema
has the types of the fields and not the bounds of today: older records were accepted without them. The schema for
senders also has the bounds, because an event from outside is accepted only within them.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.documents.compatibility import BOUNDS
from shared.events.base import Event
from shared.events.registry import EVENTS, EVENTS_ON, INBOUND, PUBLISHERS_EVENTS, service_of

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
SEALED: Final = "^(enc:1:[A-Za-z0-9+/]{38,11000}={0,2})?$"
"""What a personal field is on a topic: sealed under its person's key, or empty if it is empty or erased."""
_HOST_OF_PUBLISHERS: Final = "distribution"
"""The service that has the schemas of the events that publishers send."""

HOSTS: Final[Mapping[str, str]] = {
    **{event.type(): _HOST_OF_PUBLISHERS for event in EVENTS_ON[INBOUND]},
    **{event.type(): service_of(topic) for topic, events in EVENTS_ON.items() if topic != INBOUND for event in events},
}
"""The service at which the schema of each event type is found: the one that publishes it."""


def schema_path(event_type: str, version: int, *, sent: bool = False) -> str:
    """Return the path of a schema at a service."""
    return f"/schemas/{event_type}/{version}{'/sent' if sent else ''}"


def schema_of(event: type[Event], base: str, *, sent: bool = False) -> Schema:
    """Return the JSON Schema 2020-12 of an event's present version.

    Args:
        base: the URL of the service that has the schema, without a slash at the end.
        sent: whether it is the schema for senders, with the bounds of today.
    """
    schema = _of_one(event, sent)
    return {"$schema": DIALECT, "$id": base + schema_path(event.type(), event.SCHEMA, sent=sent), **schema}


def parts_of(events: Mapping[str, type[Event]], template: str, *, sent: bool = False) -> Mapping[str, Schema]:
    """Return the schemas of several events and of the records in them, by name.

    Args:
        template: the reference from one schema to another, such as `#/components/schemas/{model}`.
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


def schema_at(event_type: str, version: int, base: str, *, sent: bool = False) -> Schema | None:
    """Return the schema of any released version; None if there is no such event.

    The schema of the present version is made from its model, with the fields that were added since its release. Those
    of former versions are as they were released. A publisher sends the present version only.
    """
    event = EVENTS.get(event_type)
    if event is None or not 1 <= version <= event.SCHEMA or (sent and event_type not in PUBLISHERS_EVENTS):
        return None
    if version == event.SCHEMA:
        return schema_of(event, base, sent=sent)
    if sent:
        return None
    released: Schema = json.loads(released_file(event_type, version).read_text())
    former = _described(released, event, sent=False)
    parts = {name: _described(part, None, sent=False) for name, part in released.get("$defs", {}).items()}
    return {
        "$schema": DIALECT,
        "$id": base + schema_path(event_type, version),
        **former,
        **({"$defs": parts} if parts else {}),
    }


def released_file(event_type: str, version: int) -> Path:
    """Return the file of a version's schema as it was first released. It is never changed."""
    return _RELEASED / f"{event_type}.v{version}.json"


_RELEASED: Final = Path(__file__).parent / "released"
