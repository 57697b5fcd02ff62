"""Carts, from the first line to the checkout, over a real database."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from shared.events import (
    AccountClosed,
    CsnRevoked,
    Money,
    OrderConfirmed,
    PlanListed,
    PlanPriceAnnounced,
    PlanWithdrawn,
)
from tests.examples.marketplace import AUTOCAD, AUTOCAD_MONTHLY, LT, VAULT
from tests.services.market import GONE, ORDER, Market, csn, euros

pytestmark = pytest.mark.system


async def test_a_cart_is_looked_at_whole_before_it_is_ordered(market: Market) -> None:
    cart = await market.cart(("c1rk1-ww1762-l158", 2))
    lines = f"/carts/{cart}/lines"
    by_wizard = {"product": "autocad", "period": "monthly", "seats": 3}
    await market.when("clerk", "POST", lines, by_wizard).then_ok()
    assert (await market.when("clerk", "POST", lines, by_wizard).then_ok())["events"] == [], "it is in there already"
    await market.when("clerk", "POST", lines, {"product": "autocad", "seats": 1}).then_refused("selection-ambiguous")
    await market.when("clerk", "POST", lines, {"product": "vault", "seats": 1}).then_refused("specialised-needs-csn")
    gone = await market.when("clerk", "POST", lines, {"product_id": GONE.product_id, "seats": 1}).then_refused(
        "plan-withdrawn"
    )
    assert len(gone["because"]) == 1
    await market.when("clerk", "POST", lines, {"product_id": LT.product_id, "seats": 1}).then_ok()
    await market.when("clerk", "DELETE", f"{lines}/3").then_ok()
    assert (await market.when("clerk", "DELETE", f"{lines}/3").then_ok())["events"] == [], "it is out already"
    await market.when("clerk", "DELETE", f"{lines}/9").then_refused("line-unknown")
    await market.when("clerk", "DELETE", f"{lines}/last").then_refused("unknown")

    seen = await market.when("clerk", "GET", f"/carts/{cart}").then_ok()
    parts = [(each["line"], each["seats"], each["total"]["amount"], len(each["instalments"])) for each in seen["lines"]]
    assert parts == [(1, 2, 455_000, 1), (2, 3, 720_003, 12)]
    assert (seen["status"], seen["total"], seen["customer"]) == ("open", euros(1_175_003), None)
    assert "12 months" in seen["commitment"] and "5 business days" in seen["commitment"]
    assert "not refunded" in seen["refunds"]

    would = await market.when("clerk", "POST", f"/carts/{cart}/checkout?dry_run=true", ORDER).then_ok()
    assert (await market.when("clerk", "GET", "/orders").then_ok())["items"] == [], "a dry run orders nothing"
    assert (await market.when("clerk", "GET", f"/carts/{cart}").then_ok())["status"] == "open"
    done = await market.when("clerk", "POST", f"/carts/{cart}/checkout", ORDER).then_ok()
    wanted, real = (each["events"][0]["data"] for each in (would, done))
    for data in (wanted, real):
        data["lines"] = [line | {"subscription_id": ""} for line in data["lines"]]
    assert wanted == real and real["total"] == euros(1_175_003)

    seen = await market.when("clerk", "GET", f"/carts/{cart}").then_ok()
    assert (seen["status"], seen["customer"], seen["starts"]) == ("checked-out", "org", "2026-11-23")
    orders = (await market.when("clerk", "GET", "/orders").then_ok())["items"]
    assert {line["subscription_id"] for line in seen["lines"]} == {order["subscription_id"] for order in orders}
    after = await market.when("clerk", "POST", lines, {"product_id": LT.product_id, "seats": 1}).then_refused(
        "cart-checked-out"
    )
    assert after["because"] == [done["events"][0]["id"]]
    await market.when("clerk", "DELETE", f"{lines}/1").then_refused("cart-checked-out")


async def test_a_cart_says_whether_its_order_opens_the_customers_contract(market: Market) -> None:
    cart = await market.cart((AUTOCAD.product_id, 1), (LT.product_id, 1))
    path = f"/carts/{cart}"

    async def opens() -> list[bool | None]:
        seen = await market.when("clerk", "GET", f"{path}?customer=org").then_ok()
        return [line["opens_contract"] for line in seen["lines"]]

    vague = await market.when("clerk", "GET", path).then_ok()
    assert [line["opens_contract"] for line in vague["lines"]] == [None, None]
    assert await opens() == [True, True]
    waiting = await market.ordered()
    assert await opens() == [True, True], "no contract is opened before the publisher confirms"
    await market.publisher(OrderConfirmed(subscription_id=waiting, reference="A-1"))
    assert await opens() == [False, False]


async def test_before_checkout_a_cart_shows_what_its_subscriptions_will_be(market: Market) -> None:
    await market.publisher(csn())
    cart = await market.cart((AUTOCAD_MONTHLY.product_id, 3), (VAULT.product_id, 1))
    path, starts = f"/carts/{cart}", "2026-12-01"
    named = f"?customer=org&purchaser=mina&starts={starts}"

    vague = await market.when("clerk", "GET", path).then_ok()
    assert (vague["starts"], vague["lines"][0]["cancel_by"]) == ("2026-11-23", None)
    assert ["2026-11-23" in vague["assumed"][0], "no purchaser" in vague["assumed"][1]] == [True, True]
    assert vague["lines"][0]["term"] == {"number": 1, "starts": "2026-11-23", "ends": "2027-11-22"}
    shown = await market.when("clerk", "GET", path + named).then_ok()
    assert (shown["customer"], shown["purchaser"], shown["starts"], shown["assumed"]) == ("org", "mina", starts, [])
    assert [part["due"] for part in shown["lines"][0]["instalments"]][:2] == ["2026-12-01", "2027-01-01"]
    assert sum(part["amount"]["amount"] for part in shown["lines"][0]["instalments"]) == 720_003
    assert shown["lines"][1]["csn"] == "5100012345"
    assert shown["lines"][0]["cancel_by"]["last_day"] == "2027-11-23"

    await market.when("clerk", "POST", f"{path}/checkout", ORDER | {"starts": starts}).then_ok()
    ordered = await market.when("clerk", "GET", path).then_ok()
    subscriptions = [line.pop("subscription_id") for line in ordered["lines"]]
    expected = [{k: v for k, v in line.items() if k != "subscription_id"} for line in shown["lines"]]
    assert ordered["lines"] == [{**line, "opens_contract": None} for line in expected]
    for subscription, line in zip(subscriptions, shown["lines"], strict=True):
        await market.publisher(OrderConfirmed(subscription_id=subscription, reference="A-1"))
        found = await market.when("clerk", "GET", f"/subscriptions/{subscription}").then_ok()
        assert {part.pop("falls") for part in found["instalments"]} == {"ahead"}
        for what in ("plan", "seats", "total", "term", "instalments", "csn"):
            assert found[what] == line[what], what
        assert found["auto_renew"]["cancel_by"] == line["cancel_by"]


async def test_what_the_checkout_would_refuse_is_refused_before_it(market: Market) -> None:
    path = f"/carts/{await market.cart((AUTOCAD.product_id, 1))}"
    for query, rule in (
        ("starts=2026-11-22", "start-in-the-past"),
        ("starts=8999-12-31", "start-too-far-ahead"),
        ("customer=org&purchaser=nobody", "purchaser-unknown"),
        ("purchaser=mina", "purchaser-unknown"),
        ("customer=reseller&purchaser=clerk", "not-a-customer"),
    ):
        await market.when("clerk", "GET", f"{path}?{query}").then_refused(rule)
    for wrong in ("starts=tomorrow", "starts=0001-01-01", "starts=1700000000", "customer=%00", "purchaser=a%20b"):
        await market.when("clerk", "GET", f"{path}?{wrong}").then_refused("malformed")
    await market.clock(datetime(2027, 6, 1, 12, tzinfo=UTC))
    assert (await market.when("clerk", "GET", f"{path}?customer=org").then_ok())["starts"] == "2027-06-01", (
        "the customer's day"
    )


async def test_carts_are_a_partners_and_nobody_elses(market: Market) -> None:
    cart = await market.cart((AUTOCAD.product_id, 1))
    body: dict[str, Any] = {"product_id": LT.product_id, "seats": 1}
    doors = [
        ("POST", f"/carts/{cart}/lines", body),
        ("DELETE", f"/carts/{cart}/lines/1", None),
        ("POST", f"/carts/{cart}/checkout", ORDER),
        ("GET", f"/carts/{cart}", None),
    ]
    for method, path, sent in [*doors, ("POST", "/carts", None), ("GET", "/orders", None)]:
        await market.when("mina", method, path, sent).then_refused("partner-only")
    for method, path, sent in doors:
        await market.when("rival", method, path, sent).then_refused("unknown")
        await market.when("clerk", method, path.replace(cart, "no-such"), sent).then_refused("unknown")
        await market.when("clerk", method, path.replace(cart, "no%20such"), sent).then_refused("malformed")
    assert len((await market.when("clerk", "GET", f"/carts/{cart}").then_ok())["lines"]) == 1
    unknown = ORDER | {"purchaser": "nobody"}
    await market.when("clerk", "POST", f"/carts/{cart}/checkout", unknown).then_refused("purchaser-unknown")
    wrong = await market.when(
        "clerk", "POST", f"/carts/{cart}/checkout", {**ORDER, "customer": "reseller", "purchaser": "clerk"}
    ).then_refused("not-a-customer")
    assert len(wrong["because"]) == 1


async def test_an_account_that_was_closed_is_no_purchaser(market: Market) -> None:
    cart = await market.cart((AUTOCAD.product_id, 1))
    closed = AccountClosed(account_id="mina", organisation_id="org", closed_by="mina")
    await market.hears("identity", "account-mina", closed)
    for method, path in (
        ("GET", f"/carts/{cart}?customer=org&purchaser=mina"),
        ("POST", f"/carts/{cart}/checkout?dry_run=true"),
        ("POST", f"/carts/{cart}/checkout"),
    ):
        gone = await market.when("clerk", method, path, ORDER if method == "POST" else None).then_refused(
            "purchaser-closed"
        )
        assert gone["because"] == [market.world.of("account-mina", "AccountClosed")]
    assert (await market.when("clerk", "GET", f"/carts/{cart}").then_ok())["status"] == "open"


async def test_a_cart_is_shown_as_the_checkout_decides(market: Market) -> None:
    await market.publisher(csn())
    cart = await market.cart((AUTOCAD.product_id, 2), (VAULT.product_id, 1), (LT.product_id, 1))
    path, lines = f"/carts/{cart}", f"/carts/{cart}/lines"

    async def refused() -> list[tuple[int | None, str]]:
        seen = await market.when("clerk", "GET", path).then_ok()
        found = [(each["line"], each["rule"]) for each in seen["refusals"]]
        if found:
            told = await market.when("clerk", "POST", f"{path}/checkout?dry_run=true", ORDER).then_refused(found[0][1])
            first = seen["refusals"][0]
            assert (told["detail"], told["remedy"], told["because"]) == (
                first["reason"],
                first["remedy"],
                first["because"],
            )
        return found

    assert await refused() == []
    await market.publisher(csn(CsnRevoked))
    assert await refused() == [(2, "specialised-needs-csn")]
    await market.publisher(PlanListed(plan=AUTOCAD.model_copy(update={"price": Money(amount=240_000, currency="EUR")})))
    assert await refused() == [(1, "plan-changed"), (2, "specialised-needs-csn")]
    await market.publisher(PlanWithdrawn(product_id=LT.product_id, publisher="autodesk"))
    assert await refused() == [(1, "plan-changed"), (2, "specialised-needs-csn"), (3, "plan-withdrawn")]

    seen = await market.when("clerk", "GET", path).then_ok()
    dearer = seen["lines"][0]
    assert (dearer["price_when_added"], dearer["price_a_seat"]) == (euros(227_500), euros(240_000))
    assert (dearer["total"], dearer["instalments"][0]["amount"]) == (euros(480_000), euros(480_000))
    assert seen["total"] == euros(480_000 + VAULT.price.amount + LT.price.amount)

    await market.when("clerk", "POST", lines, {"product_id": AUTOCAD.product_id, "seats": 2}).then_ok()
    for line in (2, 3):
        await market.when("clerk", "DELETE", f"{lines}/{line}").then_ok()
    assert await refused() == []
    await market.when("clerk", "POST", f"{path}/checkout", ORDER).then_ok()
    ordered = await market.when("clerk", "GET", path).then_ok()
    assert [(line["line"], line["total"]) for line in ordered["lines"]] == [(1, euros(480_000))]


async def test_a_cart_has_the_price_of_the_customers_day(market: Market) -> None:
    cart = await market.cart((AUTOCAD.product_id, 1))
    dearer = PlanPriceAnnounced(
        product_id=AUTOCAD.product_id,
        publisher="autodesk",
        price=Money(amount=240_000, currency="EUR"),
        valid_from=date(2027, 1, 1),
    )
    await market.publisher(dearer)
    await market.clock(datetime(2027, 6, 1, 12, tzinfo=UTC))
    now = await market.when("clerk", "GET", f"/carts/{cart}").then_ok()
    assert (now["total"], now["refusals"]) == (euros(227_500), [])
    theirs = await market.when("clerk", "GET", f"/carts/{cart}?customer=org").then_ok()
    assert (theirs["total"], [each["rule"] for each in theirs["refusals"]]) == (euros(240_000), ["plan-changed"])


async def test_an_empty_cart_says_that_it_is_no_order(market: Market) -> None:
    cart = await market.cart()
    seen = await market.when("clerk", "GET", f"/carts/{cart}").then_ok()
    assert (seen["total"], [(each["line"], each["rule"]) for each in seen["refusals"]]) == (
        None,
        [(None, "cart-empty")],
    )


async def test_a_partners_carts_are_found_gone_on_with_and_discarded(market: Market) -> None:
    async def found(query: str, who: str = "clerk") -> list[str]:
        return [each["cart_id"] for each in (await market.when(who, "GET", f"/carts?{query}").then_ok())["items"]]

    empty, two, sold = await market.cart(), await market.cart((LT.product_id, 2), (AUTOCAD.product_id, 1)), ""
    sold = await market.cart((AUTOCAD.product_id, 3))
    await market.when("clerk", "POST", f"/carts/{sold}/checkout", ORDER).then_ok()
    by = {
        "sort=opened_at": [empty, two, sold],
        "status=open&sort=opened_at": [empty, two],
        "status=checked-out": [sold],
        f"q={LT.product_id}": [two],
        f"q={AUTOCAD.product_id[:6]}&status=open": [two],
        "opened_by=clerk&status=open&sort=-opened_at": [two, empty],
        "opened_by=nobody": [],
    }
    for query, expected in by.items():
        assert await found(query) == expected, query
    assert await found("", "rival") == []
    await market.when("mina", "GET", "/carts").then_refused("partner-only")
    (shown,) = (await market.when("clerk", "GET", f"/carts?q={LT.product_id}").then_ok())["items"]
    assert (shown["lines"], shown["seats"], shown["publisher"]) == (2, 3, "autodesk")
    assert (shown["products"], shown["total"]) == (
        [LT.product_name, AUTOCAD.product_name],
        euros(2 * LT.price.amount + AUTOCAD.price.amount),
    )
    await market.when("rival", "DELETE", f"/carts/{two}").then_refused("unknown")
    await market.when("clerk", "DELETE", f"/carts/{sold}").then_refused("cart-checked-out")
    (event,) = (await market.when("clerk", "DELETE", f"/carts/{two}").then_ok())["events"]
    assert (event["type"], event["data"]["discarded_by"]) == ("CartDiscarded", "clerk")
    assert (await found("status=open"), await found("status=discarded")) == ([empty], [two])
    for method, path, body in (("GET", "", None), ("POST", "/checkout", ORDER)):
        refused = await market.when("clerk", method, f"/carts/{two}{path}", body).then_refused("cart-discarded")
        assert refused["because"] == [event["id"]]
