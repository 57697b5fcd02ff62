"""A generator of HTTP requests that takes little of the core that it has: sockets and epoll, no library.

Each connection sends its next request as soon as the response is there (a closed loop).
"""

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Final

from tests.benchmarks.measure import Result, quantiles

HOST: Final = "127.0.0.1"
WARM_UP_S: Final = 1.0
_PATIENCE_S: Final = 60.0
_PART: Final = 1 << 18


class Failed(Exception):
    """A response was not a success, or the server closed the connection."""


def post(path: str, body: bytes, token: str = "") -> bytes:
    """Return a request's bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Authorization: Bearer {token}\r\n\r\n".encode() + body


def whole(received: bytes) -> bool:
    """Return whether these bytes are a whole successful response. Raises Failed if they are another response."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = received[:end].lower()
    if not head.startswith(b"http/1.1 2"):
        raise Failed(received[:1000].decode(errors="replace"))
    length = head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
    return len(received) >= end + 4 + int(length)


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    requests: Iterator[bytes]
    received: bytes = b""
    sent_at: int = 0

    def send(self) -> None:
        self.received, self.sent_at = b"", time.perf_counter_ns()
        self.connection.sendall(next(self.requests))


@dataclass(slots=True)
class Load:
    """What was answered.

    Attributes:
        answered: The number of responses, those of the warm-up too.
        took_s: The time from the first request to the last response.
        latencies: In nanoseconds, without the warm-up.
    """

    seconds: float
    answered: int = 0
    took_s: float = 0.0
    latencies: list[int] = field(default_factory=list)

    @property
    def result(self) -> Result:
        return {"requests_s": round(len(self.latencies) / self.seconds, 1), **quantiles(self.latencies)}


def closed_loop(
    ports: Sequence[int],
    requests: Callable[[int], Iterator[bytes]],
    connections: int,
    seconds: float,
    warm_up_s: float = WARM_UP_S,
) -> Load:
    """Send requests over connections until the time is over; each ends with a response.

    Args:
        ports: Of the processes that the connections are divided among.
        requests: Returns the requests of a connection, given its number.

    Raises:
        Failed: A response was not a success.
    """
    load, poll = Load(seconds), select.epoll()
    with contextlib.ExitStack() as stack:
        stack.callback(poll.close)
        clients = {}
        for number in range(connections):
            connection = stack.enter_context(
                socket.create_connection((HOST, ports[number % len(ports)]), timeout=_PATIENCE_S)
            )
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            poll.register(connection, select.EPOLLIN)
            clients[connection.fileno()] = _Client(connection, requests(number))
        first = time.perf_counter_ns()
        begin = first + int(warm_up_s * 1e9)
        end = begin + int(seconds * 1e9)
        for client in clients.values():
            client.send()
        while clients:
            ready = poll.poll(_PATIENCE_S)
            if not ready:
                raise Failed(f"no response within {_PATIENCE_S:g} s")
            for number, _ in ready:
                client = clients[number]
                part = client.connection.recv(_PART)
                if not part:
                    raise Failed("the server closed the connection")
                client.received = client.received + part if client.received else part
                if not whole(client.received):
                    continue
                now = time.perf_counter_ns()
                load.answered += 1
                if begin <= client.sent_at < end:
                    load.latencies.append(now - client.sent_at)
                if now < end:
                    client.send()
                else:
                    poll.unregister(number)
                    del clients[number]
        load.took_s = (time.perf_counter_ns() - first) / 1e9
    return load


def same(request: bytes) -> Callable[[int], Iterator[bytes]]:
    """Return what sends the same request again and again."""
    return lambda _: repeat(request)


def two_cores() -> tuple[int, int] | None:
    """Return two cores of this process, or None if it has one only."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else None


def pin(pid: int, core: int) -> None:
    """Let a process, with all its threads, run on one core only."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), {core})
