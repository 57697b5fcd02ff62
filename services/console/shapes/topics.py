"""The topics and their events, as each service's AsyncAPI document describes them."""

from typing import TypeAlias

from pydantic import BaseModel, JsonValue

Reference: TypeAlias = dict[str, str]
"""A reference to a part of the document, `{"$ref": "#/components/schemas/Plan"}`."""


def name_of(reference: Reference) -> str:
    """Return the key of the part that is referred to."""
    return reference["$ref"].rpartition("/")[2]


class Topic(BaseModel):
    """A topic and the events that may be on it."""

    address: str
    description: str
    messages: dict[str, Reference]


class EventExample(BaseModel):
    """A record as it may be on the topic."""

    headers: dict[str, str]
    payload: dict[str, JsonValue]


class EventKind(BaseModel):
    """A kind of event."""

    name: str
    summary: str
    description: str | None = None
    payload: Reference
    traits: list[Reference]
    examples: list[EventExample]


class Trait(BaseModel):
    """What the records of one sort have in common: their headers."""

    headers: dict[str, JsonValue]


class Components(BaseModel):
    """The parts that a document refers to."""

    messages: dict[str, EventKind]
    messageTraits: dict[str, Trait]  # noqa: N815  # AsyncAPI's name
    schemas: dict[str, dict[str, JsonValue]]


class Document(BaseModel):
    """The topics of a service.

    Of identity's `GET /asyncapi.json`, marketplace's `GET /asyncapi.json`, entitlements's `GET /asyncapi.json` and
    distribution's `GET /asyncapi.json`.
    """

    channels: dict[str, Topic]
    components: Components
