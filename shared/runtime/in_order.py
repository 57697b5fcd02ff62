"""The items of a bulk request: decided in order, with several under way at a time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Final = 16
"""The most items of a request that are under way: more would occupy the connections that other requests need."""


class Place:
    """An item's place among those of its request."""

    __slots__ = ("_all_answered", "_before", "_decided")

    def __init__(self, before: "Place | None" = None) -> None:
        loop = asyncio.get_running_loop()
        self._before = before
        self._decided: asyncio.Future[None] = loop.create_future()
        self._all_answered: asyncio.Future[None] = loop.create_future()

    async def comes(self) -> None:
        """Wait until the items before are decided: their commands are on their way, or have failed."""
        if self._before is not None:
            await asyncio.shield(self._before._decided)

    async def all_before_are_answered(self) -> None:
        """Wait until what the items before have changed is committed."""
        if self._before is not None:
            await asyncio.shield(self._before._all_answered)

    def decided(self) -> None:
        """Let the next item be decided."""
        if not self._decided.done():
            self._decided.set_result(None)

    async def answered(self) -> None:
        """Note the item's answer. Returns when the items before have theirs, too."""
        await self.comes()
        self.decided()
        await self.all_before_are_answered()
        self._all_answered.set_result(None)
        self._before = None


async def in_order(items: Iterable[T], decide: Callable[[T, Place], Awaitable[R]], at_once: int = AT_ONCE) -> list[R]:
    """Return what `decide` returns for each item, in their order.

    Several calls run at the same time. Each has to wait for its place to come before it decides.

    Raises:
        Exception: A call failed, the first of those that did. Those after it were cancelled, or may have been done.
    """
    running = deque[asyncio.Task[R]]()
    done = list[R]()
    place: Place | None = None

    async def one(item: T, place: Place) -> R:
        result = await decide(item, place)
        await place.answered()
        return result

    try:
        for item in items:
            if len(running) == at_once:
                done.append(await running.popleft())
            place = Place(place)
            running.append(asyncio.create_task(one(item, place), name="item"))
        while running:
            done.append(await running.popleft())
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return done
