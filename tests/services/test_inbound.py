"""What a publisher's system may call its events, and what becomes of two of one name."""

from collections.abc import AsyncIterator, Callable

import pytest

from shared.events import OrderConfirmed
from shared.events.envelope import from_headers
from tests.services.market import Market, a_market

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
    (made,) = [event for event in stored if event.of.type == "SubscriptionConfirmed"]
    assert from_headers(made.headers(), made.of.stream.encode()) == made.of
    assert len(made.of.command_id) <= 500
    assert (await market("clerk", "GET", f"/subscriptions/{subscription}"))["status"] == "confirmed"
