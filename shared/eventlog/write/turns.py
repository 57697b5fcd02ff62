"""Turns: the commands on one stream, one after the other in this process."""

import asyncio
from collections import deque
from collections.abc import Awaitable


class Turns:
    """The commands of a process that wait for the commands before them on the same stream.

    Commands on one stream would otherwise conflict with each other.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def begin(self, stream_id: str) -> Awaitable[None] | None:
        """Ask for the stream's turn: it is the caller's now, or after the wait that is returned.

        Whoever has got the turn has to call `end`. Each command would pay for a context manager here.
        """
        if stream_id in self._waiting:
            return self._wait(stream_id)
        self._waiting[stream_id] = deque()
        return None

    def end(self, stream_id: str) -> None:
        """Pass the turn on to the stream's next command."""
        waiting = self._waiting[stream_id]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[stream_id]

    async def _wait(self, stream_id: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[stream_id].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # The turn had just been given to this task: pass it on.
                self.end(stream_id)
            raise
