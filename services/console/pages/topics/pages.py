"""The list of topics, and one event with its fields, headers and an example."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.doors import Unreachable
from services.console.live.edge import own_topic
from services.console.pages.topics.samples import newest
from services.console.shapes.topics import Document, EventKind, Topic, name_of
from services.console.visits import Visit
from shared.services import SERVICES

Schema = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Listed:
    """A topic, its service, and its events with their keys in the service's document."""

    service: str
    topic: Topic
    events: Sequence[tuple[str, EventKind]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of an event or a header: its name, type and meaning."""

    name: str
    type: str
    required: bool
    text: str
    part: str = ""
    """The record that it consists of, which has a table of its own."""


@dataclass(frozen=True, slots=True)
class Table:
    """The fields of an event, or of a record in it."""

    name: str
    text: str
    fields: Sequence[Field]


async def topics(visit: Visit) -> Response:
    """List the topics of all services, each once, and their events."""
    documents = await asyncio.gather(*(_document(visit, service) for service in SERVICES))
    wanted = visit.request.query_params.get("q", "").strip().casefold()
    listed: dict[str, Listed] = {}
    for service, document in zip(SERVICES, documents, strict=True):
        if document is None:
            continue
        messages = document.components.messages
        for topic in document.channels.values():
            all_ = [(name_of(reference), messages[name_of(reference)]) for reference in topic.messages.values()]
            found = [(key, kind) for key, kind in all_ if wanted in f"{kind.name} {kind.summary}".casefold()]
            listed.setdefault(topic.address, Listed(service, topic, found))
    shown = [each for each in listed.values() if each.events or not wanted]
    return visit.page("topics/topics.html", topics=shown, incomplete=None in documents)


async def topic(visit: Visit) -> Response:
    """Show the topic of a service's events, and its newest ones."""
    service = visit.id("service")
    document = await visit.see(service, "/asyncapi.json", Document) if service in SERVICES else None
    if document is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    found = next(each for each in document.channels.values() if each.address == own_topic(service))
    messages = document.components.messages
    events = [(name_of(reference), messages[name_of(reference)]) for reference in found.messages.values()]
    samples = await newest(visit, found.address)
    return visit.page("topics/topic.html", service=service, topic=found, events=events, samples=samples)


async def event(visit: Visit) -> Response:
    """Show an event: its topic, the fields of its data, its headers, and a record as an example."""
    service, key = visit.id("service"), visit.id("event")
    document = await visit.see(service, "/asyncapi.json", Document) if service in SERVICES else None
    kind = document.components.messages.get(key) if document is not None else None
    if document is None or kind is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    schemas, example = document.components.schemas, kind.examples[0]
    on = [
        topic.address
        for topic in document.channels.values()
        if key in {name_of(reference) for reference in topic.messages.values()}
    ]
    traits = {name: trait.headers for name, trait in document.components.messageTraits.items()}
    headers = [table for reference in kind.traits for table in tables(name_of(reference), traits)]
    own = own_topic(service)
    return visit.page(
        "topics/event.html",
        kind=kind,
        service=service,
        samples=await newest(visit, own, kind.name) if own in on else None,
        on=on,
        schema_id=example.headers.get("ce_dataschema", ""),
        data=tables(name_of(kind.payload), schemas),
        headers=headers,
        example_headers=example.headers,
        example=json.dumps(example.payload, indent=2, ensure_ascii=False),
    )


async def _document(visit: Visit, service: str) -> Document | None:
    """Return the document of a service; None while it does not answer."""
    try:
        return await visit.see(service, "/asyncapi.json", Document)
    except Unreachable:
        return None


# ── Schemas as tables ──────────────────────────────────────────────────────────────────────────────────

_FORMATS: Final = {"date": "date", "date-time": "time", "string": "text"}


def tables(name: str, schemas: Mapping[str, Schema]) -> list[Table]:
    """Return the table of a schema's fields, then those of the records in it, each once."""
    found: list[Table] = []
    waiting, known = [name], {name}
    while waiting:
        schema = schemas[waiting.pop(0)]
        fields = list(_fields(schema))
        found.append(Table(str(schema.get("title", "")), str(schema.get("description", "")), fields))
        for part in (field.part for field in fields if field.part and field.part not in known):
            known.add(part)
            waiting.append(part)
    return found


def _fields(schema: Schema) -> Iterator[Field]:
    required, properties = schema.get("required", []), schema.get("properties", {})
    if isinstance(properties, dict) and isinstance(required, list):
        for name, value in properties.items():
            field = value if isinstance(value, dict) else {}
            words, part = type_of(field)
            yield Field(
                name=name,
                type=words,
                required=name in required,
                text=str(field.get("description", "")),
                part=part,
            )


def type_of(field: Schema) -> tuple[str, str]:
    """Return a field's type in words, and the key of the record that it consists of, or ""."""
    match field:
        case {"$ref": str(reference)}:
            part = reference.rpartition("/")[2]
            return part.removeprefix("sent."), part
        case {"enum": list(values)}:
            return " | ".join(json.dumps(value) for value in values), ""
        case {"const": value}:
            return json.dumps(value), ""
        case {"anyOf": list(choices)}:
            found = [type_of(choice) for choice in choices if isinstance(choice, dict)]
            return " | ".join(words for words, _ in found), next((part for _, part in found if part), "")
        case {"type": "array", "items": dict(items)}:
            words, part = type_of(items)
            return f"list of {words}", part
        case {"type": kind}:
            return _FORMATS.get(str(field.get("format", kind)), str(kind)), ""
        case _:
            return "any", ""
