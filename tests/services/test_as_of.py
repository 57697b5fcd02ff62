"""As of a time: what is shown of one thing is what was shown then, to those who may see it now."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest

from shared.events import (
    OrderConfirmed,
    OrderDeclined,
    SeatPoolCleared,
    SeatPoolHeld,
    SubscriptionEnded,
    SubscriptionRenewed,
)
from shared.events.marketplace import HeldSeat
from shared.runtime import as_of
from shared.runtime.limits import Limits
from tests.contracts.golden import sample
from tests.examples.marketplace import AUTOCAD, NOON
from tests.services.entitled import ENDS, Doors
from tests.services.fleet import APPROVAL, a_fleet
from tests.services.fleet import Bench as Fleet
from tests.services.identity_bench import Bench
from tests.services.market import Market
from tests.services.world import World

pytestmark = pytest.mark.system

Json = dict[str, Any]


class Hand:
    """A clock that a test sets; it goes on by a second after each view that is kept."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Album:
    """What was shown of something, and when."""

    def __init__(self, view: Callable[[str], Awaitable[Json]]) -> None:
        self._view, self._kept = view, list[tuple[datetime, Json]]()

    async def keep(self, at: datetime) -> None:
        self._kept.append((at, await self._view("")))

    async def check(self) -> None:
        """What was shown at each of these times is shown again, and differs."""
        for at, shown in self._kept:
            assert await self._view(f"?as_of={quote(at.isoformat())}") == shown, at
        views = [shown for _, shown in self._kept]
        assert all(one != other for one, other in pairwise(views)), "each step changes the view"


@pytest.fixture
def hand(market: Market) -> Hand:
    made = Hand(NOON)
    market.parts.now = market.world.clocks.real = made
    return made


async def test_a_subscription_is_shown_as_it_was_from_its_order_to_its_end(market: Market, hand: Hand) -> None:
    subscription = await market.ordered(AUTOCAD.product_id)
    path = f"/subscriptions/{subscription}"
    album = Album(lambda query: market.when("mina", "GET", path + query).then_ok())

    async def kept(*steps: Awaitable[Any]) -> None:
        for step in steps:
            await step
        await album.keep(hand.now)
        hand.now += timedelta(seconds=1)

    async def until(now: datetime) -> None:
        hand.now = now
        await market.settle()

    await kept()
    await kept(market.publisher(OrderDeclined(subscription_id=subscription, reason="the address is missing")))
    await kept(market.when("clerk", "POST", f"{path}/resubmit", {"seats": 4}).then_ok())
    await kept(market.publisher(OrderConfirmed(subscription_id=subscription, reference="A-1")))
    await kept(market.when("clerk", "PUT", f"{path}/seats", {"seats": 6}).then_ok())
    await kept(market.when("clerk", "PUT", f"{path}/seats", {"seats": 5}).then_ok())
    question = await market.asked(subscription)
    await kept()
    held = HeldSeat(seat=1, account_id="ana", because="event")
    await kept(market.pool(subscription, SeatPoolHeld(subscription_id=subscription, request=question, held=(held,))))
    for month in (9, 10, 11):
        await kept(until(datetime(2027, month, 10, 12, tzinfo=UTC)))
    await kept(until(datetime(2027, 11, 24, 12, tzinfo=UTC)))
    question = await market.asked(subscription)
    await kept()
    await kept(market.pool(subscription, SeatPoolCleared(subscription_id=subscription, request=question)))
    await kept(until(datetime(2028, 12, 1, 12, tzinfo=UTC)))
    assert (await market.when("mina", "GET", path).then_ok())["status"] == "ended"
    await album.check()


async def test_an_abandoned_order_is_shown_as_it_was(market: Market, hand: Hand) -> None:
    subscription = await market.ordered(AUTOCAD.product_id)
    path = f"/subscriptions/{subscription}"
    album = Album(lambda query: market.when("clerk", "GET", path + query).then_ok())
    await market.publisher(OrderDeclined(subscription_id=subscription, reason="the address is missing"))
    await album.keep(hand.now)
    hand.now += timedelta(seconds=1)
    await market.when("clerk", "POST", f"{path}/abandon", {"reason": "too dear"}).then_ok()
    await album.keep(hand.now)
    await album.check()


async def test_what_may_be_seen_is_decided_for_the_present(market: Market, hand: Hand) -> None:
    subscription = await market.running(AUTOCAD.product_id)
    hand.now += timedelta(hours=1)
    path = f"/subscriptions/{subscription}?as_of={quote(hand.now.isoformat())}"
    for who in ("mina", "clerk"):
        await market.when(who, "GET", path).then_ok()
    for who in ("stranger", "rival"):
        await market.when(who, "GET", path).then_refused("unknown")


async def test_a_time_before_its_first_event_a_future_or_malformed_one_is_refused(market: Market, hand: Hand) -> None:
    subscription = await market.running(AUTOCAD.product_id)
    path = f"/subscriptions/{subscription}"
    early = await market.when("mina", "GET", f"{path}?as_of=2026-01-01T00:00:00Z").then_refused("as-of-too-early")
    assert early["status"] == 404 and "It begins at 2026-11-" in early["detail"]
    later = hand.now + timedelta(seconds=1)
    future = await market.when("mina", "GET", f"{path}?as_of={quote(later.isoformat())}").then_refused(
        "as-of-in-future"
    )
    assert future["status"] == 422
    for written in ("yesterday", "2026-11-21", "2026-11-21T12:00:00", "1764072000", ""):
        await market.when("mina", "GET", f"{path}?as_of={written}").then_refused("malformed")
    there = quote(hand.now.astimezone(timezone(timedelta(hours=-5))).isoformat())
    assert await market.when("mina", "GET", f"{path}?as_of={there}").then_ok()


async def test_in_a_sandbox_the_time_may_not_be_after_its_own_clock(market: Market, hand: Hand) -> None:
    subscription = await market.running(AUTOCAD.product_id)
    path = f"/subscriptions/{subscription}"
    await market.clock(hand.now + timedelta(days=30))
    ahead = quote((hand.now + timedelta(days=29)).isoformat())
    present = await market.when("mina", "GET", path).then_ok()
    assert await market.when("mina", "GET", f"{path}?as_of={ahead}").then_ok() == present
    beyond = quote((hand.now + timedelta(days=31)).isoformat())
    await market.when("mina", "GET", f"{path}?as_of={beyond}").then_refused("as-of-in-future")


async def test_the_work_of_an_answer_is_bounded(market: Market, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription = await market.running(AUTOCAD.product_id)
    path = f"/subscriptions/{subscription}?as_of={quote(hand.now.isoformat())}"
    monkeypatch.setattr(as_of, "_BATCH", 2)
    await market.when("mina", "GET", path).then_ok()
    monkeypatch.setattr(as_of, "EVENTS_AT_MOST", 2)
    await market.when("mina", "GET", path).then_refused("as-of-too-long")
    market.parts.limits = Limits("as-of=2/minute", clock=lambda: 0.0)
    statuses = [(await market.when("mina", "GET", path)).status_code for _ in range(3)]
    assert statuses == [422, 422, 429]


async def test_a_pool_is_shown_as_it_was(world: World, doors: Doors) -> None:
    hand = Hand(world.noon)
    doors.parts.now = world.clocks.real = hand
    album = Album(lambda query: doors.when("mina", "GET", f"/pools/s{query}").then_ok())

    async def kept() -> None:
        await world.settle(random.Random(7))
        await album.keep(hand.now)
        hand.now += timedelta(seconds=1)

    for who in ("ana", "ben"):
        await doors.when("mina", "POST", "/pools/s/seats", {"account_id": who}).then_ok()
        await kept()
    await doors.when("mina", "DELETE", "/pools/s/seats/ana").then_ok()
    await kept()
    renewed: SubscriptionRenewed = sample(SubscriptionRenewed)
    same = {"subscription_id": "s", "customer": "org", "partner": "reseller", "contract_id": "c", "term": 2}
    ends = ENDS.replace(year=2028)
    dates = {"seats": 3, "starts": ENDS + timedelta(days=1), "ends": ends}
    hand.now = datetime(2027, 11, 21, 12, tzinfo=UTC)
    world.say("marketplace", "subscription-s", renewed.model_copy(update=same | dates))
    await kept()
    hand.now = datetime(2028, 11, 22, 12, tzinfo=UTC)
    last = SubscriptionEnded(subscription_id="s", contract_id="c", customer="org", ended=ends)
    world.say("marketplace", "subscription-s", last)
    await kept()
    for month, year in ((12, 2028), (1, 2029)):
        hand.now = datetime(year, month, 8, 12, tzinfo=UTC)
        await kept()
    await album.check()
    early = quote((world.noon - timedelta(days=1)).isoformat())
    await doors.when("mina", "GET", f"/pools/s?as_of={early}").then_refused("as-of-too-early")
    await doors.when("stranger", "GET", f"/pools/s?as_of={early}").then_refused("unknown")


async def test_a_contract_is_shown_as_it_was(bench: Bench) -> None:
    oskar, token = await bench.join("oskar")
    mina, hers = await bench.invited(token, "mina")
    _, looks = await bench.invited(token, "ana")
    await bench.purchase(oskar)

    async def view(query: str) -> Json:
        shown: Json = (await bench.when(looks, "GET", f"/contracts/c{query}")).json()
        return shown

    album = Album(view)
    await album.keep(datetime.now(UTC))
    role = {"role": "software_coordinator", "message": "I keep our CAD current."}
    steps = (
        (hers, "POST", "/contracts/c/role-requests", role),
        (token, "POST", f"/contracts/c/role-requests/{mina}/approval", {"may_assign_seats": True}),
        (token, "POST", "/contracts/c/handover", {"to": mina}),
    )
    for who, method, path, body in steps:
        answer = await bench.when(who, method, path, body)
        assert answer.status_code == 200, answer.text
        await album.keep(datetime.now(UTC))
    await album.check()
    answer = await bench.when(looks, "GET", "/contracts/c?as_of=2026-01-01T00:00:00Z")
    assert (answer.status_code, answer.json()["rule"]) == (404, "as-of-too-early")


@pytest.fixture
async def fleet(databases: Callable[[str], str]) -> AsyncIterator[Fleet]:
    async with a_fleet(databases) as made:
        yield made


async def test_a_rollout_and_a_group_are_shown_as_they_were(fleet: Fleet) -> None:
    made = await fleet.when("POST", "/contracts/c/groups", name="pilots").then_ok()
    group = made["events"][0]["data"]["group_id"]
    groups = Album(lambda query: fleet.when("GET", f"/contracts/c/groups/{group}{query}").then_ok())
    rollouts = Album(lambda query: fleet.when("GET", f"/contracts/c/rollouts/c-1{query}").then_ok())

    async def kept(album: Album) -> None:
        await album.keep(fleet.now)
        fleet.now += timedelta(seconds=1)

    await kept(groups)
    await fleet.when("POST", f"/contracts/c/groups/{group}/users", account_id="ana").then_ok()
    await kept(groups)
    await fleet.when("PUT", f"/contracts/c/groups/{group}/policy", cadence="weekly").then_ok()
    await kept(groups)
    phases = [{"groups": [g], "success_percent": 100, "error_percent": 100} for g in (group, "default")]
    await fleet.when("POST", APPROVAL, groups=[group, "default"], phases=phases).then_ok()
    await kept(rollouts)
    report = {"rollout_id": "c-1", "version": "2027.1", "succeeded": True}
    failure = report | {"succeeded": False, "error": "disk full"}
    rollout = "/contracts/c/rollouts/c-1"
    for method, path, who, body in (
        ("POST", "/me/installs", "ana", report | {"machine": "pc"}),
        ("POST", "/me/installs", "ben", failure | {"machine": "pc"}),
        ("POST", f"{rollout}/resume", "mina", {}),
        ("POST", "/me/installs", "ben", failure | {"machine": "laptop"}),
        ("POST", f"{rollout}/retry", "mina", {}),
        ("POST", "/me/installs", "ben", report | {"machine": "pc"}),
        ("POST", "/me/installs", "ben", failure | {"machine": "laptop"}),
        ("POST", f"{rollout}/exclusions", "mina", {"account_id": "ben", "machine": "laptop", "reason": "broken"}),
        ("POST", f"{rollout}/exclusions", "mina", {"account_id": "ben", "reason": "on leave"}),
        ("POST", f"{rollout}/stop", "mina", {"reason": "wrong version"}),
    ):
        await fleet.when(method, path, who, **body)
        await kept(rollouts)
    await groups.check()
    await rollouts.check()
    for path in (f"{rollout}?as_of=2026-01-01T00:00:00Z", f"/contracts/c/groups/{group}?as_of=2026-01-01T00:00:00Z"):
        await fleet.when("GET", path).then_refused("as-of-too-early")
        await fleet.when("GET", path, "ben").then_status(403)
    await fleet.when("GET", "/contracts/c/groups/none").then_refused("unknown")
