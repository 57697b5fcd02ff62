"""What one connection may hold, and for how long: uvicorn's protocol, bounded.

uvicorn bounds a body that nobody reads and the idle time between requests. It waits for ever for a request's head, for
the rest of a body that was answered already and for a client that does not read, and it keeps heads of any size.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from shared import rules
from shared.runtime.limits import network_of
from shared.runtime.problems import Problem

HEAD_BYTES: Final = 32 * 1024
HEADERS_AT_MOST: Final = 100
HEAD_S: Final = 10.0
BODY_S: Final = 35.0
"""How long a request's body may take at most. A route that waits for it gives up earlier, with an answer."""
UNREAD_S: Final = 30.0
"""How long a client may leave an answer unread that does not fit into the buffers."""
IDLE_S: Final = 5
PIPELINED_AT_MOST: Final = 64


@dataclass(kw_only=True)
class Connections:
    """The connections of a process: how many there are, and how many there may be."""

    at_most: int
    of_a_source: int
    trusted: Callable[[str], bool] = lambda _: False
    """Whether an address is a trusted proxy's: it brings many people."""
    refused: Callable[[str], None] = lambda _: None
    head_s: float = HEAD_S
    body_s: float = BODY_S
    unread_s: float = UNREAD_S
    open: int = 0
    by_source: Counter[str] = field(default_factory=Counter)

    def refusal(self, source: str) -> Problem | None:
        """Why there is no room for the connection that was just counted."""
        if self.open > self.at_most:
            self.refused("connections")
            return _problem(503, rules.BUSY, "This process has as many connections as it takes.", retry=True)
        if self.by_source[source] > self.of_a_source and not self.trusted(source):
            self.refused("connections-of-a-source")
            reason = f"{self.of_a_source} connections from this network address are open already."
            return _problem(429, rules.TOO_MANY_REQUESTS, reason, retry=True)
        return None


def _problem(status: int, rule: str, reason: str, *, retry: bool = False) -> Problem:
    remedy = "Send it again in a second." if retry else "Send a smaller request, and all of it at once."
    headers = {"Retry-After": "1"} if retry else {}
    return Problem(status, rule=rule, reason=reason, remedy=remedy, headers=headers)


def _head_too_large() -> Problem:
    return _problem(431, rules.HEAD_TOO_LARGE, f"A request's head has at most {HEAD_BYTES // 1024} KiB.")


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `bounded` makes the class for a process."""

    process: ClassVar[Connections]

    _source: str | None = None
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _in_head: bool = True
    _head_bytes: int = 0
    """Of the head that is not complete yet, with all that came beside it."""
    _read_bytes: int = 0
    """Of the head's address and headers, as they are read."""
    _headers: int = 0
    _wrong: Problem | None = None
    """What is wrong with the head that is being read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        source = self._source = network_of(self.client[0]) if self.client else "unknown"
        self.process.open += 1
        self.process.by_source[source] += 1
        if (problem := self.process.refusal(source)) is not None:
            self._end(problem)
            return
        self._expect(self.process.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._expect(None)
        self.resume_writing()
        if self._source is not None:
            self.process.open -= 1
            self.process.by_source -= Counter([self._source])  # which leaves out those that are at 0
            self._source = None

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._deadline is None:  # the first bytes after an answer
                self._expect(self.process.head_s)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._end(_head_too_large())

    # ── The parser's callbacks ─────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._headers = self._read_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        if b"#" in url:  # what stands behind it is dropped on the way to the application: `?dry_run=true`, for one
            self._wrong = _problem(400, rules.MALFORMED, "A request's address has no part behind a #.")
            raise ValueError("a fragment")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        if self._headers > HEADERS_AT_MOST:
            self._wrong = _problem(431, rules.HEAD_TOO_LARGE, f"A request has at most {HEADERS_AT_MOST} headers.")
            raise ValueError("too many headers")  # the parser stops, and uvicorn answers with `send_400_response`
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._expect(self.process.body_s)
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINED_AT_MOST:
            raise ValueError("too many requests before the first one's answer")

    def on_message_complete(self) -> None:
        self._in_head = True
        self._expect(None)
        super().on_message_complete()

    def _count(self, read: int) -> None:
        self._read_bytes += read
        if self._read_bytes > HEAD_BYTES:
            self._wrong = _head_too_large()
            raise ValueError("a head that is too large")

    # ── Ends ───────────────────────────────────────────────────────────────────────────────────────────

    def send_400_response(self, msg: str) -> None:
        del msg
        self._end(self._wrong or _problem(400, rules.MALFORMED, "This is no well-formed HTTP request."))

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.process.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _expect(self, seconds: float | None) -> None:
        """The rest of the head or of the body is expected within so many seconds."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        self._deadline = None
        self.process.refused("slow-requests")
        if self._in_head and self._head_bytes:
            self._end(_problem(408, rules.REQUEST_TIMEOUT, f"The request's head took longer than {HEAD_S:.0f} s."))
        else:
            self.transport.close()

    def _end(self, problem: Problem) -> None:
        """Close, with an answer where it can only be taken for that of the request that is wrong."""
        self._expect(None)
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        answering = cycle is not None and not cycle.response_complete
        if cycle is None or not answering or not (self._in_head or cycle.response_started or self.pipeline):
            response = problem.response()
            headers = [*response.raw_headers, (b"connection", b"close")]
            head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            phrase = HTTPStatus(problem.status).phrase.encode()
            self.transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (problem.status, phrase, head, bytes(response.body)))
        self.transport.close()


def bounded(connections: Connections) -> type[BoundedProtocol]:
    """The protocol of a process's connections."""

    class OfThisProcess(BoundedProtocol):
        process = connections

    return OfThisProcess


def trusting(proxies: str) -> Callable[[str], bool]:
    """Whether an address is one of these addresses and networks, separated by commas. Raises ValueError."""
    networks = [ipaddress.ip_network(each.strip()) for each in proxies.split(",") if each.strip()]

    def trusted(host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in networks)

    return trusted
