"""Equal queries of the items of a bulk request, asked once for all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final

from shared.sql import Queryable

KEPT_S: Final = 0.25
"""How long an answer is given again. Read models follow the log within about as much time."""


class AskedOnce:
    """A database for the items of one request.

    Most items ask the same about their caller and their contract. An answer is at most `KEPT_S` old. A statement of an
    item that may change something ends what is kept, and so does an error. Everything else is the database's own.
    """

    def __init__(self, database: Queryable) -> None:
        self._database = database
        self._kept: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def execute(self, query: str, *args: object) -> str:
        self._kept.clear()
        try:
            return await self._database.execute(query, *args)
        finally:
            self._kept.clear()

    async def fetch(self, query: str, *args: object) -> Any:
        return await self._once(self._database.fetch, query, args)

    async def fetchrow(self, query: str, *args: object) -> Any:
        return await self._once(self._database.fetchrow, query, args)

    async def fetchval(self, query: str, *args: object) -> Any:
        return await self._once(self._database.fetchval, query, args)

    async def _once(self, ask: Callable[..., Awaitable[Any]], query: str, args: tuple[object, ...]) -> Any:
        key = ask.__name__, query, tuple(tuple(arg) if isinstance(arg, list) else arg for arg in args)
        now = asyncio.get_running_loop().time()
        kept = self._kept.get(key)
        if kept is None or now - kept[0] > KEPT_S or kept[1].cancelled():
            self._kept[key] = kept = now, asyncio.create_task(_asked(ask, query, args), name="query")
        try:
            return await asyncio.shield(kept[1])
        except Exception:
            self._kept.clear()
            raise


async def _asked(ask: Callable[..., Awaitable[Any]], query: str, args: tuple[object, ...]) -> Any:
    return await ask(query, *args)
