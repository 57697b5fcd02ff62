"""What a publisher's system may call its events, and what becomes of two of one name."""

import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from shared.events import CreditsPurchased, OrderConfirmed
from shared.events.envelope import from_headers
from tests.services.entitled import Doors
from tests.services.market import Market, a_market
from tests.services.world import World

pytestmark = pytest.mark.system


@pytest.fixture
async def market(databases: Callable[[str], str]) -> AsyncIterator[Market]:
    async with a_market(databases("marketplace")) as made:
        yield made


@pytest.mark.parametrize("length", [409, 410, 499, 500])
async def test_an_order_is_confirmed_whatever_the_length_of_the_publishers_id(market: Market, length: int) -> None:
    subscription = await market.ordered()
    confirmed = OrderConfirmed(subscription_id=subscription, reference="A-1")
    for _ in range(2):
        market.world.say("publisher:autodesk", "said", confirmed, ("e " * length)[: length - 1] + "e")
        await market.settle()
    stored = await market.world.store.read_stream(f"subscription-{subscription}")
    (made,) = [event for event in stored if event.envelope.type == "SubscriptionConfirmed"]
    assert from_headers(made.headers(), made.envelope.stream.encode()) == made.envelope
    assert len(made.envelope.command_id) <= 500
    assert (await market.when("clerk", "GET", f"/subscriptions/{subscription}").then_ok())["status"] == "confirmed"


class Credits:
    """entitlements, and what a publisher says of credits under names of its own choice."""

    def __init__(self, world: World) -> None:
        self.world, self.chance = world, random.Random(3)
        world.parks = True

    async def hears(self, id_: str, *, source: str = "autodesk", **says: Any) -> None:
        bought = CreditsPurchased.model_validate({"contract_id": "c", "grant_id": "g-1", "amount": 100} | says)
        self.world.say(f"publisher:{source}", "said", bought, id_)
        await self.world.settle(self.chance)

    async def grants(self) -> list[int]:
        stored = await self.world.store.read_stream("credits-c")
        return [json.loads(each.data)["amount"] for each in stored if each.envelope.type == "CreditsGranted"]

    async def parked(self) -> list[str]:
        rows = await self.world.pool.fetch('select reason from engine.parked order by "offset"')
        return [row["reason"] for row in rows]


@pytest.fixture
async def credits_(world: World, doors: Doors) -> Credits:
    """Of the contract `c`."""
    del doors  # they are there for what had to be said before
    return Credits(world)


async def test_the_same_event_sent_again_is_a_repeat(credits_: Credits) -> None:
    await credits_.hears("one")
    await credits_.hears("one")
    assert (await credits_.grants(), await credits_.parked()) == ([100], [])


@pytest.mark.parametrize("other", [{"amount": 200}, {"contract_id": "another"}, {"grant_id": "g-9"}], ids=str)
async def test_another_event_of_the_same_name_is_parked(credits_: Credits, other: dict[str, Any]) -> None:
    await credits_.hears("one")
    await credits_.hears("one", **other)
    await credits_.hears("two", grant_id="g-2", amount=7)
    await credits_.hears("one")
    assert await credits_.parked() == ["conflicting-duplicate"]
    assert await credits_.grants() == [100, 7], "what came between them and after them counts once"


async def test_two_publishers_may_use_one_id(credits_: Credits) -> None:
    await credits_.hears("one")
    await credits_.hears("one", amount=200, source="other")
    assert await credits_.parked() == []


async def test_the_sender_and_the_operator_look_up_what_became_of_an_event(market: Market) -> None:
    """Nobody else is told whether it exists."""
    for id_, subscription in (("for/nothing", "nobodys"), ("good", await market.ordered())):
        market.world.say("publisher:autodesk", "said", OrderConfirmed(subscription_id=subscription, reference="A"), id_)
    await market.settle()
    path = "/events/urn:publisher:autodesk"
    good = await market.when("publisher", "GET", f"{path}/good").then_ok()
    assert (good["type"], [each["status"] for each in good["outcomes"]]) == ("OrderConfirmed", ["accepted"])
    assert len(good["outcomes"][0]["events"]) == 1
    (refused,) = (await market.when("publisher", "GET", f"{path}/for/nothing").then_ok())["outcomes"]
    assert (refused["status"], refused["rule"], refused["events"]) == ("rejected", "subscription-unknown", [])
    assert refused["reason"] and refused["remedy"]
    for who in ("other publisher", "clerk", "mina"):
        await market.when(who, "GET", f"{path}/good").then_status(404)
    await market.when("publisher", "GET", f"{path}/never").then_status(404)
