"""Doors: a command, declared once beside its decider, as an HTTP route with its dry run and its documentation.

A door parses, knows its caller, gathers what the command's author can't say (time, ids, facts of other streams), and
calls `Log.execute`. Plain Starlette routes: FastAPI's machinery would cost two thirds of the throughput.
"""

import dataclasses
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg
import orjson
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from shared import rules
from shared.eventlog.clocks import Clocks
from shared.eventlog.decision import Stream
from shared.eventlog.log import Accepted, Answer, Log, Meta
from shared.events.base import Event
from shared.events.envelope import derived_id
from shared.events.identity import MachineScope
from shared.runtime import wellformed
from shared.runtime.auth import Actor
from shared.runtime.forms import form_of, is_secret, read_form, read_path
from shared.runtime.limits import Limits, source_of
from shared.runtime.problems import Problem, refusal, to_problem
from shared.runtime.scopes import require_scope
from shared.runtime.settings import Settings
from shared.runtime.sizes import BODY_BYTES, body_bytes

MAX_KEY: Final = 200
MAX_ITEMS: Final = 1000
"""Of a bulk request: as many as a subscription has seats, and one."""

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

    def further_id(self, name: str) -> str:
        """The id of a further command of this request. `name` is a word; no caller's key makes the same id, as with the
        items of a bulk request."""
        account, _, named = self.command_id.partition(":")
        return derived_id(account, f"~{name}:{named}")

    def time_of(self, organisation_id: str) -> datetime:
        """Now for this organisation: a sandbox's may be ahead. `now` is the caller's own."""
        return self.clocks.time_of(organisation_id)


@dataclass(frozen=True, slots=True)
class Completion:
    """How far what follows from an accepted command has come: 202 unless it is `done`, with these fields besides."""

    done: bool
    besides: Mapping[str, Any]


class Target:
    """Where a command goes: its stream's business key, and the fields that the door supplies."""

    __slots__ = ("besides", "completion", "key", "supplied")

    def __init__(self, key: str, **supplied: Any) -> None:
        self.key, self.supplied = key, supplied
        self.completion: Callable[[str], Awaitable[Completion]] | None = None
        """What the answer waits for once the command is accepted, now or before; not in a dry run. Called with the
        request's Authorization."""
        self.besides: Callable[[Accepted], Awaitable[Mapping[str, Any]]] | None = None
        """What the answer says besides, where this very request brought the command's events about: not a dry run,
        not one sent again, not a refusal. It is not kept."""


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
    bulk: bool = False
    """Whether `form` has `items`, each of them a command's public form."""
    besides: type[BaseModel] | None = None
    """What `Target.besides` and a completion may add to an answer."""
    scopes: tuple[MachineScope, ...] = ()
    """Any of these suffices a machine account; without, the door is for people only."""
    completes: bool = False
    """Whether an accepted command may be answered 202: its `Target.completion` is not done."""
    body_bytes: int = BODY_BYTES
    """How large a request may be."""

    @property
    def name(self) -> str:
        return f"{self.command.__name__}Bulk" if self.bulk else self.command.__name__


class Doors:
    """The doors of one service."""

    def __init__(self) -> None:
        self.doors: list[Door] = []

    def post(
        self,
        path: str,
        stream: Stream[Any, Any, Any],
        command: type[Any],
        *,
        supply: Supply,
        form: type[BaseModel] | None = None,
        bulk: bool = False,
        besides: type[BaseModel] | None = None,
        scopes: tuple[MachineScope, ...] = (),
        completes: bool = False,
    ) -> None:
        """Declares a door. `form` replaces the public form derived from the command; `supply` then gives all fields.
        With `bulk` there is `<path>/bulk`, too. `besides` is what its answers may have besides;
        `scopes` are what open it to a machine account."""
        self._add(
            "POST",
            path,
            stream,
            command,
            supply,
            form,
            open_=False,
            besides=besides,
            scopes=scopes,
            completes=completes,
        )
        if bulk:
            self.bulk(f"{path}/bulk", stream, command, supply=supply, form=form)

    def bulk(
        self,
        path: str,
        stream: Stream[Any, Any, Any],
        command: type[Any],
        *,
        supply: Supply,
        form: type[BaseModel] | None = None,
    ) -> None:
        """Declares a door for many of these commands at once, `{"items": [...]}`: an answer per item, in their order.
        They are decided one by one, each under an id of its own, so sent again, those done get their first answers."""
        config = ConfigDict(extra="forbid", strict=True)
        item: Any = form or form_of(command, path, f"{command.__name__}Item")
        items: Any = (list[item], Field(min_length=1, max_length=MAX_ITEMS))
        many = create_model(f"{command.__name__}Bulk", __config__=config, items=items)
        door = Door(
            "POST",
            path,
            stream,
            command,
            many,
            form is None,
            supply,
            open=False,
            secret=False,
            bulk=True,
            body_bytes=body_bytes(many),
        )
        self.doors.append(door)

    def put(
        self,
        path: str,
        stream: Stream[Any, Any, Any],
        command: type[Any],
        *,
        supply: Supply,
        form: type[BaseModel] | None = None,
    ) -> None:
        self._add("PUT", path, stream, command, supply, form, open_=False)

    def delete(
        self,
        path: str,
        stream: Stream[Any, Any, Any],
        command: type[Any],
        *,
        supply: Supply,
        form: type[BaseModel] | None = None,
    ) -> None:
        self._add("DELETE", path, stream, command, supply, form, open_=False)

    def open_post(
        self,
        path: str,
        stream: Stream[Any, Any, Any],
        command: type[Any],
        *,
        supply: Supply,
        form: type[BaseModel] | None = None,
        besides: type[BaseModel] | None = None,
    ) -> None:
        """A door that needs no token: sign-up, and nothing else."""
        self._add("POST", path, stream, command, supply, form, open_=True, besides=besides)

    def _add(
        self,
        method: str,
        path: str,
        stream: Stream[Any, Any, Any],
        command: type[Any],
        supply: Supply,
        form: type[BaseModel] | None,
        *,
        open_: bool,
        besides: type[BaseModel] | None = None,
        scopes: tuple[MachineScope, ...] = (),
        completes: bool = False,
    ) -> None:
        derived = form or form_of(command, path)
        secret = any(is_secret(field.annotation) for field in derived.model_fields.values())
        door = Door(
            method,
            path,
            stream,
            command,
            derived,
            form is None,
            supply,
            open_,
            secret,
            besides=besides,
            scopes=scopes,
            completes=completes,
        )
        self.doors.append(door)

    def body_bytes(self, scope: Scope) -> int:
        """How large the body of this request may be."""
        for door, route in self._large:
            if route.matches(scope)[0] is Match.FULL:
                return door.body_bytes
        return BODY_BYTES

    @cached_property
    def _large(self) -> list[tuple[Door, Route]]:
        return [
            (door, route) for door, route in zip(self.doors, self.routes(), strict=True) if door.body_bytes > BODY_BYTES
        ]

    def routes(self) -> list[Route]:
        return [Route(door.path, _endpoint(door), methods=[door.method], name=door.name) for door in self.doors]


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
    require_scope(actor, door.scopes)
    dry_run = wellformed.dry_run(request.scope["query_string"])
    _count(door, request, actor, parts.limits, dry_run=dry_run)
    raw = await request.body()
    form = read_form(door.form, raw, request.headers.get("content-type", ""))
    key = request.headers.get("idempotency-key", parts.new_id())
    if not 0 < len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        reason = f"The Idempotency-Key is empty, longer than {MAX_KEY} characters or not printable ASCII."
        raise Problem(422, rule=rules.MALFORMED, reason=reason, remedy="Use a UUID, for instance.")
    await parts.clocks.fresh(parts.db)
    call = Call(
        actor,
        read_path(request.path_params),
        form,
        parts.clocks.time_of(actor.organisation_id),
        _id_of(actor, key),
        dry_run,
        parts.new_id,
        parts.log,
        parts.db,
        parts.settings,
        parts.clocks,
        request.app.state,
    )
    if door.bulk:
        return await _pass_all(door, request, call, form, key)
    response, _ = await _decide(door, request, call, form.model_dump_json().encode() if door.secret else raw)
    return response


def _id_of(actor: Actor, key: str, item: int | None = None) -> str:
    """The id of the command that this caller's key names, or of an item of a bulk request with this key.

    No two meet: an item's has a `~` and its number before the key, and a key that begins with a `~` itself gets a
    second one. All of a caller's ids begin with the account and a colon.
    """
    named = f"~{item}:{key}" if item is not None else f"~{key}" if key.startswith("~") else key
    return derived_id(actor.account_id or "anybody", named)


def _count(door: Door, request: Request, actor: Actor, limits: Limits, *, dry_run: bool) -> None:
    """Count the request, before anything is read or done for it. Raises Problem 429."""
    if door.open:
        limits.take("dry-run" if dry_run else "sign-up", source_of(request.scope))
    else:
        limits.take("bulk" if door.bulk else "command", actor.account_id)


async def _decide(
    door: Door, request: Request, call: Call, asked: bytes, given: Mapping[str, Sequence[Event]] | None = None
) -> tuple[Response, Answer]:
    """One command's answer. `asked` makes its fingerprint; `given` is what the items before it would have changed."""
    parts = request.app.state.parts
    target = await door.supply(call)
    command = _command(door, call.body, call.path, target)
    if call.dry_run:
        before = (given or {}).get(door.stream.id(target.key), ())
        answer = await parts.log.consider(door.stream, target.key, command, before)
        return _answer(answer, dry_run=True), answer
    meta = Meta(
        call.command_id,
        call.actor.account_id or target.key,
        parts.now(),
        request.state.correlation_id,
        call.command_id,
        request.state.traceparent,
        _fingerprint(door, request, asked),
    )
    answer = await parts.log.execute(door.stream, target.key, command, meta)
    request.state.noted = _noted(door, answer)
    besides: Mapping[str, Any] = {}
    if target.besides is not None and isinstance(answer, Accepted) and answer.events and not answer.repeated:
        besides = await target.besides(answer)
    if target.completion is None or not isinstance(answer, Accepted):
        return _answer(answer, besides, dry_run=False), answer
    completion = await target.completion(request.headers.get("authorization", ""))
    response = _answer(answer, {**besides, **completion.besides}, dry_run=False)
    response.status_code = HTTPStatus.OK if completion.done else HTTPStatus.ACCEPTED
    return response, answer


def _fingerprint(door: Door, request: Request, asked: bytes) -> bytes:
    return hashlib.sha256(b"\n".join((door.method.encode(), request.url.path.encode(), asked))).digest()


async def _pass_all(door: Door, request: Request, call: Call, form: Any, key: str) -> Response:
    """Each item in order. A fault ends the request: sent again with its key, it goes on where it was."""
    items, given, headers, accepted = [], dict[str, list[Event]](), dict[str, str](), 0
    asked = [item.model_dump_json().encode() for item in form.items]
    ids = await _item_ids(door, request, call, key, asked)
    for item, command_id, raw in zip(form.items, ids, asked, strict=True):
        one = dataclasses.replace(call, body=item, command_id=command_id)
        try:
            response, answer = await _decide(door, request, one, raw, given)
        except Exception as error:
            problem = to_problem(error)
            if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            response = problem.response()
        else:
            if isinstance(answer, Accepted):
                accepted += 1
                given.setdefault(answer.stream, []).extend(event.event for event in answer.events)
                headers = {name: value for name, value in response.headers.items() if name == "tenure-version"}
        items.append({"status": response.status_code, "answer": orjson.Fragment(bytes(response.body))})
    request.state.noted = {"command": door.name, "items": len(items), "accepted": accepted}
    body = {"items": items, "accepted": accepted, "dry_run": call.dry_run}
    return Response(orjson.dumps(body), 200, headers, "application/json")


async def _item_ids(door: Door, request: Request, call: Call, key: str, asked: Sequence[bytes]) -> list[str]:
    """Each item's command id. Of a request that was answered under the ids of former versions, `<command id>:<n>`,
    these: sent again after an upgrade, it gets its first answers."""
    ids = [_id_of(call.actor, key, number) for number in range(len(asked))]
    if call.dry_run:
        return ids
    former = [f"{call.actor.account_id or 'anybody'}:{key}:{number}" for number in range(len(asked))]
    known = await call.log.store.fingerprints(former)
    return [
        old if old in known and known[old] in (None, _fingerprint(door, request, raw)) else new
        for old, new, raw in zip(former, ids, asked, strict=True)
    ]


def _noted(door: Door, answer: Answer) -> dict[str, Any]:
    """What the request's log line says about its command."""
    noted: dict[str, Any] = {"command": door.command.__name__, "stream": answer.stream, "repeated": answer.repeated}
    if isinstance(answer, Accepted):
        return noted | {"events": [event.id for event in answer.events]}
    return noted | {"rule": answer.rule}


def _command(door: Door, form: BaseModel, path: Mapping[str, str], target: Target) -> Any:
    values = dict(target.supplied)
    if door.whole:
        names = {field.name for field in dataclasses.fields(door.command)}
        values = {name: path[name] for name in path if name in names} | values
        values = {name: getattr(form, name) for name in type(form).model_fields} | values
    return door.command(**values)


def _answer(answer: Answer, besides: Mapping[str, Any] | None = None, *, dry_run: bool) -> Response:
    if not isinstance(answer, Accepted):
        return refusal(answer)
    events = [
        {"id": e.id, "type": e.event.type(), "version": e.version, "data": orjson.Fragment(e.event.data())}
        for e in answer.events
    ]
    body = {
        "stream": answer.stream,
        "version": answer.version,
        "events": events,
        "repeated": answer.repeated,
        "dry_run": dry_run,
        **(besides or {}),
    }
    headers = {} if dry_run else {"Tenure-Version": f"{answer.stream}@{answer.version}"}
    if besides:  # it may have a token
        headers["Cache-Control"] = "no-store"
    return Response(orjson.dumps(body), 200, headers, "application/json")
