"""The generator of HTTP requests: when a response is whole, and what it counts."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.benchmarks.load import Failed, closed_loop, post, same, whole

RESPONSE = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{}\r\n"


def test_a_response_is_whole_with_its_last_byte() -> None:
    assert [whole(RESPONSE[:length]) for length in (10, len(RESPONSE) - 4, len(RESPONSE) - 1)] == [False] * 3
    assert whole(RESPONSE)


def test_a_refusal_is_a_failure() -> None:
    with pytest.raises(Failed, match="409 Conflict"):
        whole(b"HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n")


@contextmanager
def answering(response: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Serve one connection; yield its port and what is received."""
    received: list[bytes] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            while part := connection.recv(10_000):
                received.append(part)
                for byte in (response[:30], response[30:]):
                    connection.sendall(byte)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], received
        thread.join(10)


def test_every_request_is_answered_before_the_next_is_sent() -> None:
    request = post("/carts", b"{}", "token")
    with answering(RESPONSE) as (port, received):
        load = closed_loop([port], same(request), 1, 0.1, warm_up_s=0.1)
    assert received == [request] * load.answered
    assert 0 < len(load.latencies) < load.answered, "those of the warm-up are not counted"


def test_the_load_ends_with_the_first_failure() -> None:
    refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    with answering(refusal) as (port, received), pytest.raises(Failed, match="503"):
        closed_loop([port], same(post("/carts", b"{}")), 1, 1)
    assert len(received) == 1
