"""The routes of the event contract: AsyncAPI and the JSON Schema of every event."""

from functools import cache
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from shared.documents.asyncapi import asyncapi_of_service
from shared.documents.schemas import HOSTS, schema_at, schema_path
from shared.events.fields import Identifier
from shared.events.registry import EVENTS, PUBLISHERS_EVENTS
from shared.runtime import problems
from shared.runtime.parts import Parts
from shared.runtime.settings import Settings
from shared.runtime.written import WrittenCount
from shared.services import SERVICES

SCHEMA_MEDIA_TYPE = "application/schema+json"
"""Source: draft-bhutton-json-schema-01, section 14.1."""


class SchemaShown(BaseModel):
    """Where an event's schema is found."""

    type: str
    version: int
    url: str
    sent_url: str = ""
    """The schema with the bounds within which an event of a publisher is accepted; "" if no publisher may send it."""


def urls_of(settings: Settings) -> dict[str, str]:
    """Return the URL of each service."""
    return {service: settings.url_of(service) for service in SERVICES}


@cache
def contract_queries() -> APIRouter:
    """Return the queries of the event contract, which need no token."""
    router = APIRouter()

    @router.get("/asyncapi.json", response_class=JSONResponse, openapi_extra={"security": []})
    async def asyncapi(request: Request) -> JSONResponse:
        """Return the AsyncAPI 3.0 document of the topics that this service publishes or is sent."""
        parts: Parts = request.app.state.parts
        settings = parts.settings
        return JSONResponse(asyncapi_of_service(parts.service, urls_of(settings), settings.kafka.bootstrap))

    @router.get("/schemas", openapi_extra={"security": []})
    async def list_schemas(request: Request) -> list[SchemaShown]:
        """List the event types of all topics, with the URLs of their schemas."""
        urls = urls_of(request.app.state.parts.settings)
        return [
            SchemaShown(
                type=name,
                version=version,
                url=urls[HOSTS[name]] + schema_path(name, version),
                sent_url=urls[HOSTS[name]] + schema_path(name, version, sent=True)
                if name in PUBLISHERS_EVENTS and version == event.SCHEMA
                else "",
            )
            for name, event in sorted(EVENTS.items())
            for version in range(1, event.SCHEMA + 1)
        ]

    @router.get("/schemas/{event_type}/{version}", response_class=JSONResponse, openapi_extra={"security": []})
    async def event_schema(
        request: Request, event_type: Annotated[Identifier, Path()], version: Annotated[WrittenCount, Path()]
    ) -> JSONResponse:
        """Return the JSON Schema 2020-12 of an event's data, as it is on the topics."""
        return _schema(request, event_type, version, sent=False)

    @router.get("/schemas/{event_type}/{version}/sent", response_class=JSONResponse, openapi_extra={"security": []})
    async def sent_event_schema(
        request: Request, event_type: Annotated[Identifier, Path()], version: Annotated[WrittenCount, Path()]
    ) -> JSONResponse:
        """Return the JSON Schema 2020-12 of what a publisher may send, with its bounds."""
        return _schema(request, event_type, version, sent=True)

    return router


def _schema(request: Request, event_type: str, version: int, *, sent: bool) -> JSONResponse:
    urls = urls_of(request.app.state.parts.settings)
    schema = schema_at(event_type, version, urls[HOSTS.get(event_type, "identity")], sent=sent)
    if schema is None:
        raise problems.unknown("schema of this event type and version", "GET /schemas lists all of them.")
    return JSONResponse(schema, media_type=SCHEMA_MEDIA_TYPE)
