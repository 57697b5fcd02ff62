"""One attempt to send an event to an address."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Literal, NamedTuple, TypeAlias

import httpx

from services.identity.webhooks.addresses import (
    Lookup,
    Network,
    NetworkAddress,
    NotAllowed,
    Target,
    Unresolved,
    look_up,
    resolved,
    target_of,
)
from shared.runtime.clients import tls

Outcome: TypeAlias = Literal["accepted", "refused", "away", "gone"]
"""What an attempt came to: the event was accepted; it was not; nothing can be sent to the address now; or for ever."""

CONNECT_S: Final = 5.0
ATTEMPT_S: Final = 15.0
"""How long an attempt may take once it is connected, whatever the address answers."""
ANSWER_BYTES: Final = 16 * 1024
"""How much of an answer's body is read, and not used; after more, the connection is closed."""
LONGEST_RETRY_AFTER_S: Final = 24 * 3600.0
AT_ONCE: Final = 4
"""How many events are sent to one address at a time."""
_HOLDS: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""The answers that concern all that is sent to an address."""


class Answer(NamedTuple):
    """What became of an attempt."""

    outcome: Outcome
    said: str
    """The status, or why there is none, for a person: nothing of the answer's text."""
    retry_after_s: float = 0.0
    """How long the address asks to be left alone."""


class Message(NamedTuple):
    """What is sent: a body and its headers."""

    headers: dict[str, str]
    body: bytes


class Receiver:
    """The client of one address. It follows no redirect and uses no proxy."""

    def __init__(
        self,
        address: str,
        allowed: Sequence[Network],
        *,
        lookup: Lookup = look_up,
        attempt_s: float = ATTEMPT_S,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Take the address, and the networks that may be sent to although they are not public.

        `context` verifies certificates, by default by the authorities of certifi.
        """
        self._address, self._allowed, self._lookup, self._attempt_s = address, allowed, lookup, attempt_s
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(attempt_s, connect=min(CONNECT_S, attempt_s)),
            limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE),
            follow_redirects=False,
            trust_env=False,
            verify=context or tls(),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def send(self, message: Message) -> Answer:
        """Send a message, to the first network address of the name that can be connected to."""
        try:
            target = target_of(self._address, self._allowed)
            addresses = await resolved(target, self._allowed, self._lookup)
        except (NotAllowed, Unresolved) as reason:
            return Answer("away", str(reason))
        answer = Answer("away", "There is no connection.")
        for address in addresses:
            answer = await self._attempt(target, address, message)
            if answer.outcome != "away" or answer.retry_after_s:
                break
        return answer

    async def _attempt(self, target: Target, address: NetworkAddress, message: Message) -> Answer:
        try:
            async with asyncio.timeout(CONNECT_S + self._attempt_s):
                return await self._post(target, address, message)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Answer("away", "There is no connection, or its certificate is not valid for the name.")
        except (TimeoutError, httpx.TimeoutException):
            return Answer("refused", f"There was no answer within {self._attempt_s:g} seconds.")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return Answer("refused", "The answer broke off, or was not HTTP.")

    async def _post(self, target: Target, address: NetworkAddress, message: Message) -> Answer:
        request = self._client.build_request(
            "POST",
            target.url_at(address),
            content=message.body,
            headers={
                **message.headers,
                "Host": target.authority,
                "Content-Type": "application/cloudevents+json; charset=utf-8",
                "User-Agent": "Tenure-Webhooks/1",
                "Accept-Encoding": "identity",
            },
            extensions={"sni_hostname": target.host},  # the name that the certificate has to be for
        )
        response = await self._client.send(request, stream=True)
        try:
            read = 0
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > ANSWER_BYTES:
                    break
        finally:
            await response.aclose()
            self._client.cookies.clear()
        return answer_of(response.status_code, response.headers.get("retry-after", ""))


def answer_of(status: int, retry_after: str) -> Answer:
    """Return what a status comes to."""
    if status in range(200, 300):
        return Answer("accepted", str(status))
    if status == HTTPStatus.GONE:
        return Answer("gone", str(status))
    wait_s = _seconds(retry_after)
    if status in _HOLDS:
        return Answer("away", str(status), wait_s)
    if status in range(300, 400):
        return Answer("refused", f"{status}: redirects are not followed", wait_s)
    return Answer("refused", str(status), wait_s)


def _seconds(retry_after: str) -> float:
    """Return the seconds of a Retry-After header, as a number or a date; 0 without a valid one."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), LONGEST_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)
