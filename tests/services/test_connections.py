"""Slow and oversized requests, over raw sockets at the server that a process runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from shared.runtime import middleware
from shared.runtime.auth import TokenVerifier
from shared.runtime.connections import HEAD_BYTES, HEADERS_AT_MOST
from shared.runtime.http import make_app
from shared.runtime.limits import source_of
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.routes import CommandRoutes
from shared.runtime.server import Server
from shared.runtime.settings import Settings
from tests.examples.engine import new_id
from tests.services.tokens import NothingEnded

SOON_S = 0.3
"""What the bounds in time are set to here."""
QUERIES = APIRouter()


class Form(BaseModel):
    text: str


@QUERIES.post("/echo")
async def echo(form: Form) -> str:
    return form.text


@QUERIES.get("/source")
async def source(request: Request) -> str:
    return source_of(request.scope)


@QUERIES.get("/large")
async def large() -> Response:
    return Response(b"x" * 50_000_000)


async def _no_keys() -> Any:
    return {"keys": []}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def rule(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        rule: str = json.loads(self.body)["rule"]
        return rule


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with suppress(ConnectionError):
            await self.writer.drain()

    async def trickle(self, data: bytes) -> Answer:
        """Send one byte at a time until the answer comes."""
        answering = asyncio.create_task(self.answer())
        for number in range(len(data)):
            await self.send(data[number : number + 1])
            done, _ = await asyncio.wait([answering], timeout=SOON_S / 10)
            if done:
                break
        return await answering

    async def answer(self) -> Answer:
        async with asyncio.timeout(20):
            try:
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            except ConnectionError as reset:  # closed, too: with bytes of ours on their way that nobody read
                raise asyncio.IncompleteReadError(b"", None) from reset
            pairs = (line.partition(": ") for line in head[1:] if line)
            headers = {name.lower(): value for name, _, value in pairs}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(head[0].split()[1]), headers, body)

    async def closed(self) -> bytes:
        """What comes until the server closes the connection."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read(1 << 26)
            except ConnectionError:
                return b""


class Served:
    """A server on a free port, with bounds in time that a test can wait for."""

    def __init__(self, server: Server, metrics: Metrics) -> None:
        self.server, self.metrics = server, metrics
        bounds = server.connections
        bounds.head_s, bounds.body_s, bounds.unread_s = SOON_S, 2 * SOON_S, SOON_S
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        self.clients.append(client)
        return client

    async def ask(self, request: bytes) -> Answer:
        client = await self.connect()
        await client.send(request)
        return await client.answer()

    def refused(self, what: str) -> float:
        labels = {"limit": what, "service_name": "test"}
        return self.metrics.registry.get_sample_value("tenure_requests_limited_total", labels) or 0.0


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Served]:
    chosen, metrics = Settings(**settings), Metrics("test")
    parts = Parts(
        service="test",
        settings=chosen,
        metrics=metrics,
        verifier=TokenVerifier(_no_keys, NothingEnded()),
        new_id=new_id,
    )
    server = Server(make_app(parts, CommandRoutes(), QUERIES, api=True), chosen, 0, metrics.limited)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    served = Served(server, metrics)
    yield served
    for client in served.clients:
        client.writer.close()
    server.stop()
    await serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with running() as made:
        yield made


def post(path: str, body: bytes, *more: str, announced: int | None = None) -> bytes:
    length = len(body) if announced is None else announced
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {length}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


BODY = b'{"text": "good"}'
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_good_request_is_answered_and_its_connection_takes_the_next(served: Served) -> None:
    client = await served.connect()
    for _ in range(3):
        await client.send(post("/echo", BODY))
        assert (await client.answer()).body == b'"good"'


async def test_a_head_that_trickles_in_is_408(served: Served) -> None:
    client = await served.connect()
    answer = await client.trickle(b"GET /health HTTP/1.1\r\nX-Slow: " + b"x" * 200)
    assert (answer.status, answer.rule, answer.headers["connection"]) == (408, "request-timeout", "close")
    assert await client.closed() == b""
    assert served.refused("slow-requests") == 1


async def test_the_time_for_a_head_begins_anew_with_each_request(served: Served) -> None:
    client = await served.connect()
    await client.send(HEALTH)
    assert (await client.answer()).status == 200
    answer = await client.trickle(b"\r\n" * 100 + b"GET /health HTTP/1.1\r\n")
    assert answer.status == 408, "line ends between requests count, too"


async def test_a_connection_that_says_nothing_is_closed(served: Served) -> None:
    assert await (await served.connect()).closed() == b""


async def test_an_idle_connection_is_closed(served: Served) -> None:
    served.server.config.timeout_keep_alive = 1
    client = await served.connect()
    await client.send(HEALTH)
    assert (await client.answer()).status == 200
    assert await client.closed() == b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nX-Large: " + b"x" * (1 << 20),
        b"GET /health HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        b"GET /health?" + b"x" * (1 << 20) + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"X" * (1 << 20) + b": y\r\n\r\n",
        b"\r\n" * (1 << 19),
    ],
    ids=["a large header", "many headers", "a long address", "a long name", "nothing but line ends"],
)
async def test_a_head_that_is_too_large_is_431(served: Served, head: bytes) -> None:
    client = await served.connect()
    sending = asyncio.create_task(client.send(head))
    answer = await client.answer()
    assert (answer.status, answer.rule, answer.headers["connection"]) == (431, "head-too-large", "close")
    assert json.loads(answer.body)["remedy"]
    await client.closed()
    client.writer.transport.abort()
    await sending


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
        b"GET /health?" + b"x" * HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 34 + b"\r\n",
    ],
    ids=["a header", "an address", "headers"],
)
async def test_a_head_that_comes_whole_is_measured_too(served: Served, head: bytes) -> None:
    answer = await served.ask(head)
    assert (answer.status, answer.rule, answer.headers["connection"]) == (431, "head-too-large", "close")


@pytest.mark.parametrize("target", [b"/source#x", b"/source?#dry_run=true", b"/source#?dry_run=true", b"/#"])
async def test_an_address_with_a_fragment_is_refused(served: Served, target: bytes) -> None:
    answer = await served.ask(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.status, answer.rule, answer.headers["connection"]) == (400, "malformed-http", "close")


async def test_what_is_wrong_with_a_later_request_is_no_answer_to_the_first(served: Served) -> None:
    wrong = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n"
    for later in (wrong, HEALTH * 1000):
        client = await served.connect()
        await client.send(post("/echo", BODY) + later)
        assert b"HTTP/1.1 4" not in await client.closed()


async def test_as_large_a_head_as_is_promised_is_read(served: Served) -> None:
    headers = [f"X-{number}: {'y' * 200}" for number in range(HEADERS_AT_MOST - 3)]
    request = post("/echo", BODY, *headers)
    assert 20_000 < len(request) < HEAD_BYTES
    assert (await served.ask(request)).status == 200


async def test_a_body_that_trickles_in_is_408(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_S", SOON_S)
    client = await served.connect()
    await client.send(post("/echo", b"", announced=1000))
    answer = await client.trickle(b"x" * 200)
    assert (answer.status, answer.rule, answer.headers["connection"]) == (408, "request-timeout", "close")
    assert await client.closed() == b""


async def test_a_body_of_no_announced_length_that_trickles_in_is_408(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "BODY_S", SOON_S)
    client = await served.connect()
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    await client.send(head)
    assert (await client.trickle(b"1\r\nx\r\n" * 50)).status == 408


async def test_a_body_that_is_too_large_is_413_and_not_read(served: Served) -> None:
    client = await served.connect()
    await client.send(post("/echo", b"", announced=1 << 30))
    answer = await client.answer()
    assert (answer.status, answer.rule, answer.headers["connection"]) == (413, "too-large", "close")
    assert await client.closed() == b""


async def test_the_body_of_a_request_that_was_answered_holds_no_connection(served: Served) -> None:
    client = await served.connect()
    await client.send(post("/nothing", b"", announced=1000))
    assert (await client.answer()).status == 404, "before its body has come"
    with pytest.raises(asyncio.IncompleteReadError):
        await client.trickle(b"x" * 200)


async def test_a_client_that_does_not_read_its_answer_is_cut_off(served: Served) -> None:
    client = await served.connect()
    await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")  # the stream's buffer is full after 128 KiB
    for _ in range(200):
        await asyncio.sleep(SOON_S / 10)
        if not served.server.connections.open:
            break
    assert served.server.connections.open == 0


@pytest.mark.parametrize("request_line", [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"])
async def test_what_is_no_http_is_a_problem(served: Served, request_line: bytes) -> None:
    answer = await served.ask(request_line)
    assert (answer.status, answer.rule, answer.headers["connection"]) == (400, "malformed-http", "close")


async def test_a_flood_of_requests_on_one_connection_ends_it(served: Served) -> None:
    client = await served.connect()
    await client.send(HEALTH * 1000)
    answered = (await client.closed()).count(b"HTTP/1.1 200")
    assert answered < 1000


async def test_a_few_requests_before_the_first_answer_are_answered_in_order(served: Served) -> None:
    client = await served.connect()
    await client.send(b"".join(post("/echo", b'{"text": "%d"}' % number) for number in range(10)))
    assert [(await client.answer()).body for _ in range(10)] == [b'"%d"' % number for number in range(10)]


# ── How many ───────────────────────────────────────────────────────────────────────────────────────────


OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")
CHUNKED = post("/echo", b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), *OFFER).replace(
    b"Content-Length: 27", b"Transfer-Encoding: chunked"
)


@pytest.mark.parametrize("request_", [post("/echo", BODY, *OFFER), CHUNKED], ids=["length", "chunked"])
async def test_an_offer_of_another_protocol_is_ignored_and_the_body_read(served: Served, request_: bytes) -> None:
    """As Java's client offers HTTP/2. What the body says is no request."""
    client, (head, end, body) = await served.connect(), request_.partition(b"\r\n\r\n")
    for parts in ([request_], [head + end, body], [request_[:9], request_[9:-3], request_[-3:]]):
        for part in parts:
            await client.send(part)
            await asyncio.sleep(SOON_S / 10)
        assert (await client.answer()).body == b'"good"'
    await client.send(HEALTH)
    assert (await client.answer()).status == 200


async def test_a_tunnel_is_refused(served: Served) -> None:
    answer = await served.ask(b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n")
    assert (answer.status, answer.rule, answer.headers["connection"]) == (400, "malformed-http", "close")


async def test_beyond_its_connections_a_process_is_busy_and_says_so() -> None:
    async with running(connections=5, connections_of_a_source=100) as served:
        served.server.connections.head_s = 60.0
        held = [await served.connect() for _ in range(5)]
        await held[0].send(HEALTH)
        assert (await held[0].answer()).status == 200
        for _ in range(20):
            answer = await (await served.connect()).answer()
            assert (answer.status, answer.rule, answer.headers["retry-after"]) == (503, "busy", "1")
        assert served.refused("connections") == 20
        held[1].writer.close()
        for _ in range(200):
            await asyncio.sleep(0.01)
            if served.server.connections.open < 5:
                break
        assert (await served.ask(HEALTH)).status == 200, "one that ends makes room"


async def test_one_network_address_has_so_many_connections() -> None:
    async with running(connections=100, connections_of_a_source=5) as served:
        served.server.connections.head_s = 60.0
        held = [await served.connect() for _ in range(5)]
        await held[4].send(HEALTH)
        assert (await held[4].answer()).status == 200
        answer = await (await served.connect()).answer()
        assert (answer.status, answer.rule, answer.headers["retry-after"]) == (429, "too-many-requests", "1")
        assert served.refused("connections-of-a-source") == 1


async def test_a_trusted_proxy_brings_many_and_says_for_whom() -> None:
    async with running(connections_of_a_source=1, trusted_proxies="127.0.0.0/8") as served:
        for number in range(5):
            request = f"GET /source HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.{number}\r\n\r\n"
            assert (await served.ask(request.encode())).body == b'"192.0.2.%d"' % number


async def test_nobody_else_says_where_it_comes_from(served: Served) -> None:
    request = b"GET /source HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    assert (await served.ask(request)).body == b'"127.0.0.1"'


@pytest.mark.parametrize("proxies", ["everybody", "10.0.0.0/33", "*"])
def test_proxies_that_are_no_addresses_are_refused_at_the_start(proxies: str) -> None:
    with pytest.raises(ValidationError):
        Settings(trusted_proxies=proxies)


async def test_what_has_ended_is_not_counted(served: Served) -> None:
    for _ in range(20):
        client = await served.connect()
        await client.send(HEALTH)
        await client.answer()
        client.writer.close()
        await client.writer.wait_closed()
    for _ in range(200):
        await asyncio.sleep(0.01)
        if not served.server.connections.open:
            break
    assert (served.server.connections.open, dict(served.server.connections.by_source)) == (0, {})


async def test_a_process_that_drains_is_not_ready_first_and_then_finishes_what_it_began() -> None:
    async with running(drain_s=300) as served:
        idle, busy = await served.connect(), await served.connect()
        await idle.send(HEALTH)
        assert "connection" not in (await idle.answer()).headers
        request = post("/echo", BODY)
        await busy.send(request[:-5])
        served.server.drain()
        for path, status in (("ready", 503), ("health", 200)):
            answer = await served.ask(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (answer.status, answer.headers["connection"]) == (status, "close"), path
        served.server.stop()
        assert await idle.closed() == b"", "a connection without a request is closed at the end"
        await busy.send(request[-5:])
        answered = await busy.answer()
        assert (answered.status, answered.headers["connection"]) == (200, "close")


async def test_a_second_signal_ends_a_drain() -> None:
    async with running(drain_s=300) as served:
        served.server.drain()
        assert not served.server.should_exit
        served.server.drain()
        assert served.server.should_exit
