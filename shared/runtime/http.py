"""The HTTP side of a service process: commands, queries, health, readiness, metrics."""

import asyncio
import re
import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from secrets import token_hex
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import parse_qsl

import structlog
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import rules
from shared.eventlog.write.log import Log
from shared.events.fields import WrittenCount
from shared.runtime import problems, wellformed
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.dispatch import limit_of, mounted
from shared.runtime.openapi import describe
from shared.runtime.parts import Parts
from shared.runtime.problems import Problem
from shared.runtime.routes import CommandRoutes
from shared.runtime.scopes import EVERY_MACHINE, require_scope, scopes_of
from shared.runtime.sizes import BODY_BYTES

logger = structlog.get_logger("http")

BODY_S: Final = 10.0
LARGE_BODY_S: Final = 30.0
"""How long the body of a bulk request may take."""
CLOSING: Final = {"Connection": "close"}
"""On an answer to a request whose rest is not read."""

_TRACEPARENT: Final = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
_CORRELATION: Final = re.compile(r"^[!-~]{1,200}$")
_PAGES: Final = frozenset({"/docs", "/openapi.json"})
"""Routes of the framework's own, which have no parameters."""


def _asks_who_calls(dependant: Dependant) -> bool:
    return any(each.call in (_actor, _now) or _asks_who_calls(each) for each in dependant.dependencies)


async def _well_formed(request: Request) -> None:
    """Whether a query brings only what its route reads. Who calls is asked first."""
    route: APIRoute = request.scope["route"]
    if _asks_who_calls(route.dependant):
        await _caller(request)
    if request.scope["query_string"]:
        wellformed.Parameters.of(route.dependant).read(request.scope["query_string"])
    if any(each.call is form_fields for each in route.dependant.dependencies):
        return
    if route.body_field is None:
        wellformed.check_no_body(request.scope["headers"])
    else:
        wellformed.check_json(await request.body())


async def _caller(request: Request) -> Actor:
    """Who asks a query: asked once a request, and for a machine whether its scopes suffice."""
    known: Actor | None = getattr(request.state, "caller", None)
    if known is None:
        known = await request.app.state.parts.verifier.actor(request.headers.get("authorization"))
        require_scope(known, scopes_of(request.scope["route"]))
        request.state.caller = known
    return known


async def form_fields(request: Request) -> dict[str, str]:
    """The fields of a form (application/x-www-form-urlencoded). Raises Problem 415 or 422."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(
            415,
            rule=rules.UNSUPPORTED_MEDIA_TYPE,
            reason="This route reads a form.",
            remedy="Send it as application/x-www-form-urlencoded.",
        )
    try:
        pairs = parse_qsl(
            (await request.body()).decode(),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=20,
        )
    except ValueError:
        pairs = []
    fields = dict(pairs)
    if not pairs or len(fields) < len(pairs):
        raise Problem(
            422,
            rule=rules.MALFORMED,
            reason="The form is empty, not well formed, or has a field twice.",
            remedy="Correct it and send it again.",
        )
    return fields


FormFields: TypeAlias = Annotated[dict[str, str], Depends(form_fields)]
"""The fields of a form, each once."""

_bearer: Final = HTTPBearer(auto_error=False, scheme_name="Bearer")


async def _actor(request: Request, _: Annotated[Any, Depends(_bearer)]) -> Actor:
    return await _caller(request)


async def _database(request: Request) -> Pool:
    parts: Parts = request.app.state.parts
    wanted = request.headers.get("tenure-at-least")
    if wanted is not None:
        actor = await parts.verifier.actor(request.headers.get("authorization"))
        await parts.freshness.reached(wanted, actor)
    return parts.db


CurrentActor: TypeAlias = Annotated[Actor, Depends(_actor)]
"""The caller of a query, known by its token."""

Database: TypeAlias = Annotated[Pool, Depends(_database)]
"""The service's read models, as new as the header `Tenure-At-Least` asks. The header needs a token on every route."""


async def _log(request: Request) -> Log:
    commands: Log = request.app.state.parts.log
    return commands


CurrentLog: TypeAlias = Annotated[Log, Depends(_log)]
"""The service's log: `state()` of a stream is never stale."""


async def _now(request: Request, _: Annotated[Any, Depends(_bearer)]) -> datetime:
    actor = await _caller(request)
    parts: Parts = request.app.state.parts
    if parts.opened_db is not None:
        await parts.clocks.fresh(parts.opened_db)
    return parts.clocks.time_of(actor.organisation_id)


Now: TypeAlias = Annotated[datetime, Depends(_now)]
"""What time it is for the caller, UTC: a sandbox's clock may be ahead."""

Limit: TypeAlias = Annotated[WrittenCount, Query(ge=1, le=200)]
"""How many rows a page of a list has at most."""

After: TypeAlias = Annotated[str, Query(max_length=500, pattern=r"^[ -~]*$")]
"""The place in a list after which a page begins: the `next` of the page before."""


class ClockShown(BaseModel):
    now: datetime
    ahead_s: int
    """How far that is ahead of real time."""


def make_app(parts: Parts, commands: CommandRoutes, queries: APIRouter | None, *, api: bool) -> FastAPI:
    """The application: always health, readiness and metrics; with `api` the service's commands and queries."""
    app = FastAPIOffline(
        "/docs",
        None,
        title=f"Tenure {parts.service}",
        version="1",
        static_url="/docs/assets",
        swagger_ui_parameters={"validatorUrl": None},  # or the page would show the document to a checker elsewhere
        dependencies=[Depends(_well_formed)],
    )
    app.state.parts = parts
    problems.install(app)
    if api:
        app.router.routes.extend(mounted(commands))
        if queries is not None:
            app.include_router(queries, tags=["queries"])
        describe(app, commands, parts.settings.token_issuer)

    @app.get("/health", tags=["operation"])
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive", "service": parts.service}

    @app.get("/ready", tags=["operation"])
    async def ready() -> Response:
        """Whether it does its work: by progress, not by being alive.

        What is parked, the alarms and how far the relay is behind are shown, and keep nobody from being ready: another
        start of the process would mend none of it.
        """
        waiting = parts.waiting_for()
        shown = {} if parts.figures is None else parts.figures.as_data()
        body = {"ready": not waiting, "service": parts.service, "waiting_for": waiting, **shown}
        return JSONResponse(body, 503 if waiting else 200)

    @app.get("/clock", tags=["operation"], openapi_extra=EVERY_MACHINE)
    async def clock(actor: CurrentActor, now: Now) -> ClockShown:
        """What time it is here for the caller's organisation. A sandbox's clock is moved at identity."""
        return ClockShown(now=now, ahead_s=parts.clocks.ahead_s(actor.organisation_id))

    @app.get("/metrics", tags=["operation"])
    async def metrics() -> Response:
        return Response(parts.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app.add_middleware(_Requests, parts=parts, limit_of=limit_of(commands) if api else lambda _: BODY_BYTES)
    return app


class _Requests:
    """Around every request: its size limit, its correlation id and trace, one log line, one measurement."""

    def __init__(self, app: ASGIApp, parts: Parts, limit_of: Callable[[Scope], int]) -> None:
        self.app, self.parts, self._limit_of = app, parts, limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get(b"x-correlation-id", "")
        correlation = given if _CORRELATION.match(given) else self.parts.new_id()
        trace = headers.get(b"traceparent", "")
        scope.setdefault("state", {}).update(
            correlation_id=correlation,
            traceparent=trace if _TRACEPARENT.match(trace) else f"00-{token_hex(16)}-{token_hex(8)}-01",
        )
        started, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-correlation-id", correlation.encode())]
            await send(message)

        bound = structlog.contextvars.bound_contextvars(correlation_id=correlation)
        with bound, self.parts.limits.request() as uncount:
            try:
                await self._limited(scope, receive, answer, headers.get(b"content-length", "0"))
            finally:
                if status == HTTPStatus.SERVICE_UNAVAILABLE:
                    uncount()
                self._note(scope, status, time.perf_counter() - started)

    async def _limited(self, scope: Scope, receive: Receive, send: Send, announced: str) -> None:
        size, whole = 0, False
        short = announced.isdigit() and int(announced) <= BODY_BYTES
        limit = BODY_BYTES if short else self._limit_of(scope)

        late_at = time.monotonic() + (LARGE_BODY_S if limit > BODY_BYTES else BODY_S)

        async def counted() -> Message:
            nonlocal size, whole
            try:
                # What comes after the body is only that the client has gone.
                async with asyncio.timeout(None if whole else late_at - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise _too_slow() from None
            whole = not message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > limit:
                raise _too_large(limit)
            return message

        if announced.isdigit() and int(announced) > limit:
            await _too_large(limit).response()(scope, receive, send)
            return
        try:
            wellformed.check_headers(scope["headers"])
            if scope["path"] in _PAGES:
                wellformed.NO_PARAMETERS.read(scope["query_string"])
            await self.app(scope, counted, send)
        except Problem as problem:
            await problem.response()(scope, receive, send)
        except Exception as error:  # noqa: BLE001  # the last net: an answer without a word of what is inside
            await problems.to_problem(error).response()(scope, receive, send)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        self.parts.metrics.requested(scope["method"], route, status, seconds)
        if route in ("/health", "/ready", "/metrics"):
            return
        logger.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 1),
            **scope["state"].get("noted", {}),
        )


def _too_slow() -> Problem:
    return Problem(
        408,
        rule=rules.REQUEST_TIMEOUT,
        reason="The request's body did not arrive in time.",
        remedy="Send it again, all of it at once.",
        headers=CLOSING,
    )


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        rule=rules.TOO_LARGE,
        reason=f"A request has at most {limit // 1024} KiB here.",
        remedy="Send less at once.",
        headers=CLOSING,
    )
