"""One run of an action for all who ask for it at the same time."""

import asyncio
from collections.abc import Awaitable, Callable


class Joined:
    """An action that brings something up to date, such as a query for what is new.

    Who asks while it runs waits for the next run, which begins after all of them have asked. So each caller has what
    was there when it asked, and the more callers there are, the fewer runs each of them costs.
    """

    def __init__(self, act: Callable[[], Awaitable[None]]) -> None:
        self._act, self._lock = act, asyncio.Lock()
        self._begun = self._ended = 0
        """How many runs have begun, and the number of the last that ended well."""

    async def __call__(self) -> None:
        """Wait for the end of a run that begins from now on.

        Raises:
            Exception: The action failed while it ran for this caller.
        """
        before = self._begun
        async with self._lock:
            if self._ended > before:
                return
            self._begun += 1
            number = self._begun
            await self._act()
            self._ended = number
