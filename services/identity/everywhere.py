"""The check that every service uses an organisation's new time.

`POST /clock` waits for it. The processes of a service read the clocks from their database periodically, and none of
them decides by clocks that it read more than `FRESH_S` ago. Once one process of a service returns the new time, its
database has it, and `FRESH_S` later every process of the service decides by it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import httpx
import structlog

from shared.eventlog.deliver.clocks import FRESH_S, Clocks
from shared.eventlog.write.postgres import TRANSIENT
from shared.runtime.clients import service_client
from shared.runtime.database import Pool
from shared.runtime.settings import Settings
from shared.services import SERVICES

logger = structlog.get_logger(__name__)

WAIT_S: Final = 5.0
"""How long the response waits for the services; then it names those that are unreachable or behind."""
ASK_S: Final = 2.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.4
"""The pauses between two requests double, so that many clocks moved at once don't keep the services from folding."""
_NAME: Final = "identity"


class Everywhere:
    """A client that asks the other services, as the caller, for the organisation's time."""

    def __init__(
        self, urls: Mapping[str, str], wait_s: float = WAIT_S, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Take the URLs of the other services, by name."""
        self._urls, self._wait_s, self._transport = dict(urls), wait_s, transport
        self._http: httpx.AsyncClient | None = None

    @property
    def _client(self) -> httpx.AsyncClient:
        """Return the process's only client."""
        if self._http is None:
            self._http = service_client(ASK_S, self._transport)
        return self._http

    @staticmethod
    def of(settings: Settings) -> "Everywhere":
        return Everywhere({name: settings.url_of(name) for name in SERVICES if name != _NAME})

    async def lacking(
        self, organisation_id: str, ahead_s: int, authorization: str, clocks: Clocks, db: Pool
    ) -> list[str]:
        """Wait until every service has the organisation's time; return the services that lack it.

        If it returns none, no process of any service decides by an older time.

        Args:
            organisation_id: The organisation whose clock was moved.
            ahead_s: How far its clock is ahead of real time, in seconds.
            authorization: The caller's `Authorization` header.
            clocks: The clocks of this process.
            db: identity's database.
        """
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
                "a moved clock has not reached every service in time", services=lacking, organisation=organisation_id
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
            logger.info("asking a service for its time failed", fault=repr(fault)[:200])
        if loop.time() + pause_s > deadline:
            return False
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
