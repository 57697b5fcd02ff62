"""Turns: the commands on one stream, one after the other in this process."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """The commands of a process that wait for the commands before them on the same stream.

    Commands on one stream would otherwise conflict with each other.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, stream_id: str) -> AsyncIterator[None]:
        """Wait until the stream's earlier commands are done; the next one begins at the end."""
        if stream_id in self._waiting:
            await self._wait(stream_id)
        else:
            self._waiting[stream_id] = deque()
        try:
            yield
        finally:
            self._pass_on(stream_id)

    async def _wait(self, stream_id: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[stream_id].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # The turn had just been given to this task: pass it on.
                self._pass_on(stream_id)
            raise

    def _pass_on(self, stream_id: str) -> None:
        waiting = self._waiting[stream_id]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[stream_id]
