"""The middleware of every request: limits, correlation id, trace, log, metrics."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, Protocol

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import rules, trace_context
from shared.runtime import problems, wellformed
from shared.runtime.limits import Limits
from shared.runtime.metrics import Metrics
from shared.runtime.problems import Problem
from shared.runtime.sizes import BODY_BYTES
from shared.tracing import ACTIVE, Active, Span, Tracer

logger = structlog.get_logger("http")

BODY_S: Final = 10.0
LARGE_BODY_S: Final = 30.0
"""How long the body of a bulk request may take."""
SANDBOX: Final = (b"tenure-sandbox", b"true")
"""The header of every response to a caller of a sandbox."""
CLOSING: Final = {"Connection": "close"}
"""Headers of a response to a request whose rest is not read."""

_CORRELATION: Final = re.compile(r"^[!-~]{1,200}$")
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_OPERATION: Final = frozenset({"/health", "/ready", "/metrics"})
"""The routes that are asked all the time, and are neither logged nor traced."""
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
    @property
    def tracer(self) -> Tracer | None: ...


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
        span, trace = self._traced(scope, headers)
        scope.setdefault("state", {}).update(
            without_body=without_body,
            correlation_id=correlation,
            traceparent=trace,
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

        active = None if span is None or self.parts.tracer is None else ACTIVE.set(Active(self.parts.tracer, trace))
        named = {"request_id": request_id} if request_id not in ("", correlation) else {}
        bound = structlog.contextvars.bound_contextvars(correlation_id=correlation, **named)
        with bound, self.parts.limits.request() as uncount:
            try:
                await self._limited(scope, receive, answer, headers.get(b"content-length", "0"))
            finally:
                if status == HTTPStatus.SERVICE_UNAVAILABLE:
                    uncount()
                self._note(scope, status, time.perf_counter() - started)
                if span is not None:
                    _end(span, scope, status)
                if active is not None:
                    ACTIVE.reset(active)

    def _traced(self, scope: Scope, headers: Mapping[bytes, str]) -> tuple[Span | None, str]:
        """Return the span of a request, if any, and the trace context for what it leads to."""
        given = ""
        if b"traceparent" in headers:
            # The rest of a long tracestate is in further headers of that name. Source: W3C Trace Context, 3.3.1.
            states = [value.decode("latin-1") for name, value in scope["headers"] if name == b"tracestate"]
            given = trace_context.received(headers[b"traceparent"], ",".join(states))
        if self.parts.tracer is None or scope["path"] in _OPERATION:
            return None, given or trace_context.new()
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        span = self.parts.tracer.start("HTTP" if method == "_OTHER" else method, "server", given, attributes)
        return span, span.context

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
        if route in _OPERATION:
            return
        logger.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 1),
            **scope["state"].get("noted", {}),
        )


def _end(span: Span, scope: Scope, status: int) -> None:
    """End the span of a request. Source: OpenTelemetry's semantic conventions, HTTP spans."""
    route = getattr(scope.get("route"), "path", "")
    if route and scope["method"] in _METHODS:
        span.rename(f"{scope['method']} {route}")
        span.note({"http.route": route})
    span.note({"http.response.status_code": status})
    span.end(str(status) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "")


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
