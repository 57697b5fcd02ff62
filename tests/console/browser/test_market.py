"""A partner's ways through the marketplace's pages: an order by the wizard, and one by product ID."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from shared.services import url_variable
from tests.console.browser.conftest import Site
from tests.console.browser.hands import BY_HAND, Hand, Mouse, eventually, sign_in
from tests.console.browser.looking import evaluates, look
from tests.console.browser.publisher import AnsweringPublisher

if TYPE_CHECKING:
    from playwright.sync_api import Page

PASSWORD: Final = "quartz lamp river onion"
PRODUCT_ID: Final = "C1RK1-WW1762-L158"


@dataclass(frozen=True)
class Trade:
    """A partner's clerk, and a customer that has engaged the partner, with its purchaser."""

    clerk: str
    customer: str
    purchaser: str


def sign_up(url: str, person: str, email: str, **organisation: str) -> dict[str, Any]:
    body = {"email": email, "password": PASSWORD, "name": person, "country": "DE", "organisation": organisation}
    zone = {"time_zone": "Europe/Berlin", "locale": "en-GB"}
    answer = httpx.post(f"{url}/accounts", json=body | zone, headers={"Idempotency-Key": secrets.token_hex(16)})
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()["session"]
    return session


@pytest.fixture(scope="module")
def publisher(site: Site) -> Iterator[AnsweringPublisher]:
    made = AnsweringPublisher(site.env)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def trade(site: Site, publisher: AnsweringPublisher) -> Trade:
    identity, marketplace = (site.env[url_variable(each)] for each in ("identity", "marketplace"))
    run = secrets.token_hex(4)
    made = Trade(f"clara.{run}@cadworks.example", f"Northhaus {run}", f"oskar.{run}@northhaus.example")
    clerk = sign_up(identity, "Clara Reyes", made.clerk, name="Cadworks", kind="partner")
    buyer = sign_up(identity, "Oskar Lindqvist", made.purchaser, name=made.customer, kind="customer")
    as_buyer, as_clerk = ({"Authorization": f"Bearer {each['access_token']}"} for each in (buyer, clerk))

    def engaged() -> bool:
        path = f"{marketplace}/partners/{clerk['organisation_id']}"
        return httpx.put(path, headers={**as_buyer, "Idempotency-Key": secrets.token_hex(16)}).is_success

    def known() -> bool:
        asked = {"items": [{"email": made.purchaser}], "organisation_id": buyer["organisation_id"]}
        answer = httpx.post(f"{identity}/accounts/by-address", json=asked, headers=as_clerk)
        return answer.is_success and answer.json()["items"][0]["account_id"] is not None

    eventually(engaged, "the customer engages the partner")
    eventually(known, "the engagement reaches identity")
    eventually(lambda: httpx.get(f"{marketplace}/catalogue/{PRODUCT_ID}", headers=as_clerk).is_success, "the catalogue")
    publisher.customers.add(buyer["organisation_id"])
    return made


def check_out(page: "Page", hand: Hand, trade: Trade) -> None:
    """From the cart to the page of its orders."""
    hand.enter("#email", trade.purchaser)
    hand.press("button[value=check]")
    page.wait_for_url("**purchaser=**")
    hand.look("cart-checked")
    hand.press("button[value=order]")
    page.wait_for_selector("button.grave")
    hand.look("cart-confirm")
    hand.press("button.grave")
    page.wait_for_url("**/carts/*")


def wait_for_confirmation(page: "Page") -> None:
    """It arrives by itself; without JavaScript, when the page is loaded again."""
    if evaluates(page):
        page.evaluate("window.stayed = true")
        page.wait_for_selector("#live .tag.good", timeout=60_000)
        assert page.evaluate("window.stayed") is True
        return
    for _ in range(60):
        page.reload()
        if page.locator("#live .tag.good").count():
            return
        page.wait_for_timeout(1_000)
    raise AssertionError("the order is not confirmed")


@BY_HAND
def test_an_order_by_the_wizard_is_confirmed_while_one_looks(page: "Page", hand: Hand, trade: Trade) -> None:
    sign_in(page, hand, trade.clerk, PASSWORD)
    hand.press("nav >> text=Catalogue")
    page.wait_for_url("**/catalogue")
    hand.press("main a[href='/wizard']")
    page.wait_for_url("**/wizard")
    hand.choose("#choice", "AutoCAD including specialized toolsets")
    hand.press("button.main")
    page.wait_for_selector("input[value=annual]")
    hand.press("input[value=annual]")
    hand.look("wizard-period")
    hand.press("button.main")
    page.wait_for_selector("input[value=advanced]")
    hand.press("input[value=advanced]")
    hand.press("button.main")
    hand.enter("#seats", "3")
    hand.press("button.main")
    page.wait_for_selector(f"label:has-text('{trade.customer}')")
    hand.look("wizard-customer")
    hand.press(f"label:has-text('{trade.customer}') input")
    hand.press("main form[method=post] button.main")
    page.wait_for_url("**/cart?**")
    hand.look("cart")
    check_out(page, hand, trade)
    assert "waits for the publisher" in page.inner_text("main") or "on its way" in page.inner_text("main")
    hand.look("ordered")
    wait_for_confirmation(page)
    hand.press("#live tbody a")
    page.wait_for_selector("#history")
    assert "Confirmed by the publisher" in page.inner_text("main") and "Clara Reyes" in page.inner_text("main")
    hand.look("order")


@BY_HAND
def test_an_order_by_product_id_is_confirmed_while_one_looks(page: "Page", hand: Hand, trade: Trade) -> None:
    sign_in(page, hand, trade.clerk, PASSWORD)
    page.goto("/product-id")
    hand.enter("#product_id", PRODUCT_ID.replace("-", ""))
    if not evaluates(page):
        hand.press("main form[role=search] button")
    page.wait_for_selector("#found h2")
    assert "for twelve months" in page.inner_text("#recognised")
    hand.look("product-id")
    hand.enter("#seats", "2")
    hand.press("#recognised button.main")
    page.wait_for_url("**/cart?**")
    hand.press("#whom + dl a")
    page.wait_for_url("**/cart/customer")
    hand.press(f"text={trade.customer}")
    page.wait_for_url("**/cart?customer=**")
    check_out(page, hand, trade)
    wait_for_confirmation(page)


@pytest.mark.parametrize("page", ["with-javascript"], indirect=True)
def test_the_lists_of_a_partner(page: "Page", trade: Trade) -> None:
    sign_in(page, Mouse(page), trade.clerk, PASSWORD)
    for at in ("/customers", "/catalogue", "/orders", "/renewals", "/requests-for-seats", "/cart"):
        page.goto(at)
        look(page, f"market{at.replace('/', '-')}")
