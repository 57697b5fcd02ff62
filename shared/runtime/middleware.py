"""The middleware of every request: limits, correlation id, trace, log, metrics."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from secrets import token_hex
from typing import Final, Protocol

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import rules
from shared.runtime import problems, wellformed
from shared.runtime.limits import Limits
from shared.runtime.metrics import Metrics
from shared.runtime.problems import Problem
from shared.runtime.sizes import BODY_BYTES

logger = structlog.get_logger("http")

BODY_S: Final = 10.0
LARGE_BODY_S: Final = 30.0
"""How long the body of a bulk request may take."""
SANDBOX: Final = (b"tenure-sandbox", b"true")
"""The header of every response to a caller of a sandbox."""
CLOSING: Final = {"Connection": "close"}
"""Headers of a response to a request whose rest is not read."""

_TRACEPARENT: Final = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
_CORRELATION: Final = re.compile(r"^[!-~]{1,200}$")
_PAGES: Final = frozenset({"/docs", "/openapi.json"})
"""The framework's own routes, which have no parameters."""


class RequestParts(Protocol):
    """The parts of a process that the middleware of its requests uses."""

    @property
    def metrics(self) -> Metrics: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def new_id(self) -> Callable[[], str]: ...


async def _as_problem(_: Scope, __: Receive, problem: Problem) -> Response:
    return problem.response()


class Requests:
    """Middleware of every request: size and time limits, correlation id, trace, log, metrics."""

    def __init__(
        self,
        app: ASGIApp,
        parts: RequestParts,
        limit_of: Callable[[Scope], int],
        refuse: Callable[[Scope, Receive, Problem], Awaitable[Response]] = _as_problem,
    ) -> None:
        """Make the middleware.

        Args:
            limit_of: the greatest size of a request in bytes.
            refuse: makes the response to a request that is refused here.
        """
        self.app, self.parts, self._limit_of, self._refuse = app, parts, limit_of, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        without_body = scope["method"] == "HEAD"
        if without_body:  # answered as GET is, by the same route; source: RFC 9110, section 9.3.2
            scope = {**scope, "method": "GET"}
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        request_id, given = (_valid(headers.get(name, "")) for name in (b"x-request-id", b"x-correlation-id"))
        correlation = given or request_id or self.parts.new_id()
        trace = headers.get(b"traceparent", "")
        scope.setdefault("state", {}).update(
            without_body=without_body,
            correlation_id=correlation,
            traceparent=trace if _TRACEPARENT.match(trace) else f"00-{token_hex(16)}-{token_hex(8)}-01",
        )
        started, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                ids = ((b"x-correlation-id", correlation), (b"x-request-id", request_id or correlation))
                message["headers"] = [*message["headers"], *((name, value.encode()) for name, value in ids)]
                if scope["state"].get("sandbox"):
                    message["headers"].append(SANDBOX)
            elif without_body:
                message = {**message, "body": b""}
            await send(message)

        named = {"request_id": request_id} if request_id not in ("", correlation) else {}
        bound = structlog.contextvars.bound_contextvars(correlation_id=correlation, **named)
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
                # After the body there is no deadline: the only message left is that the client has disconnected.
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
            await (await self._refuse(scope, receive, _too_large(limit)))(scope, receive, send)
            return
        try:
            wellformed.check_headers(scope["headers"])
            if scope["path"] in _PAGES:
                wellformed.NO_PARAMETERS.read(scope["query_string"])
            await self.app(scope, counted, send)
        except Problem as problem:
            await (await self._refuse(scope, receive, problem))(scope, receive, send)
        except Exception as error:  # noqa: BLE001  # the last resort: a response without internal details
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


def _valid(given: str) -> str:
    """Return an id that a request names, "" if it is malformed."""
    return given if _CORRELATION.match(given) else ""


def _too_slow() -> Problem:
    return Problem(
        rule=rules.REQUEST_TIMEOUT,
        reason="The request's body did not arrive in time.",
        remedy="Send it again, all of it at once.",
        headers=CLOSING,
    )


def _too_large(limit: int) -> Problem:
    return Problem(
        rule=rules.TOO_LARGE,
        reason=f"A request to this route has at most {limit // 1024} KiB.",
        remedy="Send a smaller request.",
        headers=CLOSING,
    )
