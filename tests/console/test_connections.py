"""The connections on which pages ask services."""

import asyncio
import time

import pytest

from services.console.doors import Call, Caller, Doors, Nothing
from shared.runtime.connections import IDLE_S

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


async def test_no_request_is_sent_on_a_connection_that_its_service_is_about_to_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page was answered with 503, as its request met the end of an idle connection."""
    opened = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            writer.write(ANSWER)
        writer.close()

    service = await asyncio.start_server(answer, "127.0.0.1", 0)
    doors = Doors({"identity": f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}"})
    call = Call(service="identity", method="GET", path="/me")
    for _ in range(2):
        await doors.ask(call, Caller(), Nothing)
    assert opened == 1
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + IDLE_S - 1)
    await doors.ask(call, Caller(), Nothing)
    assert opened == 2
    await doors.close()
    service.close()
