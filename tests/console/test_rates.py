"""Events a second for subscribers who count them, and the newest events of a topic on its pages."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from services.console.live.callers import Callers
from services.console.live.rates import HISTORY_S, counted, past, rates
from shared.runtime.live.wanted import Wanted
from tests.console.fakes import Browser, Services, words
from tests.console.live_topics import OneCaller, TopicInMemory, callers, edge, subscriber
from tests.console.samples.topics import answers

EVERYTHING = Wanted(everything=True)
NOON = int(datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp())


async def test_the_last_minute_is_counted_by_second_and_type() -> None:
    topic = TopicInMemory(100)  # one a second, from a second after noon on
    ticks = past([topic], EVERYTHING, NOON + 101)
    assert [tick.second for tick in ticks] == list(range(NOON + 41, NOON + 101))
    (service,) = {name for tick in ticks for name in tick.events}
    assert service == "entitlements" and all(sum(tick.events[service].values()) == 1 for tick in ticks)
    assert [tick.events for tick in past([topic], EVERYTHING, NOON + 5000)] == [{}] * HISTORY_S


async def test_only_what_the_caller_may_see_is_counted() -> None:
    found = TopicInMemory().grow(24)
    own = counted({"entitlements.events.v1": found}, Wanted(organisation="org-1"))
    assert sum(own["entitlements"].values()) == 12
    assert counted({"entitlements.events.v1": found}, Wanted(organisation="nobody")) == {}


async def ticks_of(topic: TopicInMemory, known: Callers, number: int, grow: Mapping[int, int]) -> list[Any]:
    """The first ticks of the present; after the n-th one, the topic grows."""
    found: list[Any] = []
    blocks = rates(edge(topic), [topic], known, subscriber(), EVERYTHING)
    async with asyncio.timeout(10):
        await anext(blocks)
        topic.grow(grow.get(0, 0))
        async for block in blocks:
            found.append(json.loads(block.removeprefix(b"data: ")))
            topic.grow(grow.get(len(found), 0))
            if len(found) == number:
                break
    return found


async def test_a_tick_has_the_events_that_arrived_since_the_one_before() -> None:
    topic = TopicInMemory(7)
    first, second = await ticks_of(topic, callers(), 2, {0: 3, 1: 300})
    assert sum(first["events"]["entitlements"].values()) == 3
    assert sum(second["events"]["entitlements"].values()) == 300 and second["at"] == first["at"] + 1


async def test_it_ends_with_the_session() -> None:
    caller = OneCaller()
    caller.ended = True
    blocks = [
        block
        async for block in rates(edge(TopicInMemory()), [TopicInMemory()], callers(caller), subscriber(), EVERYTHING)
    ]
    assert len(blocks) == 1 and blocks[0].count(b"data: ") == HISTORY_S


# ── On the pages of topics ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def topic() -> TopicInMemory:
    return TopicInMemory(50)


@pytest.fixture
async def browser(tmp_path: Path, topic: TopicInMemory) -> Browser:
    browser = Browser(Services(dict(answers("entitlements"))), tmp_path)
    browser.app.state.live = edge(topic)
    await browser.sign_in()
    return browser


async def test_the_rates_are_a_door_beside_the_topics(browser: Browser) -> None:
    browser.app.state.live.stopping = True
    answer = await browser.get("/live/rates")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("data: ") == HISTORY_S
    assert (await browser.get("/live/rates?type=x")).status_code == 422


async def test_a_topic_shows_its_newest_events_that_the_person_may_see(browser: Browser, topic: TopicInMemory) -> None:
    page = (await browser.get("/topics/entitlements")).text
    newest = [frame for frame in reversed(topic.window.frames) if frame.tenant == "org-1"][:10]
    shown = [json.loads(body) for body in bodies(page)]
    assert [int(event["position"]) for event in shown] == [frame.position for frame in newest]
    assert 'data-live="/live/entitlements.events.v1?after=50"' in page
    assert 'data-later="/live/entitlements.events.v1"' in page and "/operator/events/" not in page


async def test_an_events_page_shows_those_of_its_type(browser: Browser, topic: TopicInMemory) -> None:
    type_ = topic.window.frames[0].type
    page = (await browser.get(f"/topics/entitlements/{type_}")).text
    assert len(bodies(page)) == 10 and f"after=50&amp;type={type_}" in page
    other = (await browser.get("/topics/entitlements/SeatPoolHeld")).text
    assert bodies(other) == [] and "None of those that are in memory" in words(other)


async def test_without_kafka_the_documents_are_shown_alone(browser: Browser) -> None:
    browser.app.state.live = None
    page = (await browser.get("/topics/entitlements")).text
    assert "data-live" not in page and "live.js" not in page and "What may be on it" in words(page)


async def test_the_topic_of_no_service_is_not_found(browser: Browser) -> None:
    assert (await browser.get("/topics/nothing")).status_code == 404


def bodies(page: str) -> list[str]:
    """The events that a page shows, without the empty one that its script fills in."""
    shown = page.partition("<template")[0]
    return [unescape(part.partition("</code>")[0]) for part in shown.split("<code data-body>")[1:]]
