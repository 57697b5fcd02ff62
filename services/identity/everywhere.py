"""Whether every service has an organisation's new time: `POST /clock` is answered once they have.

A service's processes read the clocks of their database again and again, and none of them decides by what it read more
than `FRESH_S` ago. So once one process of a service shows the new time, its database has it, and `FRESH_S` later every
process of it decides by it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import httpx
import structlog

from shared.eventlog.deliver.clocks import FRESH_S, Clocks
from shared.eventlog.write.postgres import TRANSIENT
from shared.runtime.database import Pool
from shared.runtime.settings import Settings
from shared.services import SERVICES

logger = structlog.get_logger(__name__)

WAIT_S: Final = 5.0
"""So long the answer waits for the services; those that are away or behind are named in it then."""
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.4
"""Pauses between two questions double: many clocks that are moved at once must not keep the services from folding."""
_NAME: Final = "identity"


class Everywhere:
    """Asks the other services, as the caller, what time it is there."""

    def __init__(
        self, urls: Mapping[str, str], wait_s: float = WAIT_S, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """`urls` are the other services', by name."""
        self._urls, self._wait_s, self._transport = dict(urls), wait_s, transport
        self._http: httpx.AsyncClient | None = None

    @property
    def _client(self) -> httpx.AsyncClient:
        """One for the process: making one reads all certificates of the machine, some 20 ms."""
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=2, trust_env=False, transport=self._transport)
        return self._http

    @staticmethod
    def of(settings: Settings) -> "Everywhere":
        return Everywhere({name: settings.url_of(name) for name in SERVICES if name != _NAME})

    async def lacking(
        self, organisation_id: str, ahead_s: int, authorization: str, clocks: Clocks, db: Pool
    ) -> list[str]:
        """The services that don't have the organisation's clock so far ahead, in the end; none, and then no process of
        any service decides by an older time."""
        deadline = asyncio.get_running_loop().time() + self._wait_s

        async def here() -> bool:
            await clocks.refresh(db)
            return clocks.ahead_s(organisation_id) >= ahead_s

        def there(url: str) -> Callable[[], Awaitable[bool]]:
            async def asked() -> bool:
                answer = await self._client.get(f"{url}/clock", headers={"Authorization": authorization})
                answer.raise_for_status()
                return int(answer.json()["ahead_s"]) >= ahead_s

            return asked

        asking = {_NAME: here} | {name: there(url) for name, url in self._urls.items()}
        reached = await asyncio.gather(*(_in_time(ask, deadline) for ask in asking.values()))
        lacking = [name for name, has in zip(asking, reached, strict=True) if not has]
        if lacking:
            logger.warning(
                "a clock was moved and not every service has it", services=lacking, organisation=organisation_id
            )
        else:
            await asyncio.sleep(FRESH_S)
        return lacking


async def _in_time(ask: Callable[[], Awaitable[bool]], deadline: float) -> bool:
    loop, pause_s = asyncio.get_running_loop(), _FIRST_PAUSE_S
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                if await ask():
                    return True
        except (httpx.HTTPError, *TRANSIENT, ValueError, KeyError, TypeError) as fault:
            logger.info("a service does not say what time it is there", fault=repr(fault)[:200])
        if loop.time() + pause_s > deadline:
            return False
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
