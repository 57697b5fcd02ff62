"""The marketplace's pages: a plan into the cart, the checkout, orders on their way, renewals and customers."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from services.console.pages.market.orders import as_far_as
from services.console.shapes.sales import Happening
from tests.console.fakes import ACCOUNT, CHANGED, Browser, Services, hidden, outcome, problem, words
from tests.console.samples.market import (
    CART,
    CUSTOMER,
    HISTORY,
    ORDER,
    ORDERED,
    OSKAR,
    PLAN,
    PRICED,
    STEPS,
    SUBSCRIPTION,
    found,
    listed,
)
from tests.console.samples.market import SAMPLES as PAGES
from tests.console.samples.portal import NO_REFUNDS

ID: Final = PLAN["product_id"]


def event(type_: str, **data: Any) -> httpx.Response:
    return outcome((type_, data))


@pytest.fixture
def services() -> Services:
    answers: dict[str, Any] = {
        "GET /me": found({**ACCOUNT, "organisation_kind": "partner"}),
        "POST /carts": event("CartOpened", cart_id="cart-1"),
        "POST /carts/cart-1/lines": event("CartLineAdded"),
        "DELETE /carts/cart-1/lines/1": event("CartLineRemoved"),
        "GET /carts/cart-1": found(CART),
        "GET /customers": listed(CUSTOMER),
        f"GET /catalogue/{ID}": found(PRICED),
        "POST /accounts/by-address": found({"items": [{"account_id": OSKAR}]}),
        **ORDER,
    }
    return Services(answers)


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


async def with_cart(browser: Browser) -> None:
    answer = await browser.send(f"/catalogue/{ID}", "", seats="3")
    assert answer.headers["location"] == "/cart?notice=in-cart"


def fields(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form with this action's button."""
    form = next(part for part in page.split("<form")[1:] if f'value="{action}"' in part)
    return {**hidden(form.partition("</form>")[0]), "action": action}


# ── Product ID and wizard ──────────────────────────────────────────────────────────────────────────────


async def test_a_product_id_is_recognised_as_the_catalogue_has_it(browser: Browser) -> None:
    page = await browser.get(f"/product-id?product_id={ID}")
    assert "Price a seat €2,275.00 for twelve months" in words(page.text)
    assert "From 1 Jan 2027 on €2,400.00" in words(page.text)
    assert 'hx-trigger="input changed delay:300ms"' in page.text


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("malformed-product-id", "reads 5-6-4"),
        ("plan-unknown", "The catalogue has no plan with this product ID."),
        ("plan-withdrawn", "does not offer this plan any more"),
        ("specialised-needs-csn", "it can be ordered with a valid CSN"),
    ],
)
async def test_a_product_id_that_names_no_plan_is_said_so(
    browser: Browser, services: Services, rule: str, said: str
) -> None:
    services.answers["GET /catalogue/X"] = problem(409, rule)
    assert said in words((await browser.get("/product-id?product_id=X")).text)


async def test_a_product_id_of_two_publishers_asks_which(browser: Browser, services: Services) -> None:
    services.answers[f"GET /catalogue/{ID}"] = problem(409, "selection-ambiguous")
    services.answers["GET /catalogue"] = listed(PLAN, {**PLAN, "publisher": "other"})
    page = await browser.get(f"/product-id?product_id={ID}")
    assert f'href="/product-id?product_id={ID}&amp;publisher=other"' in page.text
    assert services.of("GET", "/catalogue")[0].url.query == f"product_id={ID}".encode()


async def test_a_step_without_a_choice_is_asked_again(browser: Browser, services: Services) -> None:
    services.answers["GET /wizard"] = found(STEPS)
    page = await browser.get("/wizard?step=product&product=")
    assert "Choose one to go on." in words(page.text) and "Revit" in page.text


async def test_the_wizard_ends_with_seats_and_a_customer(browser: Browser, services: Services) -> None:
    services.answers["GET /wizard"] = found({**STEPS, "plans": 1, "plan": PLAN, "next": None})
    assert "Enter a number of seats" in words((await browser.get("/wizard?product=autocad&step=seats&seats=x")).text)
    page = await browser.get("/wizard?product=autocad&step=seats&seats=3")
    assert "For whom? Northhaus" in words(page.text)
    done = await browser.post("/wizard", None, **fields(page.text, "cust-1"), customer="cust-1")
    assert done.headers["location"] == "/cart?customer=cust-1&notice=in-cart"
    (line,) = services.bodies("POST", "/carts/cart-1/lines")
    assert line == {"product_id": ID, "seats": 3, "publisher": "autodesk", "customer": "cust-1"}


# ── The cart ───────────────────────────────────────────────────────────────────────────────────────────


async def test_an_empty_cart_says_what_to_do_first(browser: Browser) -> None:
    assert "Put a plan into it" in words((await browser.get("/cart")).text)


async def test_the_first_plan_opens_a_cart_and_the_next_goes_into_it(browser: Browser, services: Services) -> None:
    await with_cart(browser)
    await with_cart(browser)
    opened, line = services.of("POST", "/carts"), services.of("POST", "/carts/cart-1/lines")[0]
    assert len(opened) == 1
    assert opened[0].headers["idempotency-key"] != line.headers["idempotency-key"]


async def test_a_plan_that_does_not_fit_is_refused_where_it_was_chosen(browser: Browser, services: Services) -> None:
    services.answers["POST /carts/cart-1/lines"] = problem(409, "seats-out-of-range")
    answer = await browser.send(f"/catalogue/{ID}", "", seats="1000")
    assert answer.status_code == 422 and "1 to 999 seats" in words(answer.text)


async def test_the_cart_shows_what_the_checkout_would_refuse_at_its_line(browser: Browser, services: Services) -> None:
    await with_cart(browser)
    refusal = {"line": 1, "rule": "plan-changed", "reason": "r", "remedy": "m", "because": []}
    services.answers["GET /carts/cart-1"] = found({**CART, "refusals": [refusal]})
    page = words((await browser.get(f"/cart?customer=cust-1&purchaser={OSKAR}&starts=2026-11-29")).text)
    assert "This plan has changed since it was put into the cart" in page and "Then you can send it." in page


async def test_a_start_that_the_checkout_refuses_is_said_beside_it(browser: Browser, services: Services) -> None:
    await with_cart(browser)

    def cart(request: httpx.Request) -> httpx.Response:
        return problem(409, "start-too-far-ahead") if b"starts" in request.url.query else found(CART)

    services.answers["GET /carts/cart-1"] = cart
    page = (await browser.get("/cart?customer=cust-1&starts=2027-11-29")).text
    assert 'id="starts-error"' in page and "AutoCAD" in page


async def test_the_first_day_is_left_to_the_purchasers_own_today(browser: Browser, services: Services) -> None:
    """Between 23:00 and 24:00 UTC the day before was filled in, and refused for a purchaser in Berlin."""
    await with_cart(browser)
    page = (await browser.get("/cart?customer=cust-1")).text
    assert "2026-11-29" not in _first_day(page)
    given = fields(page, "check")
    checked = await browser.post("/cart", None, **given, email="o@northhaus.example", starts="")
    assert checked.headers["location"] == f"/cart?customer=cust-1&purchaser={OSKAR}"
    assert "2026-11-29" in _first_day((await browser.get(checked.headers["location"])).text)


def _first_day(page: str) -> str:
    found = re.search('<input[^>]* id="starts"[^>]*>|<input id="starts"[^>]*>', page)
    assert found
    return found[0]


async def test_the_purchaser_is_named_by_address(browser: Browser, services: Services) -> None:
    await with_cart(browser)
    given = fields((await browser.get("/cart?customer=cust-1")).text, "check")
    checked = await browser.post("/cart", None, **given, email="o@northhaus.example", starts="2026-12-01")
    assert checked.headers["location"] == f"/cart?customer=cust-1&purchaser={OSKAR}&starts=2026-12-01"
    (asked,) = services.bodies("POST", "/accounts/by-address")
    assert asked == {"items": [{"email": "o@northhaus.example"}], "organisation_id": "cust-1"}
    assert "Oskar Lindqvist" in (await browser.get(checked.headers["location"])).text
    services.answers["POST /accounts/by-address"] = found({"items": [{"account_id": None}]})
    again = await browser.post("/cart", None, **given, email="x@y.example", starts="2026-12-01")
    assert again.status_code == 422 and "Nobody at this customer has this e-mail address." in words(again.text)


async def test_the_checkout_is_asked_with_its_sums_and_then_done_once(browser: Browser, services: Services) -> None:
    services.answers["POST /carts/cart-1/checkout"] = event("CartCheckedOut")
    await with_cart(browser)
    page = (await browser.get(f"/cart?customer=cust-1&purchaser={OSKAR}&starts=2026-11-29")).text
    asked = await browser.post("/cart", None, **fields(page, "order"))
    said = words(asked.text)
    assert NO_REFUNDS in words(page) and NO_REFUNDS in said
    assert "Order this for Northhaus?" in said and "3 × AutoCAD: €6,825.00" in said and "can't be undone" in said
    (dry,) = services.of("POST", "/carts/cart-1/checkout")
    assert dry.url.query == b"dry_run=true"
    assert json.loads(dry.content) == {"customer": "cust-1", "purchaser": OSKAR, "starts": "2026-11-29"}
    done = await browser.post("/cart", None, **hidden(asked.text))
    assert done.headers["location"] == "/carts/cart-1?notice=ordered"
    assert "Your cart is empty" in (await browser.get("/cart")).text


async def test_the_cart_remembers_for_whom_it_is_until_another_customer_is_named(browser: Browser) -> None:
    await with_cart(browser)
    await browser.get(f"/cart?customer=cust-1&purchaser={OSKAR}&starts=2026-12-01")
    for at in ("/cart", "/cart?customer=cust-1"):
        assert "Oskar Lindqvist" in (await browser.get(at)).text
    assert "Oskar Lindqvist" not in (await browser.get("/cart?customer=cust-2")).text


async def test_a_line_is_removed(browser: Browser, services: Services) -> None:
    await with_cart(browser)
    page = (await browser.get("/cart?customer=cust-1")).text
    done = await browser.post("/cart", None, **fields(page, "remove"))
    assert done.headers["location"] == "/cart?customer=cust-1&notice=out-of-cart"
    assert len(services.of("DELETE", "/carts/cart-1/lines/1")) == 1


# ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_order_on_its_way_asks_for_news_until_the_publisher_has_answered(
    browser: Browser, services: Services
) -> None:
    services.answers["GET /carts/cart-1"] = found(ORDERED)
    services.answers["GET /subscriptions/sub-1"] = problem(404, "unknown")
    page = (await browser.get("/carts/cart-1")).text
    assert 'hx-get="/carts/cart-1?seen=sent" hx-trigger="every 2s"' in page and 'aria-live="polite"' in page
    assert (await browser.get("/carts/cart-1?seen=sent")).status_code == 204
    services.answers["GET /subscriptions/sub-1"] = found(SUBSCRIPTION)
    page = (await browser.get("/carts/cart-1?seen=sent")).text
    assert "every 2s" not in page and "confirmed" in words(page)


async def test_an_order_shows_its_history_by_name(browser: Browser, services: Services) -> None:
    services.answers["GET /subscriptions/sub-1"] = found({**SUBSCRIPTION, "status": "awaiting"})
    page = (await browser.get("/orders/sub-1")).text
    assert "Sent to the publisher" in page and "Oskar Lindqvist" in page and "every 2s" in page
    services.answers["GET /subscriptions/sub-1/history"] = problem(403, "no-access")
    assert "Nothing has happened yet." in (await browser.get("/orders/sub-1")).text
    services.answers["GET /subscriptions/sub-1/history"] = HISTORY


async def test_a_history_does_not_run_ahead_of_the_order_that_is_shown(browser: Browser, services: Services) -> None:
    """It is the log's, while the order is a table's that follows."""
    services.answers["GET /subscriptions/sub-1"] = found({**SUBSCRIPTION, "status": "awaiting"})
    said = words((await browser.get("/orders/sub-1")).text)
    assert "Sent to the publisher" in said and "Confirmed by the publisher" not in said
    services.answers["GET /subscriptions/sub-1"] = found(SUBSCRIPTION)
    services.asked.clear()
    assert "Confirmed by the publisher" in words((await browser.get("/orders/sub-1")).text)
    asked = [each.url.path for each in services.asked]
    assert asked.index("/subscriptions/sub-1/history") < asked.index("/subscriptions/sub-1")


@pytest.mark.parametrize(
    ("state", "happened", "told"),
    [
        ("failed", "Ordered Failed Ordered", 2),
        ("awaiting", "Ordered Failed Ordered", 3),
        ("confirmed", "Ordered Confirmed Added Ended", 3),
        ("ended", "Ordered Confirmed Added", 3),
        ("awaiting", "", 0),
    ],
)
def test_a_history_is_told_up_to_the_state_that_is_shown(state: str, happened: str, told: int) -> None:
    types = {"Failed": "SubscriptionOrderFailed", "Added": "SeatsAdded"}
    entries = [
        Happening(
            at=datetime(2026, 11, 29, tzinfo=UTC), actor="a", type=types.get(each, f"Subscription{each}"), event_id=each
        )
        for each in happened.split()
    ]
    assert len(as_far_as(state, entries)) == told


FAILED: Final = {**SUBSCRIPTION, "status": "failed", "failure_reason": "The address is incomplete.", "auto_renew": None}


@pytest.mark.parametrize(
    ("action", "at", "entered", "body"),
    [
        ("resend", "resubmit", {"starts": "2026-12-01", "seats": "4"}, {"starts": "2026-12-01", "seats": 4}),
        ("abandon", "abandon", {"reason": "bought elsewhere"}, {"reason": "bought elsewhere"}),
    ],
)
async def test_a_declined_order_is_sent_again_or_given_up(
    browser: Browser, services: Services, action: str, at: str, entered: dict[str, str], body: dict[str, Any]
) -> None:
    services.answers["GET /subscriptions/sub-1"] = found(FAILED)
    services.answers[f"POST /subscriptions/sub-1/{at}"] = event("SubscriptionOrdered", seats=4, starts="2026-12-01")
    page = (await browser.get("/orders/sub-1")).text
    assert "The address is incomplete." in page
    asked = await browser.post("/orders/sub-1", None, **fields(page, action), **entered)
    done = await browser.post("/orders/sub-1", None, **hidden(asked.text))
    assert done.status_code == 303 and done.headers["location"].startswith("/orders/sub-1?notice=")
    assert services.bodies("POST", f"/subscriptions/sub-1/{at}") == [body] * 3


async def test_more_seats_show_their_price_before_they_are_added(browser: Browser, services: Services) -> None:
    added = {"added": 2, "seats": 5, "instalment": {"number": 2, "due": "2026-11-29", "amount": PLAN["price"]}}
    services.answers["PUT /subscriptions/sub-1/seats"] = event("SeatsAdded", **added)
    page = (await browser.get("/orders/sub-1")).text
    asked = await browser.post("/orders/sub-1", None, **fields(page, "seats"), seats="5")
    assert "2 more seats at once, 5 in all. They cost €2,275.00, due on 29 Nov 2026." in words(asked.text)
    services.answers["PUT /subscriptions/sub-1/seats"] = problem(409, "no-next-term")
    refused = await browser.post("/orders/sub-1", None, **hidden(asked.text))
    assert refused.status_code == 422 and "there is no next term" in words(refused.text)


async def test_a_request_for_seats_is_confirmed_or_declined_with_a_reason(browser: Browser, services: Services) -> None:
    at = "/subscriptions/sub-1/seats-requests/r-1"
    services.answers |= {f"POST {at}/confirmation": event("SeatsRequestConfirmed"), f"POST {at}/decline": event("D")}
    page = (await browser.get("/orders/sub-1")).text
    assert "5 seats in all instead of 3." in words(page)
    for action, entered, body in (("confirm", {}, {}), ("decline", {"reason": "too dear"}, {"reason": "too dear"})):
        asked = await browser.post("/orders/sub-1", None, **fields(page, action), **entered)
        await browser.post("/orders/sub-1", None, **hidden(asked.text))
        path = f"{at}/{'confirmation' if action == 'confirm' else 'decline'}"
        assert services.bodies("POST", path) == [body] * 3


async def test_an_order_shows_what_its_end_would_mean_and_who_supports_whom(browser: Browser) -> None:
    page = words((await browser.get("/orders/sub-1")).text)
    assert "It would end on 28 Nov 2027" in page and "In the way Seat 1: Oskar Lindqvist" in page
    assert "You owe Northhaus support. The distributor and the publisher support you alone." in page


async def test_a_refusal_of_the_seat_pool_names_the_users(browser: Browser, services: Services) -> None:
    refused = {"reason": "r", "held": [{"seat": 2, "account_id": OSKAR, "because": None}]}
    renewing = {**SUBSCRIPTION["auto_renew"], "refused": refused}
    services.answers["GET /subscriptions/sub-1"] = found({**SUBSCRIPTION, "auto_renew": renewing})
    assert "Seat 2: Oskar Lindqvist" in words((await browser.get("/orders/sub-1")).text)


async def test_declined_orders_are_sent_again_or_given_up_together(browser: Browser, services: Services) -> None:
    failed = {**SUBSCRIPTION, "status": "failed", "failure_reason": "no credit"}
    services.answers["GET /orders"] = listed(failed, {**SUBSCRIPTION, "subscription_id": "sub-2"})
    page = (await browser.get("/orders?status=failed")).text
    assert page.count('name="chosen[]"') == 1, "only what was declined is chosen"
    none = await browser.post("/orders", None, **fields(page, "resend"))
    assert none.status_code == 422 and "Choose at least one declined order." in words(none.text)
    items = {"items": [{"line": 2, "status": 200, "answer": CHANGED}], "accepted": 1, "dry_run": True}
    for action, path, entered, line in (
        ("resend", "resubmit", {"starts": "2026-12-01", "reason": ""}, "starts\nsub-1,2026-12-01"),
        ("abandon", "abandon", {"starts": "", "reason": "no credit, again"}, 'reason\nsub-1,"no credit, again"'),
    ):
        services.answers[f"POST /subscriptions/{path}/bulk"] = found(items)
        chosen = {"chosen[]": "sub-1"}
        shown = await browser.post("/orders", None, **fields(page, action), **entered, **chosen)
        assert "Northhaus: AutoCAD accepted" in words(shown.text)
        (dry,) = services.of("POST", f"/subscriptions/{path}/bulk")
        assert dry.content.decode() == f"subscription_id,{line}\n" and dry.url.query == b"dry_run=true"
        await browser.post("/orders", None, **hidden(shown.text), **chosen)
        done = services.of("POST", f"/subscriptions/{path}/bulk")[-1]
        assert done.content == dry.content and done.url.query == b""


async def test_open_carts_are_gone_on_with_or_discarded(browser: Browser, services: Services) -> None:
    services.answers |= PAGES["/carts"].answers
    page = (await browser.get("/carts?q=revit")).text
    assert "AutoCAD, AutoCAD LT, Revit and 1 more" in words(page) and "Oskar Lindqvist" in page
    query = services.of("GET", "/carts")[0].url.params
    assert (query["status"], query["q"]) == ("open", "revit")
    resumed = await browser.get("/carts/cart-1")
    assert resumed.headers["location"] == "/cart"
    assert "yours now" in words((await browser.get("/carts")).text)
    services.answers["DELETE /carts/cart-1"] = event("CartDiscarded")
    asked = await browser.post("/carts", None, **hidden(page))
    assert "Discard this cart?" in words(asked.text)
    done = await browser.post("/carts", None, **hidden(asked.text))
    assert done.headers["location"] == "/carts?notice=discarded"
    sent = [each.url.query for each in services.of("DELETE", "/carts/cart-1")]
    assert sent == [b"dry_run=true", b"dry_run=true", b""]
    assert "Your cart is empty" in (await browser.get("/cart")).text


# ── Renewals and customers ─────────────────────────────────────────────────────────────────────────────


async def test_renewals_are_grouped_by_month_and_turned_off_together(browser: Browser, services: Services) -> None:
    services.answers |= PAGES["/renewals"].answers
    page = (await browser.get("/renewals?month=2027-11")).text
    assert "November 2027 1 0 3 €6,825.00" in words(page)
    query = services.of("GET", "/subscriptions")[0].url.params
    assert (query["ends_from"], query["ends_before"], query["sort"]) == ("2027-11-01", "2027-12-01", "ends")
    previewed = {"items": [{"line": 2, "status": 200, "answer": CHANGED}], "accepted": 1, "dry_run": True}
    services.answers["POST /subscriptions/disable-auto-renew/bulk"] = found(previewed)
    none = await browser.post("/renewals", None, **fields(page, "turn-off"))
    assert none.status_code == 422 and "Choose at least one subscription" in words(none.text)
    shown = await browser.post("/renewals", None, **fields(page, "turn-off"), **{"chosen[]": "sub-1"})
    assert "Northhaus: AutoCAD accepted" in words(shown.text)
    (asked,) = services.of("POST", "/subscriptions/disable-auto-renew/bulk")
    assert asked.content == b"subscription_id\nsub-1\n" and asked.url.query == b"dry_run=true"


async def test_a_part_that_is_not_shown_leaves_the_customers_page_whole(browser: Browser, services: Services) -> None:
    services.answers |= PAGES["/customers/{customer}"].answers
    page = words((await browser.get("/customers/cust-1")).text)
    assert "Pools of seats" in page and "Purchasers so far Oskar Lindqvist" in page
    services.answers["GET /pools"] = problem(403, "no-access")
    page = words((await browser.get("/customers/cust-1")).text)
    assert "Pools of seats" not in page and "AutoCAD" in page
    services.answers["GET /customers"] = listed()
    assert (await browser.get("/customers/cust-9")).status_code == 404
