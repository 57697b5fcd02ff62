"""A customer in Auckland: ordered, confirmed and used, from midnight to midnight there."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared import days
from shared.events import ClockMoved, OrderConfirmed, ProfileUpdated
from tests.contracts.golden import sample
from tests.examples.marketplace import AUTOCAD, AUTOCAD_MONTHLY
from tests.services.entitled import NOON, confirmed, open_doors
from tests.services.market import ORDER, Market
from tests.services.world import World

pytestmark = pytest.mark.system

AUCKLAND = "Pacific/Auckland"
FIRST = date(2026, 12, 1)
MIDNIGHT = datetime(2026, 11, 30, 11, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def in_auckland(market: Market) -> None:
    moved = sample(ProfileUpdated).model_copy(update={"account_id": "mina", "country": "NZ", "time_zone": AUCKLAND})
    await market.hears("identity", "account-mina", moved)


async def checked_out(market: Market, cart: str, starts: date) -> str:
    """Order the cart from that day on; the publisher confirms it."""
    done = await market.when("clerk", "POST", f"/carts/{cart}/checkout", ORDER | {"starts": f"{starts}"}).then_ok()
    subscription: str = done["events"][0]["data"]["lines"][0]["subscription_id"]
    await market.publisher(OrderConfirmed(subscription_id=subscription, reference="A-1"))
    return subscription


async def test_an_order_for_auckland_is_shown_and_checked_out_by_the_day_there(market: Market) -> None:
    await in_auckland(market)
    cart = await market.cart((AUTOCAD_MONTHLY.product_id, 3))
    path = f"/carts/{cart}?customer=org&purchaser=mina"
    shown = await market.when("clerk", "GET", path).then_ok()  # it is still the 23rd in UTC
    assert (shown["starts"], shown["time_zone"]) == ("2026-11-24", AUCKLAND)
    assert shown["lines"][0]["instalments"][0]["due"] == "2026-11-24", "what is due at once is due today"
    early = ORDER | {"starts": "2026-11-23"}
    await market.when("clerk", "POST", f"/carts/{cart}/checkout", early).then_refused("start-in-the-past")
    await market.when("clerk", "GET", f"{path}&starts=2026-11-23").then_refused("start-in-the-past")


async def test_what_is_owed_in_auckland_is_less_from_midnight_there(market: Market) -> None:
    await in_auckland(market)
    subscription = await checked_out(market, await market.cart((AUTOCAD_MONTHLY.product_id, 3)), FIRST)
    path = f"/subscriptions/{subscription}"
    shown = await market.when("clerk", "GET", path).then_ok()
    assert (shown["term"]["starts"], shown["term"]["ends"], shown["time_zone"]) == (f"{FIRST}", "2027-11-30", AUCKLAND)
    share = shown["instalments"][1]["amount"]["amount"]
    due = days.begins(date(2027, 1, 1), AUCKLAND)
    owed = []
    for now in (due - MINUTE, due):
        await market.clock(now)
        shown = await market.when("clerk", "GET", path).then_ok()
        preview = await market.preview(subscription)
        assert preview["time_zone"] == AUCKLAND
        assert preview["still_owed"] == shown["still_owed"]
        owed.append(shown["still_owed"]["amount"])
    assert owed[0] - owed[1] == share, "the second instalment is due from midnight in Auckland on"


@pytest.mark.parametrize("zone", [AUCKLAND, "America/Los_Angeles"])
async def test_what_is_due_today_is_listed_as_long_as_the_day_lasts_there(market: Market, zone: str) -> None:
    moved = sample(ProfileUpdated).model_copy(update={"account_id": "mina", "country": "NZ", "time_zone": zone})
    await market.hears("identity", "account-mina", moved)
    subscription = await checked_out(market, await market.cart((AUTOCAD.product_id, 3)), FIRST)
    begins, ends = days.begins(FIRST, zone), days.ends(FIRST, zone)
    for now, falls in ((begins - MINUTE, "ahead"), (begins, "today"), (ends - MINUTE, "today"), (ends, "past")):
        await market.clock(now)
        shown = await market.when("mina", "GET", f"/subscriptions/{subscription}").then_ok()
        assert [each["falls"] for each in shown["instalments"]] == [falls]
        assert (shown["still_owed"]["amount"] > 0) is (falls == "ahead")
        listed = (await market.when("mina", "GET", "/instalments").then_ok())["items"]
        expected = [(falls, falls != "ahead")] if listed or falls != "past" else []
        assert [(each["falls"], each["is_due"]) for each in listed] == expected


async def test_the_next_term_begins_as_the_last_one_ends_at_midnight(market: Market) -> None:
    await in_auckland(market)
    cart = await market.cart((AUTOCAD_MONTHLY.product_id, 3))
    subscription = await checked_out(market, cart, date(2026, 11, 24))
    over = days.ends(date(2027, 11, 23), AUCKLAND)
    for now, term in ((over - MINUTE, 1), (over, 2)):
        await market.clock(now)
        shown = await market.when("clerk", "GET", f"/subscriptions/{subscription}").then_ok()
        assert shown["term"]["number"] == term


async def test_its_seats_can_be_used_from_midnight_there(world: World) -> None:
    ahead = confirmed("s", "org", "reseller").model_copy(
        update={"starts": FIRST, "ends": date(2027, 11, 30), "time_zone": AUCKLAND}
    )
    async with open_doors(world, ahead) as doors:
        await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then_ok()
        for now, phase in ((MIDNIGHT - MINUTE, "upcoming"), (MIDNIGHT, "active")):
            moved = ClockMoved(organisation_id="org", ahead_s=int((now - NOON).total_seconds()), moved_by="mina")
            world.say("identity", "organisation-org", moved)
            await world.settle(random.Random(12))
            pool: Any = await doors.when("ana", "GET", "/pools/s").then_ok()
            (mine,) = (await doors.when("ana", "GET", "/me/seats").then_ok())["items"]
            assert (pool["phase"], mine["phase"], mine["access"]) == (phase, phase, phase == "active")
            listed = (await doors.when("ana", "GET", f"/pools?phase={phase}").then_ok())["items"]
            assert [each["subscription_id"] for each in listed] == ["s"]
            assert pool["time_zone"] == mine["time_zone"] == AUCKLAND
