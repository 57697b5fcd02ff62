"""The routes of the live edge: streams, feeds and tickets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Final, TypeAlias
from urllib.parse import urlencode

import orjson
from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from services.console.live import described, events
from services.console.live.callers import TICKET_S, Subscriber
from services.console.live.edge import LiveEdge, cannot_be_read
from services.console.live.rates import rates
from services.console.live.stream import stream
from services.console.visits import Visit
from shared.events.envelope import MAX_POSITION
from shared.events.fields import Identifier
from shared.runtime import cors, problems, wellformed
from shared.runtime.live.event_types import required_types
from shared.runtime.live.wanted import Wanted, hears, visible_to
from shared.runtime.outcomes import Attribute, EventOutcomes
from shared.runtime.problems import MEDIA_TYPE, ProblemDetails
from shared.runtime.rule_pages import rule_pages
from shared.runtime.settings import Settings
from shared.runtime.written import WRITTEN, WrittenInstant

SSE: Final = "text/event-stream"
LIMIT: Final = 100
LIMIT_AT_MOST: Final = 1_000
WAIT_S_AT_MOST: Final = 30
LISTED_AT_MOST: Final = 50
TICKET_AT_MOST: Final = 100
_ABOUT: Final = """The events of all services, in the order of each service's log. An event's `position` is its number
there, without gaps: who has read up to a position goes on after it, here or at another process, by either door.

A person gets the events of their organisation, a publisher's people those of its plans and updates, the operator all.
Personal fields are sealed (`enc:1:...`).

A publisher's machines and people also read what became of its records, on the topic
`publisher.outcomes.v1.<publisher>`. An outcome may be repeated there, at another position with the same `id`."""

_bearer: Final = HTTPBearer(auto_error=False, scheme_name="Bearer")


class Ticket(BaseModel):
    """A ticket, which opens one stream: for browsers, whose EventSource sends no token."""

    ticket: str
    expires_in: int
    """In how many seconds it has to be used."""


class FeedPage(BaseModel):
    """Events after a position."""

    items: list[dict[str, object]]
    """CloudEvents in JSON, in the order of their positions."""
    position: int
    """Up to here all events were looked through."""
    next: str
    """The path of the next page."""


class EventStream(StreamingResponse):
    """A stream that is counted for its account while it is sent."""

    media_type = SSE

    def __init__(self, blocks: AsyncIterator[bytes], admitted: AbstractContextManager[None]) -> None:
        super().__init__(blocks, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._admitted = admitted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._admitted:  # which refuses before anything is sent
            if scope.get("state", {}).get("without_body"):
                self.body_iterator = _nothing()
            await super().__call__(scope, receive, send)


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


Listed: TypeAlias = Annotated[list[Identifier], Field(max_length=LISTED_AT_MOST), Query()]
Position: TypeAlias = Annotated[int, Field(ge=0, le=MAX_POSITION), WRITTEN]


async def _filters(
    type: Listed = [],  # noqa: B006  # the names of the query's parameters; FastAPI copies defaults
    stream: Listed = [],  # noqa: B006
    tenant: Listed = [],  # noqa: B006
    since: WrittenInstant | None = None,
    until: WrittenInstant | None = None,
) -> Wanted:
    """Read the filter of a request; what a caller may see is added to it."""
    return Wanted(types=frozenset(type), streams=frozenset(stream), tenants=frozenset(tenant), since=since, until=until)


async def _holder(request: Request, _: Annotated[object, Depends(_bearer)]) -> Subscriber:
    edge = edge_of(request)
    edge.start()
    return await edge.callers.of(request)


async def _caller(
    request: Request,
    _: Annotated[object, Depends(_bearer)],
    ticket: Annotated[str | None, Query(min_length=1, max_length=TICKET_AT_MOST)] = None,
) -> Subscriber:
    edge = edge_of(request)
    edge.start()
    return await edge.callers.of(request, ticket or "")


async def _well_formed(request: Request) -> None:
    route: APIRoute = request.scope["route"]
    if request.scope["query_string"]:
        wellformed.Parameters.of(route.dependant).read(request.scope["query_string"])
    if route.path != "/events":
        wellformed.check_no_body(request.scope["headers"])


Caller: TypeAlias = Annotated[Subscriber, Depends(_caller)]
"""Who subscribes, also by a ticket."""
Holder: TypeAlias = Annotated[Subscriber, Depends(_holder)]
"""Who asks for a ticket."""
Filters: TypeAlias = Annotated[Wanted, Depends(_filters)]


def edge_of(request: Request) -> LiveEdge:
    """Return the live edge. Raises Problem 503 where the console has no Kafka."""
    edge: LiveEdge | None = request.app.state.live
    if edge is None:
        raise problems.unavailable(
            "This console serves no events: it has no Kafka.", "Set KAFKA_BOOTSTRAP for the console.", again_s=60
        )
    return edge


def _seen(wanted: Wanted, subscriber: Subscriber, topic: str) -> Wanted:
    """Return the filter with what the caller may see. Raises Problem 422 for unknown types."""
    seen = visible_to(subscriber.actor)
    return replace(
        seen,
        everything=seen.everything or hears(subscriber.actor, topic),
        types=required_types(topic, wanted.types),
        streams=wanted.streams,
        tenants=wanted.tenants,
        since=wanted.since,
        until=wanted.until,
    )


async def live(
    topic: Identifier,
    request: Request,
    caller: Caller,
    filters: Filters,
    after: Position | None = None,
    last_event_id: Annotated[Position | None, Header()] = None,
) -> Response:
    """Stream events as they are published (Server-Sent Events).

    Each has its position as `id`. It begins after `Last-Event-ID`, else after `after`, else with the first event since
    `since`, else with the next one. A position beyond the newest event is refused. An event `reset` says that the
    events after a position are not kept any more. The stream ends with the token or the session; connect again with the
    last id. A `type` that the topic doesn't have is refused.
    """
    edge = edge_of(request)
    found = await edge.topic(topic, caller.actor)
    wanted = _seen(filters, caller, topic)
    begin = last_event_id if last_event_id is not None else after
    if begin is not None:
        await edge.require(found, begin)
    else:
        try:
            begin = found.window.head if wanted.since is None else await found.position_at(wanted.since)
        except Exception as fault:
            raise cannot_be_read() from fault
    blocks = stream(edge, found, edge.callers, caller, wanted, begin, edge.snapshot(topic))
    return _kept(request, EventStream(blocks, edge.callers.admitted(caller)))


async def rates_by_type(request: Request, caller: Caller) -> Response:
    """Stream how many events a second are published, by service and type.

    Those are counted that the caller may see. It begins with the last minute, as far as its events are in memory, and
    has a block for each second: `at`, the second since 1970, and `events`, the numbers of its events.
    """
    edge = edge_of(request)
    topics = await asyncio.gather(*(edge.topic(name, caller.actor) for name in edge.topics))
    ticks = rates(edge, topics, edge.callers, caller, visible_to(caller.actor))
    return _kept(request, EventStream(ticks, edge.callers.admitted(caller)))


async def feed(
    topic: Identifier,
    request: Request,
    caller: Caller,
    filters: Filters,
    after: Position = 0,
    limit: Annotated[int, Field(ge=1, le=LIMIT_AT_MOST), WRITTEN] = LIMIT,
    wait: Annotated[int, Field(ge=0, le=WAIT_S_AT_MOST), WRITTEN] = 0,
) -> Response:
    """Return the events after a position as a page.

    It waits up to `wait` seconds if there is none yet. A page without items may still have come
    further: go on with `next`. A position beyond the newest event is refused, and a `type` that the topic doesn't have.
    """
    edge = edge_of(request)
    found = await edge.topic(topic, caller.actor)
    wanted = _seen(filters, caller, topic)
    with edge.callers.admitted(caller):
        await edge.require(found, after)
        frames, position = await edge.page(found, caller, wanted, after, limit, wait)
    others = [(name, value) for name, value in request.query_params.multi_items() if name not in ("after", "ticket")]
    following = f"/feed/{topic}?{urlencode([('after', str(position)), *others])}"
    items = b",".join(frame.body for frame in frames)
    body = b'{"items":[%s],"position":%d,"next":%s}' % (items, position, orjson.dumps(following))
    headers = {"Cache-Control": "no-store", "Link": f'<{following}>; rel="next"'}
    return _kept(request, Response(body, headers=headers, media_type="application/json"))


async def ticket(request: Request, caller: Holder) -> Ticket:
    """Return a ticket, which `GET /live/{topic}?ticket=...` takes once, at this process."""
    return Ticket(ticket=edge_of(request).callers.ticket_for(caller), expires_in=int(TICKET_S))


async def send_events(request: Request, _: Annotated[object, Depends(_bearer)]) -> Response:
    """Take a publisher's events: one in binary or structured mode, or a batch of up to 100.

    For machine accounts of the publisher with the scope `events:publish`. An event is checked as a record on the
    publisher's topic is, and kept there before it is answered with 202; then the service that decides on its type
    answers it at `Location`. An event that is sent again has one effect, by whichever door. A batch with an event that
    is refused is answered with 207.
    """
    return await events.publish(request, edge_of(request))


async def outcomes(
    source: Attribute,
    event_id: Attribute,
    request: Request,
    _: Annotated[object, Depends(_bearer)],
    wait: Annotated[int, Field(ge=0, le=WAIT_S_AT_MOST), WRITTEN] = 0,
) -> EventOutcomes:
    """Return what became of a publisher's event, by the service that decided on it.

    It waits up to `wait` seconds for the first outcome. The publisher sees its own events, the operator all.
    """
    edge = edge_of(request)
    edge.start()
    return await events.outcomes_of(request, edge, source, event_id, wait)


def _kept(request: Request, response: Response) -> Response:
    """Put a session that was renewed for this request into the answer."""
    visit: Visit | None = getattr(request.state, "visit", None)
    return response if visit is None else visit.finish(response)


def make_doors(settings: Settings) -> FastAPI:
    """Make the application of the doors. Its state is the console's."""
    app = _Documented(
        title="Tenure live",
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        servers=[{"url": "/", "description": "The console that has served this document."}],
        contact={"name": "The operator of this installation"},
        openapi_tags=[
            {"name": "events", "description": "Events of the services, and outcomes, as they happen."},
            {"name": "publishers", "description": "Events of publishers' systems, and what became of them."},
            {"name": "rules", "description": "What a problem's `type` leads to."},
        ],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        generate_unique_id_function=_name,
        dependencies=[Depends(_well_formed)],
    )
    app.openapi_version = "3.2.0"  # the first one that describes a stream's messages
    problems.install(app)
    page: dict[int | str, dict[str, object]] = {200: {"model": FeedPage}}
    gone = HTTPStatus.GONE
    rated, streamed = _streams(described.rates_message()), _streams(described.live_message())
    app.get("/live/rates", responses={**rated, **_refused()}, response_class=_Stream, tags=["events"])(rates_by_type)
    app.get("/live/{topic}", responses={**streamed, **_refused()}, response_class=_Stream, tags=["events"])(live)
    app.get("/feed/{topic}", responses={**page, **_refused(gone)}, response_class=Response, tags=["events"])(feed)
    app.post("/live/tickets", responses=_refused(), tags=["events"])(ticket)
    app.post(
        "/events",
        responses={**_TAKEN, **_refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)},
        status_code=HTTPStatus.ACCEPTED,
        response_class=Response,
        openapi_extra=events.request_body(),
        tags=["publishers"],
    )(send_events)
    app.get("/events/{source}/{event_id:path}", responses=_refused(), tags=["publishers"])(outcomes)
    app.include_router(rule_pages(), responses=_problems(*_OPEN), tags=["rules"])
    if origins := cors.origins_of(settings.cors_origins):
        app.add_middleware(CORSMiddleware, **cors.options(origins, credentials=settings.cors_credentials))
    return app


class _Documented(FastAPI):
    """An application whose document describes problems and events."""

    def openapi(self) -> dict[str, object]:
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            schemas.setdefault("ProblemDetails", ProblemDetails.model_json_schema())
            schemas |= described.schemas()
            schemas["FeedPage"]["properties"]["items"]["items"] = described.any_event()
            for operation in (each for methods in document["paths"].values() for each in methods.values()):
                operation.setdefault("security", [])  # where it asks for no token
                operation["responses"].get("200", {}).get("content", {}).get(SSE, {}).pop("schema", None)
        return {**super().openapi()}


_TAKEN: Final[dict[int | str, dict[str, object]]] = {
    202: {
        "model": events.TakenEvent | events.BatchAnswer,
        "description": "Kept: the outcome follows. A batch has an answer for each event.",
        "headers": {
            "Location": {"description": "Where the outcome of one event is read.", "schema": {"type": "string"}}
        },
    },
    207: {"model": events.BatchAnswer, "description": "Some events of the batch are refused, the others kept."},
}


class _Stream(Response):
    """What the document says of a stream."""

    media_type = SSE


def _streams(message: dict[str, object]) -> dict[int | str, dict[str, object]]:
    """Return the documented answer of a door that streams such messages."""
    return {200: {"content": {SSE: {"itemSchema": message}}}}


def _name(route: APIRoute) -> str:
    return route.name


_OPEN: Final = (
    HTTPStatus.NOT_FOUND,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"""The statuses of refusals where no token is asked for."""


def _refused(*more: HTTPStatus) -> dict[int | str, dict[str, object]]:
    """Return the documented refusals of a door."""
    return _problems(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, *_OPEN, *more)


def _problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, object]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {int(status): {"description": status.phrase, "content": content} for status in statuses}
