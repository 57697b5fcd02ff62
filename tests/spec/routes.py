"""Given a service, when a request comes, then an answer or a problem."""

from collections.abc import Callable, Collection, Coroutine, Generator
from functools import wraps
from typing import Any, ParamSpec

import httpx

from shared.events import Event
from shared.rule_status import status_of

P = ParamSpec("P")


class PendingRequest:
    """A request that is about to be sent. Awaiting it, or one of its checks, sends it."""

    def __init__(self, send: Callable[[], Coroutine[Any, Any, httpx.Response]]) -> None:
        self._send = send

    def __await__(self) -> Generator[Any, Any, httpx.Response]:
        return self._send().__await__()

    async def then(self, *events: type[Event]) -> Any:
        """Check that the command brings exactly such events; return its answer."""
        answer = await self.then_ok()
        assert [event["type"] for event in answer["events"]] == [event.type() for event in events]
        return answer

    async def then_nothing(self) -> None:
        """Check that the command is accepted and changes nothing."""
        await self.then()

    async def then_ok(self) -> Any:
        """Check that it is answered; return the answer's body."""
        return await self.then_status(200)

    async def then_status(self, status: int) -> Any:
        """Check that the answer has this status; return its body."""
        response = await self
        assert response.status_code == status, response.text
        return response.json()

    async def then_refused(self, rule: str, *, because: Collection[str] | None = None) -> Any:
        """Check that this rule refuses it, with its status, because of these events if named; return the problem."""
        response = await self
        problem = response.json()
        assert (response.status_code, problem.get("rule")) == (status_of(rule), rule), response.text
        assert problem["type"] == f"/problems/{rule}"
        assert problem["detail"] and problem["remedy"]
        if because is not None:
            assert problem["because"] == list(because)
        return problem


def sends(send: Callable[P, Coroutine[Any, Any, httpx.Response]]) -> Callable[P, PendingRequest]:
    """Make a function that sends a request one that returns it, to be awaited or checked."""

    @wraps(send)
    def request(*args: P.args, **kwargs: P.kwargs) -> PendingRequest:
        return PendingRequest(lambda: send(*args, **kwargs))

    return request
