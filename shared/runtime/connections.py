"""Bounds for HTTP connections: sizes, durations and numbers, on top of uvicorn's protocol.

uvicorn bounds a body that the application does not read, and the idle time between requests. It waits without limit for
a request's head, for the rest of a body after the response, and for a client that does not read, and it accepts heads
of any size.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from shared import rules
from shared.runtime.limits import network_of
from shared.runtime.problems import Problem

HEAD_BYTES: Final = 32 * 1024
HEADERS_AT_MOST: Final = 100
HEAD_S: Final = 10.0
BODY_S: Final = 35.0
"""How long a request's body may take at most. A route that waits for it ends earlier, with a response."""
UNREAD_S: Final = 30.0
"""How long a client may leave a response unread that does not fit into the buffers."""
IDLE_S: Final = 5
PIPELINED_AT_MOST: Final = 64


@dataclass(kw_only=True)
class Connections:
    """The number of a process's connections, and their bounds."""

    at_most: int
    of_a_source: int
    trusted: Callable[[str], bool] = lambda _: False
    """Whether an address is a trusted proxy's, which may have more connections: it serves many people."""
    refused: Callable[[str], None] = lambda _: None
    """Called with the name of a bound that refused or ended a connection."""
    head_s: float = HEAD_S
    body_s: float = BODY_S
    unread_s: float = UNREAD_S
    open: int = 0
    by_source: Counter[str] = field(default_factory=Counter)

    def refusal(self, source: str) -> Problem | None:
        """Return why the connection that was just counted is refused, or None."""
        if self.open > self.at_most:
            self.refused("connections")
            return _problem(rules.BUSY, "This process has as many connections as it accepts.", retry=True)
        if self.by_source[source] > self.of_a_source and not self.trusted(source):
            self.refused("connections-of-a-source")
            reason = f"{self.of_a_source} connections from this network address are already open."
            return _problem(rules.TOO_MANY_REQUESTS, reason, retry=True)
        return None


def _problem(rule: str, reason: str, *, retry: bool = False) -> Problem:
    remedy = "Send it again in a second." if retry else "Send a smaller request, and all of it at once."
    headers = {"Retry-After": "1"} if retry else {}
    return Problem(rule=rule, reason=reason, remedy=remedy, headers=headers)


def _head_too_large() -> Problem:
    return _problem(rules.HEAD_TOO_LARGE, f"A request's head has at most {HEAD_BYTES // 1024} KiB.")


class BoundedProtocol(HttpToolsProtocol):
    """One bounded connection. `bounded` makes the class for a process."""

    process: ClassVar[Connections]

    _source: str | None = None
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _in_head: bool = True
    _head_bytes: int = 0
    """The bytes received while the head is incomplete, including anything received with it."""
    _read_bytes: int = 0
    """The bytes of the head's URL and headers that the parser has read."""
    _headers: int = 0
    _problem: Problem | None = None
    """The problem in the head that is being read, if there is one."""

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
            self.process.by_source -= Counter([self._source])  # `-=` also removes entries that reach 0
            self._source = None

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._deadline is None:  # the first bytes after a response
                self._expect(self.process.head_s)
        self._feed(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._end(_head_too_large())

    def _feed(self, data: bytes) -> None:
        """Parse what was received, and ignore offers of another protocol.

        A client may offer h2c (RFC 9110, 7.8). The parser takes a request with such an offer as complete after its
        head, and its body for the next request. So another parser reads it, whose head is without the offer.
        """
        self._unset_keepalive_if_required()
        try:
            while data:
                data = self._parse(data)
        except HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")

    def _parse(self, data: bytes) -> bytes:
        """Parse data; return what another parser has to read."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            if self.parser.get_method() == b"CONNECT":
                raise HttpParserError("CONNECT") from offer
            rest = self._head_without_offer() + data[offer.args[0] :]
            self.parser = HttpRequestParser(self)
            return rest
        return b""

    def _head_without_offer(self) -> bytes:
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [name + b": " + value for name, value in self.headers if name not in (b"upgrade", b"http2-settings")]
        return b"\r\n".join([*lines, b"", b""])

    # ── The parser's callbacks ─────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._headers = self._read_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        if b"#" in url:  # the parser drops what follows the #, which could be `?dry_run=true`
            self._problem = _problem(rules.MALFORMED_HTTP, "A request's URL can't have a fragment (a part after #).")
            raise ValueError("a fragment")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        if self._headers > HEADERS_AT_MOST:
            self._problem = _problem(rules.HEAD_TOO_LARGE, f"A request has at most {HEADERS_AT_MOST} headers.")
            raise ValueError("too many headers")  # stops the parser; uvicorn then calls `send_400_response`
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # `_feed` goes on
        self._in_head, self._head_bytes = False, 0
        self._expect(self.process.body_s)
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINED_AT_MOST:
            raise ValueError("too many pipelined requests")

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_head = True
        self._expect(None)
        super().on_message_complete()

    def _count(self, read: int) -> None:
        self._read_bytes += read
        if self._read_bytes > HEAD_BYTES:
            self._problem = _head_too_large()
            raise ValueError("a head that is too large")

    # ── Ends ───────────────────────────────────────────────────────────────────────────────────────────

    def send_400_response(self, msg: str) -> None:
        del msg
        self._end(self._problem or _problem(rules.MALFORMED_HTTP, "This is not a well-formed HTTP request."))

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
        """Set the deadline for the rest of the head or of the body; None for no deadline."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        self._deadline = None
        self.process.refused("slow-requests")
        if self._in_head and self._head_bytes:
            self._end(_problem(rules.REQUEST_TIMEOUT, f"The request's head took longer than {HEAD_S:.0f} s."))
        else:
            self.transport.close()

    def _end(self, problem: Problem) -> None:
        """Close the connection.

        The problem is sent only if the client can't take it for the response to another request.
        """
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
    """Return the protocol class for a process's connections."""

    class OfThisProcess(BoundedProtocol):
        process = connections

    return OfThisProcess


def trusting(proxies: str) -> Callable[[str], bool]:
    """Return a function that tells whether an address is in a comma-separated list of networks.

    Raises ValueError if the list is malformed.
    """
    networks = [ipaddress.ip_network(network.strip()) for network in proxies.split(",") if network.strip()]

    def trusted(host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in networks)

    return trusted
