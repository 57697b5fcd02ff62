"""The schemas of events in the OpenAPI document of the doors."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from pydantic import JsonValue

from shared.documents.schemas import REFERENCE, parts_of, schema_at
from shared.events.base import Event
from shared.events.envelope import TYPE_PREFIX
from shared.events.registry import EVENTS_ON, INBOUND

Schema: TypeAlias = dict[str, object]

ANY_EVENT: Final = "PublishedEvent"
"""The name of the schema of any event that a topic has."""
_REQUIRED: Final = ("specversion", "id", "source", "type", "datacontenttype", "data", "position")
_ENVELOPE: Final[Schema] = {
    "type": "object",
    "title": "CloudEvent",
    "description": "The attributes of an event's record (`/asyncapi.json` of its service says what each one means), "
    "and its data. There may be more, all of them texts.",
    "required": [*_REQUIRED],
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1},
        "subject": {"type": "string", "description": "The stream that the event belongs to."},
        "time": {"type": "string", "format": "date-time", "description": "When it was decided."},
        "dataschema": {"type": "string", "description": "The JSON Schema of the data, at `/schemas/{dataschema}`."},
        "datacontenttype": {"type": "string", "const": "application/json"},
        "sequence": {"type": "string", "pattern": "^[0-9]+$", "description": "Its number in its stream."},
        "position": {"type": "string", "pattern": "^[0-9]+$", "description": "Its number on the topic."},
        "tenant": {"type": "string", "description": "The organisation that it belongs to."},
        "data": {"type": "object"},
    },
}
_RESET: Final[Schema] = {
    "type": "object",
    "title": "Reset",
    "description": "The data of an event `reset`: the events after a position are not kept any more.",
    "required": ["after", "nearest", "snapshot"],
    "properties": {
        "after": {"type": "integer", "description": "The position."},
        "nearest": {"type": "integer", "description": "The oldest position after it that is kept."},
        "snapshot": {
            "type": "string",
            "format": "uri-template",
            "description": "Where the present state is read: an address, or a URI template (RFC 6570) with variables.",
        },
    },
}
_SECOND: Final[Schema] = {
    "type": "object",
    "title": "Second",
    "description": "The numbers of the events of one second.",
    "required": ["at", "events"],
    "properties": {
        "at": {"type": "integer", "description": "The second since 1970."},
        "events": {
            "type": "object",
            "description": "By service, and by type.",
            "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
        },
    },
}


def _published() -> Mapping[str, type[Event]]:
    return {event.type(): event for topic in EVENTS_ON if topic != INBOUND for event in EVENTS_ON[topic]}


def schemas() -> dict[str, Schema]:
    """Return the schemas of all events that the topics have, by name."""
    events, found = _published(), dict[str, Schema]()
    found |= {name: {"title": name, **schema} for name, schema in parts_of(events, REFERENCE).items()}
    found |= {"CloudEvent": _ENVELOPE, "Reset": _RESET, "Second": _SECOND}
    mapping = dict[str, str]()
    for name, event in events.items():
        data: Schema = {"$ref": _ref(name)}
        for version in range(1, event.SCHEMA):
            former = f"{name}.v{version}"
            released = {key: value for key, value in schema_at(name, version).items() if not key.startswith("$")}
            found[former] = {**released, "title": former}
            data = {"anyOf": [data, {"$ref": _ref(former)}]}
        types = [TYPE_PREFIX + name, name]
        found[f"{name}.event"] = {
            "title": f"{name}.event",
            "allOf": [{"$ref": _ref("CloudEvent")}],
            "type": "object",
            "required": ["type", "data"],
            "properties": {"type": {"type": "string", "enum": types}, "data": data},
        }
        mapping |= dict.fromkeys(types, _ref(f"{name}.event"))
    each = [{"$ref": reference} for reference in dict.fromkeys(mapping.values())]
    discriminator = {"propertyName": "type", "mapping": mapping}
    found[ANY_EVENT] = {"title": ANY_EVENT, "type": "object", "oneOf": each, "discriminator": discriminator}
    return found


def _ref(name: str) -> str:
    return REFERENCE.format(model=name)


def any_event() -> Schema:
    """Return a reference to the schema of any event."""
    return {"$ref": _ref(ANY_EVENT)}


def _message(data: Schema, **more: Schema) -> Schema:
    """Return the schema of a message of a stream.

    Source: OpenAPI 3.2, Server-Sent Events.
    """
    text = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    return {"type": "object", "required": ["data"], "properties": {"data": text, **more}}


def live_message() -> Schema:
    """Return the schema of a message of a stream of events."""
    return _message(
        {"anyOf": [any_event(), {"$ref": _ref("Reset")}]},
        id={"type": "string", "pattern": "^[0-9]+$", "description": "The position, for Last-Event-ID."},
        event={"type": "string", "enum": ["message", "reset"], "default": "message"},
    )


def rates_message() -> Schema:
    """Return the schema of a message of the stream of rates."""
    return _message({"$ref": _ref("Second")})


def binary_mode() -> list[JsonValue]:
    """Return the headers of a request with one event in binary mode."""
    texts = {
        "ce-specversion": "The version of CloudEvents, 1.0.",
        "ce-id": "The event's id. With the source it identifies the event.",
        "ce-source": "`urn:publisher:` and the publisher's name.",
        "ce-type": "The type, such as `internal.tenure.OrderConfirmed`.",
    }
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": 500},
            "description": f"{text} In binary mode; the other attributes are headers `ce-…`, too.",
        }
        for name, text in texts.items()
    ]
