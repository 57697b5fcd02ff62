"""Command latency over time: intervals between two readings of the services' metrics."""

import asyncio

import httpx
import pytest

from cli.scraped import Histogram, latency_in, scraped
from cli.serving import latency
from cli.serving.latency import LatencyHistory
from shared.eventlog.write.log import Accepted
from shared.runtime.metrics import Metrics
from tests.cli.serving import Server


def page(*seconds: float) -> str:
    metrics = Metrics("identity")
    for each in seconds:
        metrics.answered(object(), Accepted("partner-1", 1, ()), each)
    return metrics.page().decode()


def test_the_latency_alone_is_read_as_with_all_the_figures() -> None:
    assert latency_in(page(0.02, 0.3)) == scraped(page(0.02, 0.3)).latency


def test_an_interval_has_what_came_between_two_readings() -> None:
    history = LatencyHistory({})
    history.take({"identity": latency_in(page(0.3, 0.3))})
    assert history.view().intervals == [], "the first reading is of the time before"
    history.take({"identity": latency_in(page(0.3, 0.3, 0.02)), "marketplace": latency_in(page(0.3))})
    history.take({"marketplace": latency_in(page(0.3))})
    first, second = history.view().intervals
    assert first.services.keys() == {"identity"} and second.services.keys() == {"marketplace"}
    found = first.services["identity"]
    assert found.commands == 1 and found.p99_s is not None and 0.01 < found.p99_s <= 0.025
    assert (second.services["marketplace"].commands, second.services["marketplace"].p50_s) == (0, None)


def test_no_more_than_half_an_hour_is_kept() -> None:
    history = LatencyHistory({})
    for _ in range(latency.KEPT + 5):
        history.take({"identity": latency_in(page(0.3))})
    assert len(history.view().intervals) == latency.KEPT


async def test_an_error_does_not_end_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a service that answers something else than metrics."""
    monkeypatch.setattr(latency, "EVERY_S", 0.0)
    counts, enough = iter([0, 1, 2]), asyncio.Event()

    async def read(_client: httpx.AsyncClient, url: str) -> Histogram:
        assert url == "http://identity"
        if (count := next(counts, None)) is None:
            enough.set()
            await asyncio.sleep(60)
        if not count:
            raise RuntimeError("a bug")
        return {0.1: float(count)}

    monkeypatch.setattr(latency, "_read", read)
    history = LatencyHistory({"identity": "http://identity"})
    reader = asyncio.create_task(history.run())
    async with asyncio.timeout(10):
        await enough.wait()
    reader.cancel()
    assert [each.services["identity"].commands for each in history.view().intervals] == [1]


async def test_the_operator_sees_the_intervals() -> None:
    server = Server()
    server.parts.latency.take({"identity": {0.1: 1.0, float("inf"): 1.0}})
    server.parts.latency.take({"identity": {0.1: 3.0, float("inf"): 3.0}})
    shown = (await server.get("/latency")).json()
    assert shown["intervals"][0]["services"] == {"identity": {"commands": 2, "p50_s": 0.05, "p99_s": 0.099}}
