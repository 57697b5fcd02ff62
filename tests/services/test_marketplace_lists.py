"""marketplace's lists: what they find, in which order, and as which file."""

import csv
import io
from collections.abc import AsyncIterator, Callable

import pytest

from tests.examples.marketplace import AUTOCAD, AUTOCAD_MONTHLY, LT
from tests.services.market import Market, a_market

pytestmark = pytest.mark.system


@pytest.fixture
async def market(databases: Callable[[str], str]) -> AsyncIterator[Market]:
    async with a_market(databases("marketplace")) as made:
        yield made


async def found(market: Market, who: str, path: str) -> list[str]:
    page = await market.when(who, "GET", path).then_ok()
    return [item["subscription_id"] for item in page["items"]]


@pytest.mark.parametrize("path", ["/subscriptions", "/orders"])
async def test_subscriptions_are_found_by_status_product_and_names(market: Market, path: str) -> None:
    waiting = await market.ordered(LT.product_id, seats=7)
    running = await market.running(AUTOCAD_MONTHLY.product_id)
    by = {
        "status=awaiting": [waiting],
        "status=confirmed": [running],
        "status=ended": [],
        "auto_renew=on": [running],
        "customer=org": [running, waiting],
        "customer=reseller": [],
        "partner=reseller&status=awaiting": [waiting],
        f"product_id={LT.product_id}": [waiting],
        "publisher=autodesk": [running, waiting],
        "publisher=other": [],
        "q=a-1": [running],
        f"q={LT.product_id[:5]}-{LT.product_id[5:11]}": [waiting],
        "q=ORG%20ltd": [running, waiting],
        f"q={running}": [running],
        "q=nobody": [],
        "sort=seats": [running, waiting],
        "sort=-seats": [waiting, running],
        "sort=ends": [running, waiting],
        "sort=-ends": [waiting, running],
    }
    for query, expected in by.items():
        assert await found(market, "clerk", f"{path}?{query}") == expected, query
    for query in ("status=closed", "product_id=x", "q=", "name=x"):
        await market.when("clerk", "GET", f"{path}?{query}").then_refused(
            "malformed-product-id" if query.startswith("product_id") else "malformed"
        )


async def test_a_customer_finds_what_it_bought_only(market: Market) -> None:
    subscription = await market.ordered(AUTOCAD.product_id)
    assert await found(market, "mina", "/subscriptions?q=reseller") == [subscription]
    assert await found(market, "stranger", "/subscriptions?q=reseller") == []
    await market.when("mina", "GET", "/orders?format=csv").then_refused("partner-only")


async def test_subscriptions_are_exported_as_csv(market: Market) -> None:
    subscription = await market.running(AUTOCAD_MONTHLY.product_id)
    answer = await market.when("mina", "GET", "/subscriptions?format=csv")
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert (row["subscription_id"], row["status"], row["plan.product_name"]) == (
        subscription,
        "confirmed",
        AUTOCAD.product_name,
    )
    assert (row["total.amount"], row["total.currency"], row["auto_renew.state"]) == ("720003", "EUR", "on")
