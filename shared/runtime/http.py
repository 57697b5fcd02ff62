"""The HTTP application of a service process: commands, queries, health, readiness, metrics."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute

from shared import rules
from shared.eventlog.write.log import Log
from shared.events.fields import Address, OptionalIdentifier
from shared.runtime import cors, problems, refusals, wellformed
from shared.runtime.auth import Actor
from shared.runtime.contract import contract_queries
from shared.runtime.database import Pool
from shared.runtime.dispatch import limit_of, mounted
from shared.runtime.exports import ListRoute
from shared.runtime.lists import ListOf, Page, Search, searched
from shared.runtime.middleware import Requests
from shared.runtime.openapi import describe
from shared.runtime.parts import Parts
from shared.runtime.people import person_of_list
from shared.runtime.problems import Problem
from shared.runtime.representations import Representations
from shared.runtime.routes import CommandRoutes
from shared.runtime.rule_pages import rule_pages
from shared.runtime.scopes import EVERY_MACHINE, require_scope, scopes_of
from shared.runtime.sizes import BODY_BYTES

_ABOUT: Final = """A command is decided at once and kept: the answer has the events that were stored. Send it again with
the same `Idempotency-Key` to get the first answer; with `dry_run=true` nothing is stored.

Refusals and errors are problem details (RFC 9457) that name the rule and what to do."""
_TAGS: Final = [
    {"name": "commands", "description": "What changes something."},
    {"name": "queries", "description": "What is read."},
    {"name": "operation", "description": "What whoever runs the service asks it."},
]


def _depends(dependant: Dependant, *on: Callable[..., Any]) -> bool:
    return any(part.call in on or _depends(part, *on) for part in dependant.dependencies)


async def _well_formed(request: Request) -> None:
    """Check that a query has only what its route reads, once its caller is known."""
    route: APIRoute = request.scope["route"]
    if _depends(route.dependant, _actor, _now):
        await _caller(request)
    if request.scope["query_string"]:
        wellformed.Parameters.of(route.dependant).read(request.scope["query_string"])
    if any(part.call is form_fields for part in route.dependant.dependencies):
        return
    if route.body_field is None:
        wellformed.check_no_body(request.scope["headers"])
    else:
        wellformed.check_json(await request.body())


async def _caller(request: Request) -> Actor:
    """Return a query's caller, verified once a request. Raises Problem 401, 403 or 503."""
    actor: Actor | None = getattr(request.state, "caller", None)
    if actor is None:
        actor = await request.app.state.parts.verifier.actor(request.headers.get("authorization"))
        request.state.sandbox = request.app.state.parts.is_sandbox(actor.organisation_id)
        require_scope(actor, scopes_of(request.scope["route"]))
        request.state.caller = actor
    return actor


async def form_fields(request: Request) -> dict[str, str]:
    """Read the fields of a form (application/x-www-form-urlencoded). Raises Problem 415 or 422."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(
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
            rule=rules.MALFORMED,
            reason="The form is empty, not well formed, or has a field twice.",
            remedy="Correct it and send it again.",
        )
    return fields


FormFields: TypeAlias = Annotated[dict[str, str], Depends(form_fields)]
"""The fields of a form; each is given once."""

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
"""The caller of a query, verified by its token."""

Database: TypeAlias = Annotated[Pool, Depends(_database)]
"""The service's read models, at least as new as the header `Tenure-At-Least` says, which needs a token."""


async def _log(request: Request) -> Log:
    commands: Log = request.app.state.parts.log
    return commands


CurrentLog: TypeAlias = Annotated[Log, Depends(_log)]
"""The service's log: its `state()` of a stream is always current."""


async def _now(request: Request, _: Annotated[Any, Depends(_bearer)]) -> datetime:
    actor = await _caller(request)
    parts: Parts = request.app.state.parts
    if parts.opened_db is not None:
        await parts.clocks.fresh(parts.opened_db)
    return parts.clocks.time_of(actor.organisation_id)


Now: TypeAlias = Annotated[datetime, Depends(_now)]
"""The current time for the caller, in UTC: a sandbox's clock may be ahead."""


class ClockShown(BaseModel):
    now: datetime
    ahead_s: int
    """How many seconds `now` is ahead of real time."""


def make_app(parts: Parts, commands: CommandRoutes, queries: APIRouter | None, *, api: bool) -> FastAPI:
    """Make the application: health, readiness and metrics, and with `api` commands and queries."""
    app = FastAPIOffline(
        "/docs",
        None,
        title=f"Tenure {parts.service}",
        version="1",
        description=_ABOUT,
        contact={"name": "The operator of this installation"},
        openapi_tags=_TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/", "description": "The service that has served this document."}],
        static_url="/docs/assets",
        generate_unique_id_function=attrgetter("name"),
        swagger_ui_parameters={"validatorUrl": None},  # otherwise the page sends the document to an external validator
        dependencies=[Depends(_well_formed)],
    )
    app.state.parts = parts
    problems.install(app)
    if api:
        app.router.routes.extend(mounted(commands))
        if queries is not None:
            app.router.routes.extend(_included(queries))
        describe(app, commands, parts.settings.token_issuer, lambda route: _depends(route.dependant, _database))

    @app.get("/health", tags=["operation"])
    async def health() -> dict[str, str]:
        """Return that the process is alive."""
        return {"status": "alive", "service": parts.service}

    @app.get("/ready", tags=["operation"])
    async def ready() -> Response:
        """Return whether the process does its work; it may be alive and not ready.

        Parked records, alarms and the relay's backlog are shown, but do not make the process unready, because a restart
        would not help.
        """
        waiting = parts.waiting_for()
        shown = {} if parts.figures is None else parts.figures.as_data()
        body = {"ready": not waiting, "service": parts.service, "waiting_for": waiting, **shown}
        return JSONResponse(body, 503 if waiting else 200)

    @app.get("/clock", tags=["operation"], openapi_extra=EVERY_MACHINE)
    async def clock(actor: CurrentActor, now: Now) -> ClockShown:
        """Return the time for the caller's organisation. A sandbox's clock is moved at identity."""
        return ClockShown(now=now, ahead_s=parts.clocks.ahead_s(actor.organisation_id))

    if api:
        app.router.routes.extend(_included(_refusal_queries()))
        app.router.routes.extend(_included(contract_queries()))

    app.router.routes.extend(_included(rule_pages()))

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return the process's metrics in Prometheus' text format."""
        return Response(parts.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app.add_middleware(Representations)
    app.add_middleware(Requests, parts=parts, limit_of=limit_of(commands) if api else lambda _: BODY_BYTES)
    if origins := cors.origins_of(parts.settings.cors_origins):
        app.add_middleware(CORSMiddleware, **cors.options(origins, credentials=parts.settings.cors_credentials))
    return app


def _included(queries: APIRouter) -> Sequence[BaseRoute]:
    """Return the routes of queries, with the dependency of all routes.

    FastAPI determines once for each inclusion of a router what its routes depend on, which takes up to 0.1 s. So a
    router is included once in a process, however many applications the process makes.
    """
    included = _INCLUDED.get(id(queries))
    if included is None:
        included = _INCLUDED[id(queries)] = APIRouter(
            dependencies=[Depends(_well_formed)], generate_unique_id_function=attrgetter("name")
        )
        included.include_router(queries, tags=["queries"])
    return included.routes


_INCLUDED: Final[dict[int, APIRouter]] = {}
"""The routers by the identity of the router that they include and keep alive: routers have no hash."""


@cache
def _refusal_queries() -> APIRouter:
    """Return the queries of the refusals that a service has stored."""

    router = APIRouter(route_class=ListRoute)

    @router.get("/refusals")
    async def list_refusals(
        actor: CurrentActor,
        db: Database,
        request: Request,
        page: Annotated[Page, Depends(refusals.REFUSALS.page)],
        account_id: OptionalIdentifier = "",
        email: Address | None = None,
        rule: OptionalIdentifier = "",
        q: Search = "",
    ) -> ListOf[refusals.RefusalView]:
        """List the refusals of the caller's commands, the newest first.

        For the operator, list those of all commands, also of reactions and timers, or of one account, which
        `account_id` or `email` names.
        """
        wanted = await person_of_list(request, account_id or None, email)
        if not refusals.sees_all(actor):
            if wanted not in (None, actor.account_id):
                raise problems.unknown("account")
            wanted = actor.account_id
        return await refusals.REFUSALS.show(db, page, refusals.refusal_view, wanted, rule or None, searched(q))

    @router.get("/refusals/{command_id:path}")
    async def one_refusal(command_id: refusals.CommandId, actor: CurrentActor, db: Database) -> refusals.RefusalView:
        """Return the refusal of a command: its rule, reason, remedy and the events that justify it.

        It can be seen by who was refused, and by the operator.
        """
        found = await refusals.refusal_of(db, command_id, None if refusals.sees_all(actor) else actor.account_id)
        if found is None:
            raise problems.unknown("refusal", "Check the command's id: a refusal has it in command_id.")
        return found

    return router
