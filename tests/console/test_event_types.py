"""Event types that a subscriber of the live edge may ask for: those that the topic has."""

import httpx
import pytest

from services.console.live.doors import make_doors
from shared.events.registry import ENTITLEMENTS, EVENTS_ON, outcomes_topic
from shared.runtime.live.event_types import required_types
from shared.runtime.problems import Problem
from shared.runtime.settings import Settings
from tests.console.live_topics import TopicInMemory, edge


async def get(path: str) -> httpx.Response:
    app = make_doors(Settings())
    app.state.live = edge(TopicInMemory(50))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console.example") as client:
        return await client.get(path, headers={"Authorization": "Bearer token"})


@pytest.mark.parametrize("door", ["feed", "live"])
@pytest.mark.parametrize("asked", ["Nonsense", "AccountOpened", "SeatAssigned&type=seatassigned", "internal.tenure."])
async def test_a_type_that_the_topic_does_not_have_is_refused(door: str, asked: str) -> None:
    refused = await get(f"/{door}/{ENTITLEMENTS}?type={asked}")
    assert (refused.status_code, refused.json()["rule"]) == (422, "event-type-unknown")
    assert refused.json()["detail"].startswith(f"{ENTITLEMENTS} has no events of the type ")
    for event in EVENTS_ON[ENTITLEMENTS]:
        assert event.type() in refused.json()["remedy"]


async def test_a_topic_that_is_not_there_is_said_first() -> None:
    assert (await get("/feed/nothing.events.v1?type=Nonsense")).json()["rule"] == "unknown"


@pytest.mark.parametrize("prefix", ["", "internal.tenure."])
async def test_every_type_is_asked_for_by_its_present_name_and_by_its_old_one(prefix: str) -> None:
    types = [event.type() for event in EVENTS_ON[ENTITLEMENTS]]
    page = await get(f"/feed/{ENTITLEMENTS}?" + "&".join(f"type={prefix}{each}" for each in types))
    assert page.status_code == 200
    assert {event["type"].removeprefix("internal.tenure.") for event in page.json()["items"]} <= {*types}
    assert page.json()["items"]


def test_a_publishers_own_topic_has_outcomes() -> None:
    topic = outcomes_topic("autodesk")
    assert required_types(topic, ["internal.tenure.RecordAnswered"]) == {"RecordAnswered"}
    with pytest.raises(Problem):
        required_types(topic, ["SeatAssigned"])
