"""Positions that a subscriber of the live edge may go on from: those that the topic has come to."""

import asyncio

import httpx
import pytest

from services.console.live.doors import make_doors
from shared.events.registry import ENTITLEMENTS
from shared.runtime.live import topic as topics
from shared.runtime.settings import Settings
from tests.console.live_topics import TopicInMemory, edge


class Topic(TopicInMemory):
    """A topic of 50 events, of which Kafka says that there are no more, if it says anything."""

    def __init__(self) -> None:
        super().__init__(50)
        self.complete, self.gone = True, False

    def complete_since(self, time_s: float) -> bool:
        return self.complete

    @property
    def emptied(self) -> bool:
        return self.gone


async def get(topic: Topic, path: str, **headers: str) -> httpx.Response:
    app = make_doors(Settings())
    app.state.live = edge(topic)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console.example") as client:
        return await client.get(path, headers={"Authorization": "Bearer token", **headers})


@pytest.mark.parametrize("at", [f"/feed/{ENTITLEMENTS}?after=51", f"/live/{ENTITLEMENTS}?after=9007199254740991"])
async def test_a_position_beyond_the_head_is_refused(at: str) -> None:
    refused = await get(Topic(), at)
    assert (refused.status_code, refused.json()["rule"]) == (422, "position-unknown")
    assert "its newest event has position 50" in refused.json()["detail"]


async def test_the_head_itself_is_gone_on_from() -> None:
    page = await get(Topic(), f"/feed/{ENTITLEMENTS}?after=50")
    assert (page.status_code, page.json()["items"], page.json()["position"]) == (200, [], 50)


async def test_a_stream_does_not_go_on_after_an_id_that_no_event_has_had() -> None:
    refused = await get(Topic(), f"/live/{ENTITLEMENTS}", **{"Last-Event-ID": "51"})
    assert refused.json()["rule"] == "position-unknown"


async def test_a_position_from_an_edge_that_is_ahead_is_waited_for() -> None:
    topic = Topic()
    topic.complete = False
    asked = asyncio.create_task(get(topic, f"/feed/{ENTITLEMENTS}?after=52"))
    await asyncio.sleep(0.05)
    assert not asked.done()
    topic.grow(4)
    page = (await asked).json()
    assert ([event["position"] for event in page["items"]], page["position"]) == (["54"], 54)


async def test_a_position_is_taken_at_once_where_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What became of a publisher's records is kept for a time: then nobody knows where its topic ends."""
    monkeypatch.setattr(topics, "COMES_S", 3_600.0)
    topic = Topic()
    topic.complete, topic.gone = False, True
    assert (await get(topic, f"/feed/{ENTITLEMENTS}?after=52")).json()["position"] == 52


async def test_a_position_is_not_refused_while_the_head_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge that has lost Kafka may be behind the one that the position is from."""
    monkeypatch.setattr(topics, "COMES_S", 0.2)
    topic = Topic()
    topic.complete = False
    page = (await get(topic, f"/feed/{ENTITLEMENTS}?after=52")).json()
    assert (page["items"], page["position"]) == ([], 52)
