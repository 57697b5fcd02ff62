"""HTTP dispatch of commands: authorisation, limits, parsing, command ids and responses."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import quote

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from shared import rules
from shared.eventlog.write.conditions import ConditionFailed
from shared.eventlog.write.log import Accepted, Answer, Meta
from shared.events.base import Event
from shared.events.envelope import derived_id
from shared.runtime import refusals, wellformed
from shared.runtime.asked_once import AskedOnce
from shared.runtime.auth import Actor
from shared.runtime.conditions import etag, precondition
from shared.runtime.csv_items import BulkItem, read_items
from shared.runtime.database import Pool
from shared.runtime.forms import read_form, read_path
from shared.runtime.in_order import AT_ONCE, Place, in_order
from shared.runtime.limits import Limits, source_of
from shared.runtime.parts import Parts
from shared.runtime.people import NamesPeople, with_accounts
from shared.runtime.problems import Problem, refusal, to_problem
from shared.runtime.routes import CommandRoute, CommandRoutes, RequestContext
from shared.runtime.scopes import require_scope
from shared.runtime.sizes import BODY_BYTES

KEY_CHARACTERS: Final = 200
"""The greatest length of an Idempotency-Key."""
ANYBODY: Final = Actor(account_id="", organisation_id="", organisation_kind="customer")
"""The caller of a route that needs no token."""


def mounted(declared: CommandRoutes) -> list[Route]:
    """Return the application's routes for these commands."""
    return [Route(route.path, _endpoint(route), methods=[route.method], name=route.name) for route in declared.routes]


def limit_of(declared: CommandRoutes) -> Callable[[Scope], int]:
    """Return a function that returns the greatest size of a request's body, in bytes."""
    large = [
        (route, command.body_bytes)
        for route, command in zip(mounted(declared), declared.routes, strict=True)
        if command.body_bytes > BODY_BYTES
    ]

    def limit(scope: Scope) -> int:
        return next((size for route, size in large if route.matches(scope)[0] is Match.FULL), BODY_BYTES)

    return limit


def _endpoint(route: CommandRoute) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        request.scope["route"] = route  # for the log line and the metrics
        try:
            return await _respond(route, request)
        except Exception as error:  # noqa: BLE001  # every error becomes a problem response, and is logged
            return to_problem(error).response()

    return endpoint


async def _respond(route: CommandRoute, request: Request) -> Response:
    parts: Parts = request.app.state.parts
    actor = ANYBODY if route.open else await parts.verifier.actor(request.headers.get("authorization"))
    request.state.sandbox = parts.is_sandbox(actor.organisation_id)
    require_scope(actor, route.scopes)
    dry_run = wellformed.dry_run(request.scope["query_string"])
    _count(route, request, actor, parts.limits, dry_run=dry_run)
    raw = await request.body()
    content_type = request.headers.get("content-type", "")
    items = read_items(route.form, raw, content_type) if route.bulk else ()
    form = route.form.model_construct() if route.bulk else read_form(route.form, raw, content_type)
    key = request.headers.get("idempotency-key", parts.new_id())
    if not 0 < len(key) <= KEY_CHARACTERS or not (key.isascii() and key.isprintable()):
        reason = f"The Idempotency-Key is empty, longer than {KEY_CHARACTERS} characters or not printable ASCII."
        raise Problem(rule=rules.MALFORMED, reason=reason, remedy="Use a UUID, for instance.")
    condition = precondition(request.headers, bulk=route.bulk)
    await parts.clocks.fresh(parts.db)
    path = read_path(request.path_params, route.path_types)
    book, authorization = parts.address_book, request.headers.get("authorization", "")
    (by_account,) = await with_accounts([form], book, authorization)
    found = await with_accounts([item.asked for item in items], book, authorization)
    items = [item._replace(asked=asked) for item, asked in zip(items, found, strict=True)]
    context = RequestContext(
        asked=by_account,
        actor=actor,
        now=parts.clocks.time_of(actor.organisation_id),
        command_id=_id_of(actor, key),
        dry_run=dry_run,
        streams=parts.log.reader(),
        parts=parts,
        app=request.app.state,
        condition=condition,
        shared_db=cast("Pool", AskedOnce(parts.db)) if route.bulk else None,
    )
    if route.bulk:
        return await _respond_to_each(route, request, context, path, key, items)
    asked = _for_fingerprint(by_account) if route.secret or by_account is not form else raw
    response, _ = await _decide(route, request, context, path, asked, {})
    return response


def _id_of(actor: Actor, key: str, item: int | None = None) -> str:
    """Return the command id for a caller's key, or for an item of a bulk request with this key.

    Ids can't collide: an item's id has a `~` and its number before the key, and a key that begins with a `~` itself
    gets a second one. All of a caller's ids begin with the account and a colon.
    """
    named = f"~{item}:{key}" if item is not None else f"~{key}" if key.startswith("~") else key
    return derived_id(actor.account_id or refusals.ANYBODY, named)


def _count(route: CommandRoute, request: Request, actor: Actor, limits: Limits, *, dry_run: bool) -> None:
    """Count the request against the limits, before its body is read. Raises Problem 429."""
    if route.open:
        limits.take("dry-run" if dry_run else "sign-up", source_of(request.scope))
    else:
        limits.take("bulk" if route.bulk else "command", actor.account_id)


async def _decide(
    route: CommandRoute,
    request: Request,
    context: RequestContext[BaseModel],
    path: Mapping[str, str],
    asked: bytes,
    given: Mapping[str, Sequence[Event]],
) -> tuple[Response, Answer]:
    """Decide one command, and return its response and answer.

    Args:
        asked: the bytes for the command's fingerprint.
        given: in a dry run, the events of the items before it, by stream.
    """

    def meta(key: str) -> Meta:
        return Meta(
            context.command_id,
            context.actor.account_id or key,
            context.parts.now(),
            request.state.correlation_id,
            context.command_id,
            request.state.traceparent,
            _fingerprint(route, request, asked),
        )

    try:
        answer, addressed = await route.decide(context, path, meta, given)
    except ConditionFailed as failed:
        if context.condition is None:
            raise
        raise await context.condition.failed(context.log.store, failed) from failed
    except Problem as problem:
        if not context.dry_run:
            await _keep(route, request, context, problem)
        raise
    if context.dry_run:
        return _answer(route, answer, {}, dry_run=True), answer
    request.state.noted = _noted(route, answer)
    if not isinstance(answer, Accepted):
        return refusal(answer, context.command_id).response(), answer
    more: dict[str, object] = {}
    if addressed.extra_response is not None and answer.events and not answer.repeated:
        extra = await addressed.extra_response(answer)
        more |= {} if extra is None else extra.model_dump()
    if addressed.completion is None:
        return _answer(route, answer, more, dry_run=False), answer
    completion = await addressed.completion(request.headers.get("authorization", ""))
    response = _answer(route, answer, more | completion.extra_response.model_dump(), dry_run=False)
    response.status_code = HTTPStatus.OK if completion.done else HTTPStatus.ACCEPTED
    return response, answer


async def _keep(route: CommandRoute, request: Request, context: RequestContext[BaseModel], problem: Problem) -> None:
    """Keep the refusal of a command that its route did not let through to a decider."""
    await refusals.keep(
        context.db,
        problem,
        command_id=context.command_id,
        command=route.command.__name__,
        request=f"{route.method} {request.url.path}",
        time=context.parts.now(),
    )


def _for_fingerprint(form: BaseModel) -> bytes:
    """Return a form's bytes for its command's fingerprint, without secrets and addresses.

    A person who is named by account id has the same fingerprint, whether or not the form allows addresses.
    """
    return form.model_dump_json(exclude_none=isinstance(form, NamesPeople)).encode()


def _fingerprint(route: CommandRoute, request: Request, asked: bytes) -> bytes:
    return hashlib.sha256(b"\n".join((route.method.encode(), request.url.path.encode(), asked))).digest()


async def _respond_to_each(
    route: CommandRoute,
    request: Request,
    context: RequestContext[BaseModel],
    path: Mapping[str, str],
    key: str,
    items: Sequence[BulkItem],
) -> Response:
    """Decide each item in order.

    An item is decided on what those before it have come to, which is committed by and by. A line of a CSV file that is
    no item is answered with its problem. A server error ends the request. If it is sent again with its key, the items
    that were decided get their answers again.
    """
    answers, given, headers, accepted = [], dict[str, list[Event]](), dict[str, str](), 0
    asked = [b"" if isinstance(item, Problem) else _for_fingerprint(item) for item, _ in items]
    ids = await _item_ids(route, request, context, key, asked)

    async def decided(each: tuple[BulkItem, str, bytes], place: Place) -> Response:
        nonlocal accepted
        (item, _), command_id, raw = each
        try:
            if isinstance(item, Problem):
                raise item
            response, answer = await _decide(route, request, context.asking(item, command_id, place), path, raw, given)
        except Exception as error:
            problem = to_problem(error)
            if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return problem.response()
        if isinstance(answer, Accepted):
            accepted += 1
            given.setdefault(answer.stream, []).extend(event.event for event in answer.events)
        return response

    every = zip(items, ids, asked, strict=True)
    at_once = 1 if context.dry_run else AT_ONCE  # a dry run needs the events of the items before
    for (_, line), response in zip(items, await in_order(every, decided, at_once), strict=True):
        if response.status_code < HTTPStatus.MULTIPLE_CHOICES:
            kept = ("tenure-version", "cache-control")  # the latter if an item has a token
            headers |= {name: value for name, value in response.headers.items() if name in kept}
        numbered = {} if line is None else {"line": line}
        answers.append({**numbered, "status": response.status_code, "answer": orjson.Fragment(bytes(response.body))})
    request.state.noted = {"command": route.name, "items": len(answers), "accepted": accepted}
    body = {"items": answers, "accepted": accepted, "dry_run": context.dry_run}
    return Response(orjson.dumps(body), 200, headers, "application/json")


async def _item_ids(
    route: CommandRoute, request: Request, context: RequestContext[BaseModel], key: str, asked: Sequence[bytes]
) -> list[str]:
    """Return each item's command id.

    Former versions used the ids `<command id>:<n>`. An item that was decided under such an id keeps it, so that a
    request that is sent again after an upgrade gets its first answers.
    """
    ids = [_id_of(context.actor, key, number) for number in range(len(asked))]
    if context.dry_run:
        return ids
    former = [f"{context.actor.account_id or refusals.ANYBODY}:{key}:{number}" for number in range(len(asked))]
    known = await context.log.store.fingerprints(former)
    return [
        old if old in known and known[old] in (None, _fingerprint(route, request, raw)) else new
        for old, new, raw in zip(former, ids, asked, strict=True)
    ]


def _noted(route: CommandRoute, answer: Answer) -> dict[str, object]:
    """Return the fields about the command for the request's log line."""
    noted: dict[str, object] = {
        "command": route.command.__name__,
        "stream": answer.stream,
        "repeated": answer.repeated,
    }
    if isinstance(answer, Accepted):
        return noted | {"events": [event.id for event in answer.events]}
    return noted | {"rule": answer.rule}


def _answer(route: CommandRoute, answer: Answer, more: Mapping[str, object], *, dry_run: bool) -> Response:
    if not isinstance(answer, Accepted):
        return refusal(answer).response()
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
        **more,
    }
    headers = {} if dry_run else {"Tenure-Version": f"{answer.stream}@{answer.version}"}
    if version := answer.version - len(answer.events) * dry_run:
        headers["ETag"] = etag(answer.stream, version)  # of a dry run: the version that the command would be decided on
    if route.location and answer.events and not dry_run:
        fields = {name: quote(str(value), safe="") for name, value in answer.events[0].event}
        headers["Location"] = route.location.format_map(fields)
    if more:  # the response may contain a token
        headers["Cache-Control"] = "no-store"
    return Response(orjson.dumps(body), 200, headers, "application/json")
