"""How long commands took in the last half an hour, from the services' metrics.

The metrics count since a process began, so the figures of an interval are the difference of two readings. They are read
all the time: whoever opens a page wants to see what was before.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import httpx
import structlog
from pydantic import BaseModel

from cli.scraped import Histogram, between, latency_in, quantile
from shared.eventlog.write.log import utc_now
from shared.runtime.clients import service_client

logger = structlog.get_logger("operations")

EVERY_S: Final = 15.0
KEPT: Final = 120
"""How many intervals are kept: half an hour."""
ANSWER_S: Final = 3.0


class ServiceLatency(BaseModel):
    """How long a service's commands took in an interval, in seconds; None without any."""

    commands: int
    p50_s: float | None
    p99_s: float | None


class Interval(BaseModel):
    """The figures of an interval that ended then, by service.

    A service that did not answer is left out.
    """

    at: datetime
    services: dict[str, ServiceLatency]


class LatencyView(BaseModel):
    """The intervals, oldest first."""

    at: datetime
    every_s: float
    kept: int
    """How many intervals there are at most."""
    intervals: list[Interval]


class LatencyHistory:
    """The command latency of each service, by interval."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = urls
        self._before: dict[str, Histogram] = {}
        self._intervals: deque[Interval] = deque(maxlen=KEPT)

    def view(self) -> LatencyView:
        return LatencyView(at=utc_now(), every_s=EVERY_S, kept=KEPT, intervals=[*self._intervals])

    async def run(self) -> None:
        """Read the metrics again and again until cancelled."""
        async with service_client(ANSWER_S) as client:
            while True:
                try:
                    read = await asyncio.gather(*(_read(client, url) for url in self._urls.values()))
                    self.take({name: page for name, page in zip(self._urls, read, strict=True) if page is not None})
                except Exception:
                    logger.exception("the latency of commands could not be read: it is read again")
                await asyncio.sleep(EVERY_S)

    def take(self, now: Mapping[str, Histogram]) -> None:
        """Add an interval: from the reading before to this one, of each service that both have."""
        found = {
            service: _latency(between(histogram, self._before[service]))
            for service, histogram in now.items()
            if service in self._before
        }
        if self._before:
            self._intervals.append(Interval(at=utc_now(), services=found))
        self._before = dict(now)


async def _read(client: httpx.AsyncClient, url: str) -> Histogram | None:
    try:
        answer = await client.get(f"{url}/metrics")
        answer.raise_for_status()
        return latency_in(answer.text)
    except (httpx.HTTPError, ValueError):
        return None


def _latency(histogram: Histogram) -> ServiceLatency:
    return ServiceLatency(
        commands=int(max(histogram.values(), default=0)),
        p50_s=quantile(histogram, 0.5),
        p99_s=quantile(histogram, 0.99),
    )
