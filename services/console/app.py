"""The console's application: pages, the files that they load, and what operators look at."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
import uuid_utils
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from services.console import limited, rendering
from services.console.areas import Area
from services.console.cookies import Cookies, read_secrets
from services.console.doors import READY_S, Doors
from services.console.forms import FORM_BYTES
from services.console.live.doors import make_doors
from services.console.live.edge import LiveEdge, live_edge
from services.console.live.limits import BATCH_BYTES
from services.console.pages import (
    clock,
    home,
    inbox,
    inspecting,
    joining,
    machines,
    market,
    oidc,
    operating,
    operator,
    passwords,
    portal,
    publisher,
    refusals,
    signing,
    topics,
    updates,
    webhooks,
)
from services.console.pages.oidc import flow, signing_up
from services.console.providers import clients
from services.console.visits import Page, not_found, part, shown
from shared.runtime.limits import Limits
from shared.runtime.metrics import Metrics
from shared.runtime.middleware import Requests
from shared.runtime.settings import Settings
from shared.services import EDGES, OPERATIONS, SERVICES
from shared.tracing import Tracer

NAME: Final = EDGES[0]

OPEN: Final[tuple[tuple[str, Page, Page], ...]] = (
    ("/sign-in", signing.sign_in, signing.sign_in_with_password),
    ("/sign-up", joining.sign_up, joining.open_account),
    ("/join", joining.join, joining.accept_invitation),
    ("/prove-address", joining.prove_address, joining.mail_proof),
    ("/forgot-password", passwords.forgot_password, passwords.mail_reset),
    ("/reset-password", passwords.reset_password, passwords.set_password),
)
"""The pages that nobody has to sign in for: the path, the page, and what its form does."""
AREAS: Final[tuple[Area, ...]] = (
    home.AREA,
    portal.AREA,
    market.AREA,
    inbox.AREA,
    clock.AREA,
    updates.AREA,
    publisher.AREA,
    operator.AREA,
    inspecting.AREA,
    operating.AREA,
    machines.AREA,
    webhooks.AREA,
    topics.AREA,
    refusals.AREA,
    oidc.AREA,
)
"""The pages of those who are signed in; their links are in this order in the navigation."""
PARTS: Final[tuple[tuple[str, Page], ...]] = (
    ("/inbox/count", inbox.count),
    ("/operator/now/figures", inspecting.now.figures),
)
"""The parts of pages that are asked for again while the page is open."""
ENDS: Final[tuple[tuple[str, Page], ...]] = (
    ("/sign-out", signing.sign_out),
    ("/sign-out-everywhere", signing.sign_out_everywhere),
)
BY_PROVIDER: Final = "/sign-in/oidc/{provider}"
"""Where a form leads to a provider, and where the provider sends the person back to."""
SIGN_UP_BY_PROVIDER: Final[tuple[tuple[str, Page, Page], ...]] = (
    ("/sign-up/oidc/{provider}", signing_up.sign_up, signing_up.sign_up_there),
    ("/join/oidc/{provider}", signing_up.join, signing_up.join_there),
)
"""The forms for what a provider does not tell, which lead to it."""


@dataclass(kw_only=True)
class ConsoleParts:
    """The parts of the console's process."""

    settings: Settings
    metrics: Metrics = field(default_factory=lambda: Metrics(NAME))
    limits: Limits = field(init=False)
    live: LiveEdge | None = field(init=False)
    new_id: Callable[[], str] = lambda: str(uuid_utils.uuid7())
    sources: tuple[Path, ...] = (Path(__file__).parent,)
    """The folder of the console's own code, for the pages about its rules."""
    tracer: Tracer | None = None

    def __post_init__(self) -> None:
        self.limits = Limits(self.settings.limits, refused=self.metrics.limited)
        self.live = live_edge(self.settings, self.metrics, self.limits)


def make_app(parts: ConsoleParts, doors: Doors | None = None) -> Starlette:
    """Make the application.

    Raises:
        OSError, ValueError: The file of the cookies' secrets or of the providers, or one that it names, can't be used.
    """
    rendering.prepare()
    settings = parts.settings
    live = make_doors(settings)
    app = Starlette(
        routes=[*_pages(), Route("/static/{name}", rendering.static), *_operation(parts), *_events(live)],
        middleware=[
            Middleware(Requests, parts=parts, limit_of=_limit_of, refuse=limited.refused),
            Middleware(GZipMiddleware, minimum_size=500),
        ],
        exception_handlers={HTTPException: not_found},
    )
    secure = settings.public_url.startswith("https://")
    app.state.cookies = Cookies(read_secrets(settings.cookie_key_file), secure)
    app.state.areas = AREAS
    app.state.providers = clients(settings)
    app.state.doors = doors or Doors({name: settings.url_of(name) for name in (*SERVICES, OPERATIONS)})
    app.state.live = parts.live
    app.state.parts = parts
    live.state = app.state
    return app


def _events(doors: FastAPI) -> list[Route]:
    """Return the routes of the live edge, which answers in problems, not in pages."""
    events = ("/live/{topic}", "/feed/{topic}", "/events", "/events/{source}/{event_id:path}")
    return [Route(at, doors) for at in (*events, "/problems", "/problems/{rule}", "/openapi.json")]


def _limit_of(scope: Scope) -> int:
    return BATCH_BYTES if scope["path"] == "/events" else FORM_BYTES


def _pages() -> list[Route]:
    routes: list[Route] = []
    for at, page, action in (*OPEN, *SIGN_UP_BY_PROVIDER):
        routes.append(Route(at, shown(page), methods=["GET"]))
        routes.append(Route(at, shown(action), methods=["POST"]))
    for each in (page for area in AREAS for page in area.pages):
        routes.append(Route(each.path, shown(each.show, signed_in=True), methods=["GET"]))
        if each.act is not None:
            routes.append(Route(each.path, shown(each.act, signed_in=True), methods=["POST"]))
    routes += [Route(at, part(page), methods=["GET"]) for at, page in PARTS]
    routes += [Route(at, shown(action), methods=["POST"]) for at, action in ENDS]
    routes.append(Route(BY_PROVIDER, shown(flow.come_back), methods=["GET"]))
    routes.append(Route(BY_PROVIDER, shown(flow.begin), methods=["POST"]))
    return routes


def _operation(parts: ConsoleParts) -> list[Route]:
    async def health(_: Request) -> Response:
        return JSONResponse({"status": "alive", "service": NAME})

    async def ready(request: Request) -> Response:
        """Return whether the console does its work: without identity nobody can sign in."""
        waiting = await _waiting(request.app.state.doors)
        body = {"ready": not waiting, "service": NAME, "waiting_for": waiting}
        return JSONResponse(body, HTTPStatus.SERVICE_UNAVAILABLE if waiting else HTTPStatus.OK)

    async def metrics(_: Request) -> Response:
        return Response(parts.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    named: dict[str, Callable[[Request], Awaitable[Response]]] = {"health": health, "ready": ready, "metrics": metrics}
    return [Route(f"/{name}", endpoint) for name, endpoint in named.items()]


async def _waiting(doors: Doors) -> dict[str, str]:
    try:
        async with asyncio.timeout(READY_S):
            response = await doors.client.get(f"{doors.urls['identity']}/health")
            response.raise_for_status()
    except (httpx.HTTPError, TimeoutError) as fault:
        return {"identity": f"{type(fault).__name__}: {fault}"[:200]}
    return {}
