"""The client of the services: one request at a time, typed, with refusals as exceptions.

A path is one of the console's own; what people enter is in bodies, or is quoted. Redirects are not followed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import httpx
import structlog
from pydantic import BaseModel, JsonValue, ValidationError

from shared import trace_context
from shared.runtime.clients import service_client
from shared.runtime.problems import ProblemDetails

logger = structlog.get_logger("doors")

READY_S: Final = 2.0
"""How long the console's own readiness waits for identity."""
PART_S: Final = 2.5
"""How long a page waits for a part that it can do without. A service may wait two seconds for its own tables."""
READ_TIMEOUT: Final = httpx.Timeout(5.0, connect=2.0)
"""What a page can't do without is an answer from tables, or of one stream as it stood."""
TIMEOUT: Final = httpx.Timeout(10.0, connect=2.0)
"""A moved clock takes the longest of all commands: it is answered when every service follows it."""
LINES_TIMEOUT: Final = httpx.Timeout(60.0, connect=2.0)
"""A file of a thousand lines is a thousand commands."""
Method = Literal["GET", "POST", "PUT", "DELETE"]
Condition: TypeAlias = Mapping[str, str]
Answer = TypeVar("Answer", bound=BaseModel)


class Refused(Exception):
    """A service refuses the request, and says by which rule and what to do."""

    def __init__(self, problem: ProblemDetails, retry_after: str = "") -> None:
        super().__init__(problem.detail)
        self.problem, self.retry_after = problem, retry_after


class SessionOver(Exception):
    """The session has ended.

    By signing out elsewhere, a new password, a lost role, the operator, or its age.
    """


class Unreachable(Exception):
    """A service does not answer, so that it is unknown whether a command was stored."""


@asynccontextmanager
async def part_of_page() -> AsyncIterator[None]:
    """Wait for a part of a page for PART_S at most, however many requests it takes.

    Raises:
        Unreachable: It takes longer.
    """
    try:
        async with asyncio.timeout(PART_S):
            yield
    except TimeoutError as late:
        logger.warning("a part of a page is left out")
        raise Unreachable("a part of a page") from late


class NoSuchId(Exception):
    """An id that nothing has, or that nothing can have; then no service is asked for it."""


class Nothing(BaseModel):
    """An answer of which nothing is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request to a service."""

    service: str
    method: Method
    path: str
    body: Mapping[str, JsonValue] | None = None
    lines: str = ""
    """A CSV file, for the routes that read one in place of a body."""
    key: str = ""
    """The Idempotency-Key of a command, which repeats with the form that it comes from."""
    condition: Condition = field(default_factory=dict)
    """If-Match or If-None-Match: on which version of its stream a command may be decided; empty for any."""
    at_least: str = ""
    """The version of a stream that the answer has to know, or "" for any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a request is made for."""

    token: str = ""
    """The person's access token, if they are signed in."""
    address: str = ""
    """The browser's network address, by which the services count attempts."""
    correlation_id: str = ""
    traceparent: str = ""
    """The trace context (`shared.trace_context`)."""


@dataclass(frozen=True, slots=True)
class Doors:
    """The services' public routes."""

    urls: Mapping[str, str]
    client: httpx.AsyncClient = field(default_factory=lambda: service_client(TIMEOUT))

    async def ask(
        self, call: Call, caller: Caller, answer: type[Answer], stored: Callable[[str], None] = lambda _: None
    ) -> Answer:
        """Send a request and return its answer.

        Args:
            stored: Gets the version of the stream that a command has reached, if it has stored anything.

        Raises:
            NoSuchId: What is asked for is longer than a URL may be.
            Refused: The service refuses the request.
            SessionOver: The service does not accept the caller's token.
            Unreachable: There is no answer, or one that can't be read.
        """
        try:
            response = await self.client.send(self._request(call, caller))
        except httpx.HTTPError as fault:
            logger.warning("no answer", to=call.service, fault=repr(fault))
            raise Unreachable(call.service) from fault
        if version := response.headers.get("tenure-version", ""):
            stored(version)
        return self._read(response, call, caller, answer)

    async def open(self, call: Call, caller: Caller) -> httpx.Response:
        """Send a request and return its answer, whose body is read by `aiter_bytes` and then closed.

        Raises:
            NoSuchId, Refused, SessionOver, Unreachable: As `ask` does.
        """
        request = self._request(call, caller)
        request.extensions["timeout"] = TIMEOUT.as_dict()  # of each part of a file, which may be long
        try:
            response = await self.client.send(request, stream=True)
            if not response.is_success:
                await response.aread()
                await response.aclose()
        except httpx.HTTPError as fault:
            logger.warning("no answer", to=call.service, fault=repr(fault))
            raise Unreachable(call.service) from fault
        if not response.is_success:
            self._read(response, call, caller, Nothing)
        return response

    def _request(self, call: Call, caller: Caller) -> httpx.Request:
        headers = _headers(call, caller)
        try:
            url = httpx.URL(self.urls[call.service] + call.path)
        except httpx.InvalidURL as fault:
            raise NoSuchId from fault
        if call.lines:
            csv = {"Content-Type": "text/csv; charset=utf-8"}
            content, all_headers = call.lines.encode(), headers | csv
            return self.client.build_request(
                call.method, url, content=content, headers=all_headers, timeout=LINES_TIMEOUT
            )
        timeout = READ_TIMEOUT if call.method == "GET" else TIMEOUT
        return self.client.build_request(call.method, url, json=call.body, headers=headers, timeout=timeout)

    def _read(self, response: httpx.Response, call: Call, caller: Caller, answer: type[Answer]) -> Answer:
        challenge = response.headers.get("www-authenticate", "")
        if response.status_code == HTTPStatus.UNAUTHORIZED and caller.token and 'error="invalid_token"' in challenge:
            raise SessionOver  # without that error, something else in the request is not accepted
        try:
            if response.is_success:
                if answer is Nothing:
                    return answer()
                return answer.model_validate_json(response.content or b"{}")
            problem = ProblemDetails.model_validate_json(response.content)
        except ValidationError as fault:
            logger.error("an answer that can't be read", to=call.service, status=response.status_code)
            raise Unreachable(call.service) from fault
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.warning("an error", to=call.service, status=response.status_code, rule=problem.rule)
        raise Refused(problem, response.headers.get("retry-after", ""))

    async def close(self) -> None:
        await self.client.aclose()


def _headers(call: Call, caller: Caller) -> dict[str, str]:
    traceparent, tracestate = trace_context.split(caller.traceparent)
    named = {
        "Authorization": f"Bearer {caller.token}" if caller.token else "",
        "Idempotency-Key": call.key,
        **call.condition,
        "Tenure-At-Least": call.at_least,
        "X-Forwarded-For": caller.address,
        "X-Correlation-ID": caller.correlation_id,
        "traceparent": traceparent,
        "tracestate": tracestate,
    }
    return {name: value for name, value in named.items() if value}


def path(template: str, query: Mapping[str, str] | None = None, /, **ids: str) -> str:
    """Return a path with ids in the places that its template names, quoted, and a query.

    Raises:
        NoSuchId: An id is a segment that leads to another path: it is empty, a dot, or two.
    """
    if any(value in ("", ".", "..") for value in ids.values()):
        raise NoSuchId
    made = template.format(**{name: quote(value, safe="") for name, value in ids.items()})
    return f"{made}?{urlencode(query)}" if query else made
