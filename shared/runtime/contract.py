"""The routes of the event contract: AsyncAPI and the JSON Schema of every event."""

from functools import cache
from typing import Annotated, Final, Literal, TypeAlias

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, JsonValue, StringConstraints

from shared.documents.asyncapi import asyncapi_of_service
from shared.documents.schemas import known_schemas, schema_at
from shared.runtime import problems
from shared.runtime.parts import Parts

SCHEMA_MEDIA_TYPE: Final = "application/schema+json"
"""Source: draft-bhutton-json-schema-01, section 14.1."""
_OPEN: Final = {"security": list[str]()}


class SchemaResponse(JSONResponse):
    """A JSON Schema."""

    media_type = SCHEMA_MEDIA_TYPE


class SchemaShown(BaseModel):
    """A schema of the event contract."""

    id: str
    """Its `$id`, and the `dataschema` of the events that it describes."""
    type: str
    version: int
    sent: bool
    """Whether it has the bounds within which an event of a publisher is accepted."""
    path: str


Reference: TypeAlias = dict[str, str]
"""`{"$ref": "#/…"}`, a reference to another part of the document."""


class ChannelShown(BaseModel):
    """A topic, as AsyncAPI 3.0 describes a channel."""

    model_config = ConfigDict(extra="allow")

    address: str
    description: str
    messages: dict[str, Reference]


class ExampleShown(BaseModel):
    headers: dict[str, str]
    payload: dict[str, JsonValue]


class MessageShown(BaseModel):
    """An event, as AsyncAPI 3.0 describes a message."""

    model_config = ConfigDict(extra="allow")

    name: str
    summary: str
    description: str | None = None
    payload: Reference
    traits: list[Reference]
    examples: list[ExampleShown]


class TraitShown(BaseModel):
    model_config = ConfigDict(extra="allow")

    headers: dict[str, JsonValue]


class ComponentsShown(BaseModel):
    model_config = ConfigDict(extra="allow")

    messages: dict[str, MessageShown]
    messageTraits: dict[str, TraitShown]  # noqa: N815  # AsyncAPI's name
    schemas: dict[str, dict[str, JsonValue]]


class AsyncApiDocument(BaseModel):
    """An AsyncAPI 3.0 document, of which these parts are always there."""

    model_config = ConfigDict(extra="allow")

    asyncapi: Literal["3.0.0"]
    channels: dict[str, ChannelShown]
    components: ComponentsShown


@cache
def contract_queries() -> APIRouter:
    """Return the queries of the event contract, which need no token."""
    router = APIRouter()

    @router.get("/asyncapi.json", response_model=AsyncApiDocument, openapi_extra=_OPEN)
    async def asyncapi(request: Request) -> JSONResponse:
        """Return the AsyncAPI 3.0 document of the topics that this service publishes or is sent."""
        parts: Parts = request.app.state.parts
        settings = parts.settings
        return JSONResponse(asyncapi_of_service(parts.service, settings.public_kafka or settings.kafka.bootstrap))

    @router.get("/schemas", openapi_extra=_OPEN)
    async def list_schemas() -> list[SchemaShown]:
        """List the schemas of the events of all topics, of every version that was released."""
        return [
            SchemaShown(id=id_, type=name, version=version, sent=sent, path=f"/schemas/{id_}")
            for id_, (name, version, sent) in sorted(known_schemas().items())
        ]

    @router.get("/schemas/{schema_id}", response_class=SchemaResponse, openapi_extra=_OPEN)
    async def event_schema(
        schema_id: Annotated[str, Path(), StringConstraints(pattern=r"^[!-~]{1,200}$", max_length=200)],
    ) -> SchemaResponse:
        """Return the JSON Schema 2020-12 that a record's `dataschema` names.

        With `:sent` at its end, return the schema for publishers, whose events have to be within its bounds.
        """
        named = known_schemas().get(schema_id)
        if named is None:
            raise problems.unknown("schema with this id", "GET /schemas lists all of them.")
        name, version, sent = named
        return SchemaResponse(schema_at(name, version, sent=sent))

    return router
