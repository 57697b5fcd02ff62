"""What a publisher's people do themselves, over a real database: plans, prices, CSNs, orders."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.examples.marketplace import AUTOCAD, AUTOCAD_MONTHLY, VAULT
from tests.services.market import Market, a_market, euros

pytestmark = pytest.mark.system

PLAN: dict[str, Any] = {
    "product_id": "NEWPL-WW0001-A001",
    "programme": "subscription",
    "product": "newplan",
    "product_name": "New Plan",
    "period": "annual",
    "support": "basic",
    "billing": "upfront",
    "commitment_months": 12,
    "category": "open",
    "agreement": "desktop",
    "price": euros(100_00),
}
CSN = {"csn": "5100099999", "organisation_id": "other-reseller"}


@pytest.fixture
async def market(databases: Callable[[str], str]) -> AsyncIterator[Market]:
    async with a_market(databases("marketplace")) as made:
        yield made


async def rows(market: Market, path: str, who: str = "publisher") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await market.when(who, "GET", path).then_ok())["items"]
    return items


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/publisher/plans", None),
        ("GET", "/publisher/csns", None),
        ("GET", "/publisher/partners", None),
        ("GET", "/publisher/orders", None),
        ("POST", "/publisher/plans", PLAN),
        ("POST", "/publisher/plans/NEWPL-WW0001-A001/prices", {"price": euros(1), "valid_from": "2027-01-01"}),
        ("DELETE", "/publisher/plans/NEWPL-WW0001-A001", None),
        ("POST", "/publisher/csns", CSN),
        ("POST", "/publisher/csns/revocations", CSN),
        ("POST", "/publisher/orders/s/confirmation", {"reference": "A-1"}),
        ("POST", "/publisher/orders/s/decline", {"reason": "no"}),
    ],
)
async def test_nobody_else_acts_for_a_publisher(market: Market, method: str, path: str, body: Any) -> None:
    for who in ("clerk", "mina"):
        await market.when(who, method, path, body).then_refused("publisher-only")


async def test_a_plan_is_listed_gets_a_price_from_a_day_on_and_is_withdrawn(market: Market) -> None:
    await market.when("publisher", "POST", "/publisher/plans", PLAN).then_ok()
    (listed,) = await rows(market, "/publisher/plans?q=NEWPLWW")
    assert (listed["product_id"], listed["publisher"], listed["listed"]) == ("NEWPL-WW0001-A001", "autodesk", True)
    price = {"price": euros(120_00), "valid_from": "2027-01-01"}
    await market.when("publisher", "POST", "/publisher/plans/newplww0001a001/prices", price).then_ok()
    (listed,) = await rows(market, "/publisher/plans?q=New")
    assert [(each["valid_from"], each["price"]["amount"]) for each in listed["prices"]] == [
        (None, 100_00),
        ("2027-01-01", 120_00),
    ]
    await market.when("clerk", "GET", "/catalogue/NEWPL-WW0001-A001").then_ok()
    await market.when("publisher", "DELETE", "/publisher/plans/NEWPL-WW0001-A001").then_ok()
    await market.when("clerk", "GET", "/catalogue/NEWPL-WW0001-A001").then_refused("plan-withdrawn")
    assert [each["product_id"] for each in await rows(market, "/publisher/plans?status=withdrawn&q=new")] == [
        "NEWPL-WW0001-A001"
    ]
    wrong = PLAN | {"product_id": "short"}
    await market.when("publisher", "POST", "/publisher/plans", wrong).then_refused("malformed-product-id")


async def test_the_tag_of_a_plan_is_good_for_a_command_about_it(market: Market) -> None:
    await market.when("publisher", "POST", "/publisher/plans", PLAN).then_ok()
    path, price = "/publisher/plans/NEWPL-WW0001-A001/prices", {"price": euros(120_00), "valid_from": "2027-01-01"}
    seen = await market.when("publisher", "GET", "/catalogue/NEWPL-WW0001-A001")
    assert seen.headers["ETag"].startswith('"plan-autodesk-NEWPLWW0001A001@1;')
    known = {"If-None-Match": seen.headers["ETag"]}
    assert (await market.when("publisher", "GET", "/catalogue/NEWPL-WW0001-A001", None, **known)).status_code == 304
    condition = {"If-Match": seen.headers["ETag"]}
    await market.when("publisher", "POST", path, price, **condition).then_ok()
    changed = await market.when("publisher", "GET", "/catalogue/NEWPL-WW0001-A001", None, **known)
    assert changed.headers["ETag"].startswith('"plan-autodesk-NEWPLWW0001A001@2;')
    await market.when("publisher", "DELETE", "/publisher/plans/NEWPL-WW0001-A001", None, **condition).then_refused(
        "version-changed"
    )


async def test_a_publisher_sees_nothing_of_anothers(market: Market) -> None:
    subscription = await market.ordered()
    assert await rows(market, "/publisher/plans", "other publisher") == []
    assert await rows(market, "/publisher/orders", "other publisher") == []
    path = f"/publisher/orders/{subscription}/decline"
    await market.when("other publisher", "POST", path, {"reason": "no"}).then_refused("unknown")
    taken = PLAN | {"product_id": AUTOCAD.product_id}
    await market.when("other publisher", "POST", "/publisher/plans", taken).then_ok()
    await market.when("other publisher", "DELETE", f"/publisher/plans/{AUTOCAD.product_id}").then_ok()
    await market.when("clerk", "GET", f"/catalogue/{AUTOCAD.product_id}?publisher=autodesk").then_ok()


async def test_a_csn_opens_specialised_plans_until_it_is_revoked(market: Market) -> None:
    assert [each["organisation_id"] for each in await rows(market, "/publisher/partners?q=other")] == ["other-reseller"]
    await market.when("publisher", "POST", "/publisher/csns", CSN).then_ok()
    await market.when("rival", "GET", f"/catalogue/{VAULT.product_id}").then_ok()
    (csn,) = await rows(market, "/publisher/csns?q=5100099999&status=valid")
    assert csn["organisation_name"] == "other-reseller Ltd"
    await market.when("publisher", "POST", "/publisher/csns/revocations", CSN | {"reason": "audit"}).then_ok()
    await market.when("rival", "GET", f"/catalogue/{VAULT.product_id}").then_refused("specialised-needs-csn")
    (csn,) = await rows(market, "/publisher/csns?status=revoked")
    assert csn["reason"] == "audit"
    await market.when("publisher", "POST", "/publisher/csns", CSN | {"csn": "x"}).then_refused("malformed-csn")


async def test_an_order_is_declined_with_a_reason_and_confirmed_when_it_comes_again(market: Market) -> None:
    subscription = await market.ordered(AUTOCAD_MONTHLY.product_id, seats=5)
    (order,) = await rows(market, "/publisher/orders?status=awaiting")
    assert (order["customer_name"], order["partner_name"], order["seats"]) == ("org Ltd", "reseller Ltd", 5)
    at, named = f"/publisher/orders/{subscription}", {"order": order["order"]}
    why = "The credit limit covers 4 seats."
    await market.when("publisher", "POST", f"{at}/decline", named | {"reason": why}).then_ok()
    (order,) = await rows(market, "/publisher/orders?status=failed")
    assert order["failure_reason"] == why
    await market.when("publisher", "POST", f"{at}/confirmation", {"reference": "A-1"}).then_refused("order-failed")
    await market.when("clerk", "POST", f"/subscriptions/{subscription}/resubmit", {"seats": 4}).then_ok()
    (order,) = await rows(market, "/publisher/orders?status=awaiting&q=org")
    answer = {"reference": "A-1", "order": order["order"]}
    dry = (await market.when("publisher", "POST", f"{at}/confirmation?dry_run=true", answer).then_ok())["events"]
    assert (dry[0]["type"], dry[0]["data"]["seats"]) == ("SubscriptionConfirmed", 4)
    await market.when("publisher", "POST", f"{at}/confirmation", answer).then_ok()
    shown = await market.when("clerk", "GET", f"/subscriptions/{subscription}").then_ok()
    assert (shown["status"], shown["publisher_reference"]) == ("confirmed", "A-1")
    assert shown["auto_renew"]["state"] == "on" and len(shown["instalments"]) == 12
