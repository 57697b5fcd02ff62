"""The page for a request that no page reads, such as one that is too large."""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from services.console.doors import Refused
from services.console.visits import Visit
from shared.runtime.problems import Problem, ProblemDetails

DRAINED: Final = 32 * 1024 * 1024
"""How much of a request is read and dropped: a browser shows no answer while it can't send all."""
DRAIN_S: Final = 10.0
DOORS: Final = ("/live/", "/feed/", "/events", "/problems")
"""The paths that programs ask, which read problems."""


async def refused(scope: Scope, receive: Receive, problem: Problem) -> Response:
    """Return the page that says what was refused, or the problem where programs ask."""
    if scope["path"].startswith(DOORS):
        return problem.response()
    await _drain(receive)
    # As a GET, so that its form is not read.
    visit = await Visit.of(Request({**scope, "method": "GET"}))
    said = ProblemDetails.model_validate_json(bytes(problem.response().body))
    visit.form.refuse(Refused(said), visit.texts)
    response = visit.page("refused.html", problem.status)
    response.headers.update(problem.headers)
    return visit.finish(response)


async def _drain(receive: Receive) -> None:
    size, more = 0, True
    try:
        async with asyncio.timeout(DRAIN_S):
            while more and size <= DRAINED:
                message = await receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError:
        return
