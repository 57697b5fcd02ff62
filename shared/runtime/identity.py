"""Questions to identity about people.

Only identity can answer them. It is asked as the caller.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, TypeAlias, TypeVar

import httpx
import structlog

from shared.runtime.clients import service_client
from shared.runtime.problems import Problem, unavailable

logger = structlog.get_logger(__name__)

T = TypeVar("T")
Items: TypeAlias = list[dict[str, str | None]]
ASK_S: Final = 10.0


class NoAnswer(Exception):
    """Identity gave no answer that can be read."""

    def __init__(self, fault: str, status: int | None = None) -> None:
        super().__init__(fault)
        self.status = status
        """The status of its answer, if that was not 200."""

    def problem(self, reason: str, remedy: str) -> Problem:
        """Return the answer to the request because of which identity was asked: 503."""
        logger.warning("identity can't be asked about people", fault=str(self))
        return unavailable(reason, remedy)


class IdentityRoute:
    """A route of identity that answers with `items`."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url, self._transport = url, transport
        self._client: httpx.AsyncClient | None = None

    async def ask(self, body: Mapping[str, object], authorization: str, read: Callable[[Items], T]) -> T:
        """Return what `read` makes of the answer's items.

        Args:
            body: what is asked.
            authorization: the caller's `Authorization` header.
            read: it raises ValueError, KeyError or TypeError if it can't read them.

        Raises:
            NoAnswer: identity can't be reached, refuses, or answers something else.
        """
        if self._client is None:
            self._client = service_client(ASK_S, self._transport)
        try:
            answer = await self._client.post(self._url, json=body, headers={"Authorization": authorization})
            if answer.status_code != HTTPStatus.OK:
                raise NoAnswer(f"{self._url} answers {answer.status_code}", answer.status_code)
            return read(answer.json()["items"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as fault:
            raise NoAnswer(f"{self._url}: {fault!r}"[:300]) from fault
