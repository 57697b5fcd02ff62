"""Refusals and errors as HTTP responses: problem details with a rule, a reason and a remedy.

Source: RFC 9457.
"""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from shared import rules
from shared.eventlog.decision import Rejected
from shared.eventlog.write.log import KeyReused, Refused
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Unavailable
from shared.eventlog.write.storing import EventTooLarge
from shared.events.base import NewerRow
from shared.events.envelope import BadName
from shared.events.upcasts import NewerEvent
from shared.rule_status import Rule, status_of

logger = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
TYPE: Final = "/problems/{rule}"
"""What a problem's `type` is: the path of the page about its rule, at the service that refused. See `rule_pages.py`."""
BEARER: Final = "Bearer"
"""The challenge that every 401 has at least. Source: RFC 9110, section 15.5.2."""


class ProblemDetails(BaseModel):
    """The body of every refusal and error. Source: RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    rule: str | None = None
    remedy: str | None = None
    because: list[str] = []
    fields: list[dict[str, str]] = []
    command_id: str | None = None
    """The id by which a stored refusal can be looked up (GET /refusals/{command_id})."""


class Problem(Exception):
    """A refusal or an error that becomes a problem response, with the status of its rule."""

    def __init__(
        self,
        *,
        rule: str,
        reason: str,
        remedy: str = "",
        because: Sequence[str] = (),
        fields: Sequence[dict[str, str]] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.rule, self.reason, self.remedy = rule, reason, remedy
        self.because, self.fields, self.headers = list(because), list(fields), dict(headers or {})
        if self.status == HTTPStatus.UNAUTHORIZED:
            self.headers.setdefault("WWW-Authenticate", BEARER)
        self.command_id = ""

    @property
    def status(self) -> int:
        return status_of(self.rule)

    def response(self) -> Response:
        body: dict[str, Any] = {
            "type": TYPE.format(rule=self.rule),
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.reason,
            "rule": self.rule,
            "remedy": self.remedy,
            "because": self.because,
        }
        if self.fields:
            body["fields"] = self.fields
        if self.command_id:
            body["command_id"] = self.command_id
        return Response(orjson.dumps(body), self.status, self.headers, MEDIA_TYPE)


def unknown(what: str, remedy: str = "Check the id, and that you are signed in for the right organisation.") -> Problem:
    """Return Problem 404, the same for what does not exist and what the caller may not see."""
    return Problem(rule=rules.UNKNOWN, reason=f"There is no {what} that you may see.", remedy=remedy)


def busy(reason: str) -> Problem:
    """Return Problem 503 for a request that was not started because of too much load."""
    return Problem(rule=rules.BUSY, reason=reason, remedy="Send it again in a second.", headers={"Retry-After": "1"})


def rejected(refused: Rejected) -> Problem:
    """Return a rule's refusal by a route or a query, in the decider's words."""
    because = [event.ref for event in refused.because]
    return Problem(rule=refused.rule, reason=refused.reason, remedy=refused.remedy, because=because)


def refusal(refused: Refused, command_id: str = "") -> Problem:
    """Return a decider's refusal, as the log has answered with it.

    Args:
        command_id: the command's id, if the refusal is stored under it.
    """
    problem = Problem(rule=refused.rule, reason=refused.reason, remedy=refused.remedy, because=refused.because)
    problem.command_id = command_id
    return problem


def malformed(error: ValidationError | RequestValidationError, parameter: str = "body") -> Problem:
    """Return Problem 422 that names each invalid field, without repeating its value.

    Args:
        parameter: the name for an error that concerns the whole value.
    """
    fields = [
        {"field": ".".join(str(part) for part in detail["loc"]) or parameter, "error": detail["msg"]}
        for detail in error.errors()
    ]
    named = "; ".join(f"{f['field']}: {f['error'].removesuffix('.')}" for f in fields[:5])
    return Problem(
        rule=rules.MALFORMED,
        reason=f"The request is not well formed: {named}.",
        remedy="Correct these fields and send it again.",
        fields=fields,
    )


def unavailable(reason: str, remedy: str = "Try again in a moment.", again_s: int = 2) -> Problem:
    """Return Problem 503 for what this process depends on and can't reach now.

    Args:
        again_s: After how many seconds the request may succeed.
    """
    return Problem(rule=rules.UNAVAILABLE, reason=reason, remedy=remedy, headers={"Retry-After": str(again_s)})


def phrase_rule(status: HTTPStatus) -> Rule:
    """Return the rule of an error that only HTTP knows, such as `method-not-allowed`."""
    return Rule(status.phrase.lower().replace(" ", "-"), status)


def _unavailable(error: Exception) -> Problem:
    logger.warning("the database is unavailable", fault=repr(error))
    return unavailable(
        "The service can't reach its database now; it is unknown whether the command was stored.",
        "Send it again with the same Idempotency-Key.",
    )


def to_problem(error: Exception) -> Problem:
    """Convert any exception to the problem that a caller may see."""
    match error:
        case Problem():
            return error
        case ValidationError() | RequestValidationError():
            return malformed(error)
        case BadName():
            return Problem(rule=rules.MALFORMED, reason=f"{error}.", remedy="Check the id in the path.")
        case KeyReused():
            reason = "This Idempotency-Key was used before for another request."
            return Problem(rule=rules.IDEMPOTENCY_KEY_REUSED, reason=reason, remedy="Use a new key for a new request.")
        case EventTooLarge():
            reason = f"The request would make an event that is too large: {error}."
            return Problem(rule=rules.TOO_LARGE, reason=reason, remedy="Ask for less in one request.")
        case Conflict():
            return busy("Too many concurrent changes; nothing was done.")
        case NewerEvent() | NewerRow():
            logger.error("what is stored is newer than this process", fault=str(error))
            return Problem(
                rule=rules.NEWER_EVENT,
                reason=f"This process is older than what it has to read: {error}.",
                remedy="Upgrade the process. Upgraded processes of the service can answer meanwhile.",
                headers={"Retry-After": "30"},
            )
        case _ if isinstance(error, (Unavailable, *TRANSIENT)):
            return _unavailable(error)
        case HTTPException(__cause__=Problem() as problem):
            return problem  # raised while the body was read
        case HTTPException(status_code=HTTPStatus.BAD_REQUEST, __cause__=RecursionError() | ValueError()):
            return Problem(
                rule=rules.MALFORMED,
                reason="The request is not well formed: its body can't be read.",
                remedy="Send the body as JSON.",
            )
        case HTTPException(status_code=status, detail=detail):
            return Problem(
                rule=phrase_rule(HTTPStatus(status)),
                reason=f"{detail or HTTPStatus(status).phrase}.",
                headers=dict(error.headers or {}),
            )
        case _:
            logger.error("request failed", exc_info=error)
            remedy = "Tell the operator the X-Correlation-ID of this answer."
            return Problem(rule=rules.INTERNAL_ERROR, reason="The service has an internal error.", remedy=remedy)


def _methods(request: Request) -> Iterator[str]:
    """Yield the methods of the path that the request names most exactly.

    `/accounts/by-address` is a path of its own, though `/accounts/{account_id}` matches it, too.
    """
    routes = (context.original_route for context in iter_route_contexts(request.app.routes))
    matching = [
        route for route in routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    fewest = min((len(route.param_convertors) for route in matching), default=0)
    for route in matching:
        if len(route.param_convertors) == fewest:
            methods = route.methods or set()
            yield from methods | ({"HEAD"} if "GET" in methods else set())


def install(app: FastAPI) -> None:
    """Make every error of the application a problem response."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = to_problem(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            problem.headers["Allow"] = ", ".join(sorted(_methods(request)))
        return problem.response()

    for kind in (
        Problem,
        RequestValidationError,
        ValidationError,
        HTTPException,
        KeyReused,
        EventTooLarge,
        BadName,
        Conflict,
        Unavailable,
        NewerEvent,
        NewerRow,
    ):
        app.add_exception_handler(kind, answer)
