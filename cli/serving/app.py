"""The operations server's application: a route for each verb, and those of operations."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from inspect import cleandoc
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import uuid_utils
from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.responses import JSONResponse, Response

from cli.app import VERBS, Declaration
from cli.context import Context
from cli.operation import Consent
from cli.serving.forms import CONTENTS_AT_MOST, SUGGESTED, Confirmation, arguments_of, form_of, given_in, served, slug
from cli.serving.latency import LatencyHistory, LatencyView
from cli.serving.operations import Answer, Operations, OperationView
from shared import rules
from shared.events.fields import Text
from shared.runtime import problems, wellformed
from shared.runtime.auth import Actor, TokenVerifier, fetcher
from shared.runtime.endings import IdentityQuery
from shared.runtime.forms import read_form
from shared.runtime.limits import Limits
from shared.runtime.metrics import Metrics
from shared.runtime.middleware import Requests
from shared.runtime.problems import Problem
from shared.runtime.rule_pages import rule_pages
from shared.runtime.scopes import require_scope
from shared.runtime.settings import Settings
from shared.services import OPERATIONS, SERVICES
from shared.tracing import Tracer

ANSWER_S: Final = 10.0
"""How long a request waits for a verb that is not long. Then it is answered with the operation, which goes on."""
BODY_BYTES: Final = 2 * CONTENTS_AT_MOST
_ABOUT: Final = """The verbs of the command `tenure`, for the operator's people.

A verb that changes something answers with what it would change, and with the digest of this plan, unless `yes` is true.
To apply it, send the same parameters with `yes`, a `reason`, and the digest as `plan`. The change is recorded in the
service's log, with the account of the token as its actor."""

_WRAPPED: Final = re.compile(r"(?<!\n)\n(?!\n)")
"""The end of a line within a paragraph."""
_bearer: Final = HTTPBearer(auto_error=False, scheme_name="Bearer")


class _AskedIdentity:
    """The endings of sessions, as identity knows them.

    It is asked about a token at most once a second.
    """

    def __init__(self, identity_url: str) -> None:
        self._ask = IdentityQuery(identity_url)

    async def good(self, _actor: Actor, token: str) -> bool:
        return await self._ask(token)


@dataclass(kw_only=True)
class ServerParts:
    """The parts of the operations server's process."""

    settings: Settings
    context: Callable[[str], Context] = lambda token: Context(token=token)
    """Makes the connections of one verb, which acts with the caller's token at the services."""
    metrics: Metrics = field(default_factory=lambda: Metrics(OPERATIONS))
    new_id: Callable[[], str] = lambda: str(uuid_utils.uuid7())
    sources: tuple[Path, ...] = (Path(__file__).parent,)
    """The folder of the server's own rules."""
    tracer: Tracer | None = None
    verifier: TokenVerifier = field(init=False)
    limits: Limits = field(init=False)
    operations: Operations = field(init=False)
    latency: LatencyHistory = field(init=False)

    def __post_init__(self) -> None:
        identity, issuer = self.settings.url_of("identity"), self.settings.token_issuer
        self.verifier = TokenVerifier(fetcher(identity), _AskedIdentity(identity), issuer=issuer)
        self.limits = Limits(self.settings.limits, refused=self.metrics.limited)
        self.operations = Operations(self.context, self.new_id)
        self.latency = LatencyHistory({service: self.settings.url_of(service) for service in SERVICES})
        self.metrics.watch("tenure_operations_running", "Verbs that run now", lambda: self.operations.running)


class CancelForm(BaseModel):
    """Why an operation is cancelled."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Annotated[Text, Field(description="The reason, for the record. A change needs one.")] = ""


class VerbView(BaseModel):
    """A verb that is served."""

    name: str
    """Its name in the path: `POST /verbs/{name}`."""
    verb: str
    """Its name on the command line."""
    summary: str
    description: str
    changes: bool
    """Whether it changes something, so that it answers with a plan first."""
    long: bool
    """Whether it is always answered with an operation (202)."""
    if_cancelled: str
    """What it leaves behind if it is cancelled while it applies its plan."""
    parameters: dict[str, JsonValue]
    """Its parameters without those of a confirmation, as JSON Schema."""


class UnservedVerb(BaseModel):
    """A verb that only the command line has."""

    verb: str
    why: str


class VerbsView(BaseModel):
    items: list[VerbView]
    not_served: list[UnservedVerb]


class OperationsView(BaseModel):
    items: list[OperationView]


async def _operator(request: Request, _: Annotated[object, Depends(_bearer)]) -> Actor:
    """Return the caller, who is one of the operator's people. Raises Problem 401, 403 or 503."""
    parts: ServerParts = request.app.state.parts
    actor = await parts.verifier.actor(request.headers.get("authorization"))
    require_scope(actor, ())
    if actor.organisation_kind != "operator":
        raise Problem(
            rule=rules.OPERATOR_ONLY,
            reason="Only the operator's people use the operations server.",
            remedy="Ask the operator.",
        )
    return actor


async def _no_parameters(request: Request) -> None:
    wellformed.NO_PARAMETERS.read(request.scope["query_string"])
    if request.method == "GET":
        wellformed.check_no_body(request.scope["headers"])


Operator: TypeAlias = Annotated[Actor, Depends(_operator)]


def make_app(parts: ServerParts) -> FastAPI:
    """Make the application; the verbs have to be loaded."""
    app = FastAPI(
        title="Tenure operations",
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        servers=[{"url": "/", "description": "The server that has served this document."}],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        generate_unique_id_function=attrgetter("name"),
        dependencies=[Depends(_no_parameters)],
    )
    app.state.parts = parts
    problems.install(app)
    _add_process(app, parts)
    app.include_router(rule_pages())

    @app.get("/latency", tags=["figures"])
    async def show_latency(_: Operator) -> LatencyView:
        """Return how long the services' commands took in each interval of the last half an hour."""
        return parts.latency.view()

    @app.get("/verbs", tags=["verbs"])
    async def list_verbs(_: Operator) -> VerbsView:
        """List the verbs with their parameters, and those that only the command line has."""
        return await asyncio.to_thread(listed_verbs)  # which may load the services' code first

    @app.get("/operations", tags=["operations"])
    async def list_operations(_: Operator) -> OperationsView:
        """List the operations since the server's start, newest first."""
        return OperationsView(items=[*parts.operations.listed()])

    @app.get("/operations/{operation_id}", tags=["operations"])
    async def one_operation(operation_id: str, _: Operator) -> OperationView:
        """Return an operation: its progress, what it has said, and its answer once it has ended."""
        return parts.operations.one(operation_id).view()

    @app.post("/operations/{operation_id}/cancel", status_code=202, tags=["operations"])
    async def cancel_operation(operation_id: str, request: Request, actor: Operator) -> OperationView:
        """Cancel an operation that runs.

        It ends once it has cleaned up; `if_cancelled` of its verb says what is left behind."""
        asked = read_form(CancelForm, await request.body(), request.headers.get("content-type", ""))
        return parts.operations.cancel(operation_id, actor, asked.reason).view()

    for name, verb in served().items():
        _add_verb(app, name, verb)
    app.add_middleware(Requests, parts=parts, limit_of=lambda _: BODY_BYTES)
    return app


def _add_process(app: FastAPI, parts: ServerParts) -> None:
    @app.get("/health", tags=["process"])
    async def health() -> dict[str, str]:
        """Return that the process is alive."""
        return {"status": "alive", "service": OPERATIONS}

    @app.get("/ready", tags=["process"])
    async def ready() -> dict[str, object]:
        """Return that the process does its work, for which it needs no other part of the system."""
        return {"ready": True, "service": OPERATIONS, "waiting_for": {}}

    @app.get("/metrics", tags=["process"])
    async def metrics() -> Response:
        """Return the process's metrics in Prometheus' text format."""
        return Response(parts.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_verb(app: FastAPI, name: str, verb: Declaration) -> None:
    form = form_of(verb)
    schema = form.model_json_schema(by_alias=True)
    app.post(
        f"/verbs/{name}",
        name=name.replace("-", "_"),
        tags=["verbs"],
        description=verb.function.__doc__,
        response_model=Answer,
        responses={202: {"model": OperationView, "description": "It goes on; `Location` leads to its operation."}},
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": schema}}}},
    )(_route(verb, form))


def _route(verb: Declaration, form: type[BaseModel]) -> Callable[..., Awaitable[Response]]:
    async def run(request: Request, actor: Operator) -> Response:
        parts: ServerParts = request.app.state.parts
        parts.limits.take("command", actor.account_id)
        raw = await request.body()
        asked = read_form(form, raw, request.headers.get("content-type", ""))
        consent, plan = Consent(actor=actor.account_id), ""
        if isinstance(asked, Confirmation) and asked.yes:
            _check_confirmation(asked)
            consent, plan = Consent(True, asked.reason, actor.account_id), asked.plan
        token = request.headers.get("authorization", "").partition(" ")[2]
        operation = parts.operations.start(verb, arguments_of(verb, asked), given_in(raw), consent, plan, actor, token)
        kept, within_s = _preferred(request.headers.get("prefer", ""), 0 if verb.long else ANSWER_S)
        if not await parts.operations.finished(operation, within_s, keep=kept):
            headers = {"Location": f"/operations/{operation.id}", "Cache-Control": "no-store"}
            headers |= {"Preference-Applied": "respond-async"} if kept else {}
            return JSONResponse(operation.view().model_dump(mode="json"), 202, headers)
        if operation.problem is not None:
            raise operation.problem
        answer = None if operation.answer is None else operation.answer.model_dump(mode="json")
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    return run


def _preferred(given: str, within_s: float) -> tuple[bool, float]:
    """Return whether the caller prefers an operation, and how long to wait for its end.

    Source: RFC 7240, sections 4.1 and 4.3.
    """
    preferences = dict(part.strip().lower().partition("=")[::2] for part in given.split(","))
    waited = preferences.get("wait", "")
    kept = "respond-async" in preferences
    if waited.isascii() and waited.isdigit():
        return kept, min(float(waited[:6]), ANSWER_S)
    return kept, 0 if kept else within_s


def _check_confirmation(asked: Confirmation) -> None:
    """Raise Problem 422 for a confirmation without a reason or without the digest of a plan."""
    missing = [name for name in ("reason", "plan") if not getattr(asked, name).strip()]
    if missing:
        raise wellformed.malformed_request([{"field": name, "error": "`yes` needs it"} for name in missing])


@cache
def listed_verbs() -> VerbsView:
    return VerbsView(
        items=[_view(name, verb) for name, verb in served().items()],
        not_served=[UnservedVerb(verb=each.name, why=each.not_served) for each in VERBS.values() if each.not_served],
    )


def _view(name: str, verb: Declaration) -> VerbView:
    schema = form_of(verb).model_json_schema(by_alias=True)
    own = {
        key: value | ({"examples": [*SUGGESTED[key]()]} if key in SUGGESTED else {})
        for key, value in schema["properties"].items()
        if key not in Confirmation.model_fields
    }
    parameters = {key: value for key, value in schema.items() if key not in ("title", "description")}
    summary, _, rest = cleandoc(verb.function.__doc__ or "").partition("\n")
    return VerbView(
        name=slug(name),
        verb=verb.name,
        summary=summary,
        description=_WRAPPED.sub(" ", rest.strip()),
        changes=verb.changes,
        long=verb.long,
        if_cancelled=verb.if_cancelled,
        parameters=parameters | {"properties": own},
    )
