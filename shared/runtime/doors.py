"""Doors: a command, declared once beside its decider, as an HTTP route with its dry run and its documentation.

A door parses, knows its caller, gathers what the command's author can't say (time, ids, facts of other streams), and
calls `Log.execute`. Plain Starlette routes: FastAPI's machinery would cost two thirds of the throughput.
"""

import dataclasses
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args, get_type_hints

import asyncpg
import orjson
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, create_model
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.eventlog.clocks import Clocks
from shared.eventlog.decision import SUPPLIED, Stream
from shared.eventlog.log import Accepted, Answer, Log, Meta
from shared.events.envelope import checked_name
from shared.runtime.auth import Actor
from shared.runtime.problems import Problem, malformed, refusal, to_problem
from shared.runtime.settings import Settings

MAX_KEY: Final = 200

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Pool = asyncpg.Pool  # not generic when it runs


@dataclass(frozen=True, slots=True)
class Call:
    """One request at a door. `body` is the command's public form, already validated."""

    actor: Actor
    path: Mapping[str, str]
    body: Any
    now: datetime
    command_id: str
    dry_run: bool
    new_id: Callable[[], str]
    log: Log
    db: Pool
    settings: Settings
    clocks: Clocks
    app_state: Any
    """What the service keeps beside the runtime's own parts, such as identity's keys."""

    def time_of(self, organisation_id: str) -> datetime:
        """Now for this organisation: a sandbox's may be ahead. `now` is the caller's own."""
        return self.clocks.time_of(organisation_id)


class Target:
    """Where a command goes: its stream's business key, and the fields that the door supplies."""

    __slots__ = ("key", "supplied")

    def __init__(self, key: str, **supplied: Any) -> None:
        self.key, self.supplied = key, supplied


Supply = Callable[[Call], Awaitable[Target]]

ANYBODY: Final = Actor("", "", "customer")
"""Who calls an open door: nobody that is known."""


@dataclass(frozen=True, slots=True)
class Door:
    """A command's route."""

    method: str
    path: str
    stream: Stream[Any, Any, Any]
    command: type[Any]
    form: type[BaseModel]
    whole: bool
    """Whether `form` is the command's own public fields (else `supply` makes all of them from it)."""
    supply: Supply
    open: bool
    secret: bool
    """Whether the form has a secret. It is left out of the fingerprint: a password is guessed quicker by that than by
    its verifier."""


class Doors:
    """The doors of one service."""

    def __init__(self) -> None:
        self.doors: list[Door] = []

    def post(self, path: str, stream: Stream[Any, Any, Any], command: type[Any], *, supply: Supply,
             form: type[BaseModel] | None = None) -> None:  # fmt: skip
        """Declares a door. `form` replaces the public form derived from the command; `supply` then gives all fields."""
        self._add("POST", path, stream, command, supply, form, open_=False)

    def put(self, path: str, stream: Stream[Any, Any, Any], command: type[Any], *, supply: Supply,
            form: type[BaseModel] | None = None) -> None:  # fmt: skip
        self._add("PUT", path, stream, command, supply, form, open_=False)

    def delete(self, path: str, stream: Stream[Any, Any, Any], command: type[Any], *, supply: Supply,
               form: type[BaseModel] | None = None) -> None:  # fmt: skip
        self._add("DELETE", path, stream, command, supply, form, open_=False)

    def open_post(self, path: str, stream: Stream[Any, Any, Any], command: type[Any], *, supply: Supply,
                  form: type[BaseModel] | None = None) -> None:  # fmt: skip
        """A door that needs no token: sign-up, and nothing else."""
        self._add("POST", path, stream, command, supply, form, open_=True)

    def _add(self, method: str, path: str, stream: Stream[Any, Any, Any], command: type[Any], supply: Supply,
             form: type[BaseModel] | None, *, open_: bool) -> None:  # fmt: skip
        derived = form or form_of(command, path)
        secret = any(_is_secret(field.annotation) for field in derived.model_fields.values())
        self.doors.append(Door(method, path, stream, command, derived, form is None, supply, open_, secret))

    def routes(self) -> list[Route]:
        return [
            Route(door.path, _endpoint(door), methods=[door.method], name=door.command.__name__) for door in self.doors
        ]


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in get_args(annotation))


def form_of(command: type[Any], path: str) -> type[BaseModel]:
    """The command's public form: its fields but those that its door supplies or takes from the path."""
    hints = get_type_hints(command, include_extras=True)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(command):
        if SUPPLIED in getattr(hints[field.name], "__metadata__", ()) or f"{{{field.name}}}" in path:
            continue
        default = ... if field.default is dataclasses.MISSING else field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        fields[field.name] = (hints[field.name], default)
    config = ConfigDict(extra="forbid", str_max_length=2000)
    return create_model(command.__name__, __config__=config, __doc__=command.__doc__, **fields)


def _endpoint(door: Door) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        request.scope["route"] = door  # for the log line and the metrics
        try:
            return await _pass(door, request)
        except Exception as error:  # noqa: BLE001  # every error is a problem, and is logged as such
            return to_problem(error).response()

    return endpoint


async def _pass(door: Door, request: Request) -> Response:
    parts = request.app.state.parts
    actor = ANYBODY if door.open else await parts.verifier.actor(request.headers.get("authorization"))
    raw = await request.body()
    form = _parsed(door.form, raw, request.headers.get("content-type", ""))
    key = request.headers.get("idempotency-key") or parts.new_id()
    if len(key) > MAX_KEY or not (key.isascii() and key.isprintable()):
        reason = f"The Idempotency-Key is longer than {MAX_KEY} characters or not printable ASCII."
        raise Problem(422, rule="malformed", reason=reason, remedy="Use a UUID, for instance.")
    command_id = checked_name(f"{actor.account_id or 'anybody'}:{key}", "a command id")
    dry_run = request.query_params.get("dry_run", "").lower() in ("true", "1")
    call = Call(
        actor, request.path_params, form, parts.clocks.time_of(actor.organisation_id), command_id, dry_run,
        parts.new_id, parts.log, parts.db, parts.settings, parts.clocks, request.app.state,
    )  # fmt: skip
    target = await door.supply(call)
    command = _command(door, form, call.path, target)
    if dry_run:
        return _answer(await parts.log.consider(door.stream, target.key, command), dry_run=True)
    asked = form.model_dump_json().encode() if door.secret else raw
    fingerprint = hashlib.sha256(b"\n".join((door.method.encode(), request.url.path.encode(), asked))).digest()
    meta = Meta(
        command_id, actor.account_id or target.key, parts.now(), request.state.correlation_id, command_id,
        request.state.traceparent, fingerprint,
    )  # fmt: skip
    answer = await parts.log.execute(door.stream, target.key, command, meta)
    request.state.noted = _noted(door, answer)
    return _answer(answer, dry_run=False)


def _noted(door: Door, answer: Answer) -> dict[str, Any]:
    """What the request's log line says about its command."""
    noted: dict[str, Any] = {"command": door.command.__name__, "stream": answer.stream, "repeated": answer.repeated}
    if isinstance(answer, Accepted):
        return noted | {"events": [event.id for event in answer.events]}
    return noted | {"rule": answer.rule}


def _parsed(form: type[BaseModel], raw: bytes, content_type: str) -> BaseModel:
    if not raw and not any(field.is_required() for field in form.model_fields.values()):
        return form()
    if content_type.split(";")[0].strip().lower() not in ("application/json", ""):
        reason = f"This door reads application/json, not {content_type[:80]}."
        raise Problem(415, rule="unsupported-media-type", reason=reason, remedy="Send the body as JSON.")
    try:
        return form.model_validate_json(raw or b"null")
    except ValidationError as error:
        raise malformed(error) from None


def _command(door: Door, form: BaseModel, path: Mapping[str, str], target: Target) -> Any:
    values = dict(target.supplied)
    if door.whole:
        names = {field.name for field in dataclasses.fields(door.command)}
        values = {name: path[name] for name in path if name in names} | values
        values = {name: getattr(form, name) for name in type(form).model_fields} | values
    return door.command(**values)


def _answer(answer: Answer, *, dry_run: bool) -> Response:
    if not isinstance(answer, Accepted):
        return refusal(answer)
    events = [
        {"id": e.id, "type": e.event.type(), "version": e.version, "data": orjson.Fragment(e.event.data())}
        for e in answer.events
    ]
    body = {
        "stream": answer.stream, "version": answer.version, "events": events, "repeated": answer.repeated,
        "dry_run": dry_run,
    }  # fmt: skip
    headers = {} if dry_run else {"Tenure-Version": f"{answer.stream}@{answer.version}"}
    return Response(orjson.dumps(body), 200, headers, "application/json")
