"""A load balancer in front of a service's processes, as one of TCP does: by `/ready`, and by who takes a connection."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from deploy.stack import HOST

PROBE_EVERY_S: Final = 0.5
FAILURES: Final = 2
"""After so many a process is not asked any more, as in the chart."""
_PROBE_S: Final = 4.0
_CHUNK: Final = 65_536


class Balancer:
    """Passes each connection on to one of the processes that are ready, in turns.

    A connection that no ready process takes is closed, as by a service of Kubernetes that has no endpoint.
    """

    def __init__(self, port: int, backends: Sequence[int]) -> None:
        self.port, self.backends = port, list(backends)
        self.ready: set[int] = set()
        self.rejected = 0
        """Connections that no process took."""
        self.outages: list[str] = []
        """Why there was no process that is ready, each time that there was none."""
        self._turn = 0

    async def run(self) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._serve, HOST, self.port)
        async with server:
            await asyncio.gather(*(self._watch(port) for port in self.backends))

    async def sees(self, port: int) -> None:
        """Return once this process is asked."""
        while port not in self.ready:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _watch(self, port: int) -> None:
        failed = 0
        while True:
            why = await not_ready(port)
            failed = failed + 1 if why else 0
            if not why:
                self.ready.add(port)
            elif failed >= FAILURES and port in self.ready:
                self.ready.discard(port)
                if not self.ready:
                    self.outages.append(f"the last process that was ready is not: {why}")
            await asyncio.sleep(PROBE_EVERY_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await self._connected()
        if asked is None:
            self.rejected += 1
            writer.close()
            return
        with suppress(asyncio.CancelledError):  # of who is still connected at the end; asyncio would print it
            await asyncio.gather(_copy(reader, asked[1]), _copy(asked[0], writer))

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        self._turn += 1
        first = self._turn % len(self.backends)
        for port in (*self.backends[first:], *self.backends[:first]):
            if port in self.ready:
                with suppress(OSError):
                    return await asyncio.open_connection(HOST, port)
                self.ready.discard(port)
        return None


async def not_ready(port: int) -> str:
    """Why `/ready` of a process does not answer 200, or ""."""
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(b"GET /ready HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
                return "" if b" 200 " in head.splitlines()[0] else body.decode()[:300]
            finally:
                writer.close()
    except (OSError, TimeoutError, IndexError) as error:
        return repr(error)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until its sender ends; then nothing more goes to the receiver."""
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
