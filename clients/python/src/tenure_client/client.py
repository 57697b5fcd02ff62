"""The client."""

import os
import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from tenure_client.answers import Options, Outcome, Received, Sent, Unavailable, refused
from tenure_client.commands import Commands
from tenure_client.credentials import Credentials
from tenure_client.stream import read_stream, received

_AGAIN = frozenset((429, 502, 503, 504))
"""The statuses after which the same request is sent again."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
_SILENT_S = 45.0
"""How long a stream may be silent before the connection counts as lost; the server says something every 15 s."""


def _from_environment(service: str, port: int) -> str:
    return os.environ.get(f"TENURE_{service.upper()}_URL") or f"http://127.0.0.1:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the system is: by default where `TENURE_<SERVICE>_URL` says, else on this machine."""

    identity: str = field(default_factory=lambda: _from_environment("identity", 8101))
    marketplace: str = field(default_factory=lambda: _from_environment("marketplace", 8102))
    entitlements: str = field(default_factory=lambda: _from_environment("entitlements", 8103))
    distribution: str = field(default_factory=lambda: _from_environment("distribution", 8104))
    console: str = field(default_factory=lambda: _from_environment("console", 8100))

    def of(self, service: str) -> str:
        found: str = getattr(self, service)
        return found.rstrip("/")


class Tenure:
    """A client, which several threads may share."""

    def __init__(
        self,
        credentials: Credentials,
        addresses: Addresses | None = None,
        *,
        patience_s: float = 60,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Create it. It connects when it is first used.

        Args:
            transport: Another way to send requests, such as through a proxy.
            patience_s: How long a request is sent again while Tenure can't be reached or has too much to do.
        """
        self.addresses = addresses or Addresses()
        self._credentials, self._patience_s = credentials, patience_s
        self._http = httpx.Client(timeout=httpx.Timeout(45, connect=5), transport=transport)
        self.commands = Commands(self._command)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # ── Commands and queries ───────────────────────────────────────────────────────────────────────────

    def query(self, service: str, path: str, at_least: str = "", **parameters: str | int | Sequence[str]) -> Any:
        """Return a query's answer.

        Args:
            at_least: `<stream>@<version>` of a command's answer: the answer has at least that.

        Raises:
            Refused: The query was refused.
            Unavailable: It was not answered.
        """
        headers = {"Tenure-At-Least": at_least} if at_least else {}
        return self._ask(service, "GET", path, params=parameters, headers=headers).json()

    def _command(
        self, service: str, method: str, path: Sequence[str], body: Mapping[str, Any] | None, options: Options | None
    ) -> Any:
        asked = options or Options()
        headers = {"Idempotency-Key": asked.key or str(uuid.uuid4())}
        if asked.if_match:
            headers["If-Match"] = asked.if_match
        sent = None if body is None else {name: value for name, value in body.items() if value is not None}
        parameters = {"dry_run": "true"} if asked.dry_run else {}
        at = "".join(f"/{quote(part, safe='')}" for part in path)
        return self._ask(service, method, at, json=sent, params=parameters, headers=headers).json()

    def _ask(self, service: str, method: str, path: str, **sent: Any) -> httpx.Response:
        """Send a request until it is answered.

        It is the same each time, with the same Idempotency-Key.
        """
        until, pause, renew = time.monotonic() + self._patience_s, _FIRST_PAUSE_S, False
        while True:
            try:
                answer = self._once(service, method, path, renew, sent)
            except httpx.HTTPError as fault:
                why, wait = f"{type(fault).__name__}: {fault}", pause
            else:
                if answer.is_success:
                    return answer
                if answer.status_code == 401 and not renew:
                    renew = True
                    continue
                if answer.status_code not in _AGAIN:
                    raise refused(answer)
                why, wait = str(refused(answer)), max(pause, _retry_after(answer))
            wait = _spread(wait)
            if time.monotonic() + wait > until:
                raise Unavailable(f"{method} {service} {path}: {why}")
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _once(self, service: str, method: str, path: str, renew: bool, sent: Mapping[str, Any]) -> httpx.Response:
        authorization = {"Authorization": f"Bearer {self._token(renew)}"}
        headers = {**authorization, **sent.get("headers", {})}
        return self._http.request(method, self.addresses.of(service) + path, **{**sent, "headers": headers})

    def _token(self, renew: bool = False) -> str:
        return self._credentials.token(self._http, self.addresses.of("identity"), renew=renew)

    # ── Events out ─────────────────────────────────────────────────────────────────────────────────────

    def subscribe(
        self,
        topic: str,
        after: int | None = None,
        *,
        types: Sequence[str] = (),
        streams: Sequence[str] = (),
        tenants: Sequence[str] = (),
    ) -> Iterator[Received]:
        """Yield a topic's events as they are published, each once and in order, for ever.

        A lost connection is made again, and goes on after the last event. Keep `position` of the last event that you
        have dealt with, and begin `after` it next time.

        Args:
            after: The position after which to begin; None for the next event.

        Raises:
            HistoryGone: The events after `after` are not kept any more.
            Refused: The topic may not be read, or there is none.
        """
        wanted = {"type": list(types), "stream": list(streams), "tenant": list(tenants)}
        position, renew, pause = after, False, _FIRST_PAUSE_S
        while True:
            parameters: dict[str, Any] = {**wanted, **({} if position is None else {"after": position})}
            try:
                headers = {"Authorization": f"Bearer {self._token(renew)}", "Accept": "text/event-stream"}
                url = f"{self.addresses.of('console')}/live/{quote(topic, safe='')}"
                timeout = httpx.Timeout(_SILENT_S, connect=5)
                with self._http.stream("GET", url, params=parameters, headers=headers, timeout=timeout) as answer:
                    if answer.is_success:
                        renew = False
                        for at, event in read_stream(answer.iter_lines()):
                            pause = _FIRST_PAUSE_S
                            if event is not None and (position is None or at > position):
                                yield event
                            position = at if position is None else max(position, at)
                    elif answer.status_code == 401 and not renew:
                        renew = True
                        continue
                    elif answer.status_code not in _AGAIN:
                        answer.read()
                        raise refused(answer)
                    else:
                        pause = max(pause, _retry_after(answer))
            except httpx.HTTPError:
                pass
            time.sleep(_spread(pause))
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def read(self, topic: str, after: int = 0, *, types: Sequence[str] = ()) -> Iterator[Received]:
        """Yield the events that a topic has after a position, and end with the newest one.

        Raises:
            Refused: 410 if the events after it are not kept any more; the topic may not be read, or there is none.
            Unavailable: It was not answered.
        """
        while True:
            asked: dict[str, Any] = {"after": after, "limit": 1000, "type": list(types)}
            page = self._ask("console", "GET", f"/feed/{quote(topic, safe='')}", params=asked).json()
            for item in page["items"]:
                yield received(item)
            if page["position"] <= after:
                return
            after = page["position"]

    # ── Events in ──────────────────────────────────────────────────────────────────────────────────────

    def emit(self, source: str, type: str, data: Mapping[str, Any], *, id: str = "") -> Sent:
        """Send a publisher's event, and return once it is kept.

        Sent again with the same id, it has one effect.

        Raises:
            Refused: It may not be on the publisher's topic.
            Unavailable: It is not known whether it is kept; send it again with the same id.
        """
        event = {"specversion": "1.0", "id": id or str(uuid.uuid4()), "source": source, "type": type, "data": data}
        headers = {"Content-Type": "application/cloudevents+json"}
        answer = self._ask("console", "POST", "/events", json=event, headers=headers).json()
        return Sent(source=answer["source"], id=answer["id"], location=answer["location"])

    def outcomes(self, sent: Sent, *, wait_s: int = 30) -> list[Outcome]:
        """Return what became of an event, the newest outcome first; wait for the first one.

        Raises:
            Refused: 404 if there is none after `wait_s`.
        """
        answer = self._ask("console", "GET", sent.location, params={"wait": wait_s}).json()
        return [
            Outcome(status=each["status"], rule=each.get("rule") or "", reason=each.get("reason") or "", answer=each)
            for each in answer["outcomes"]
        ]


def _spread(pause_s: float) -> float:
    """Return a pause that differs from other clients', so that not all come back at once."""
    return pause_s * random.uniform(1, 1.5)  # noqa: S311  # no secret


def _retry_after(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), _LONGEST_PAUSE_S) if text.isdigit() else 0.0
