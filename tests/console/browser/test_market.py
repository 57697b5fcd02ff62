"""A partner's ways through the marketplace's pages: an order by the wizard, and one by product ID."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from shared.services import url_variable
from tests.console.browser.conftest import Site
from tests.console.browser.looking import evaluates, look, press_to
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


def eventually(found: Callable[[], bool], what: str) -> None:
    for _ in range(300):
        if found():
            return
        time.sleep(0.2)
    raise AssertionError(what)


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


def sign_in(page: "Page", trade: Trade) -> None:
    page.goto("/sign-in")
    page.fill("#email", trade.clerk)
    page.fill("#password", PASSWORD)
    page.click("button.main")
    page.wait_for_url("**/")


def check_out(page: "Page", trade: Trade) -> None:
    """From the cart to the page of its orders."""
    page.fill("#email", trade.purchaser)
    page.click("button[value=check]")
    page.wait_for_url("**purchaser=**")
    look(page, "cart-checked")
    page.click("button[value=order]")
    page.wait_for_selector("button.grave")
    look(page, "cart-confirm")
    page.click("button.grave")
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


def test_an_order_by_the_wizard_is_confirmed_while_one_looks(page: "Page", trade: Trade) -> None:
    sign_in(page, trade)
    page.goto("/wizard")
    page.select_option("#choice", "autocad")
    page.click("button.main")
    page.check("input[value=annual]")
    look(page, "wizard-period")
    page.click("button.main")
    page.check("input[value=advanced]")
    page.click("button.main")
    page.fill("#seats", "3")
    page.click("button.main")
    look(page, "wizard-customer")
    page.check(f"label:has-text('{trade.customer}') input")
    page.click("main form[method=post] button.main")
    page.wait_for_url("**/cart?**")
    look(page, "cart")
    check_out(page, trade)
    assert "waits for the publisher" in page.inner_text("main") or "on its way" in page.inner_text("main")
    look(page, "ordered")
    wait_for_confirmation(page)
    page.click("#live tbody a")
    page.wait_for_selector("#history")
    assert "Confirmed by the publisher" in page.inner_text("main") and "Clara Reyes" in page.inner_text("main")
    look(page, "order")


def test_an_order_by_product_id_is_confirmed_while_one_looks(page: "Page", trade: Trade) -> None:
    sign_in(page, trade)
    page.goto("/product-id")
    page.locator("#product_id").press_sequentially(PRODUCT_ID.replace("-", ""))
    if not evaluates(page):
        page.press("#product_id", "Enter")
    page.wait_for_selector("#found h2")
    assert "for twelve months" in page.inner_text("#recognised")
    look(page, "product-id")
    page.fill("#seats", "2")
    page.click("#recognised button.main")
    page.wait_for_url("**/cart?**")
    page.click("#whom + dl a")
    page.click(f"text={trade.customer}")
    page.wait_for_url("**/cart?customer=**")
    check_out(page, trade)
    wait_for_confirmation(page)


def test_an_order_by_keyboard_alone(page: "Page", trade: Trade) -> None:
    """Typed, with Tab and Enter: the product ID, the seats, the customer and the purchaser."""
    sign_in(page, trade)
    page.goto("/product-id")
    to(page, "#product_id")
    page.keyboard.type(PRODUCT_ID)
    if not evaluates(page):
        page.keyboard.press("Enter")
    page.wait_for_selector("#found h2")
    to(page, "#seats")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cart?**")
    press_to(page, "Choose Customer")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cart/customer")
    press_to(page, trade.customer)
    page.keyboard.press("Enter")
    page.wait_for_url("**/cart?customer=**")
    to(page, "#email")
    page.keyboard.type(trade.purchaser)
    page.keyboard.press("Enter")
    page.wait_for_url("**purchaser=**")
    press_to(page, "Order")
    page.keyboard.press("Enter")
    page.wait_for_selector("button.grave")
    press_to(page, "Order")
    page.keyboard.press("Enter")
    page.wait_for_url("**/carts/*")
    wait_for_confirmation(page)


def to(page: "Page", field: str) -> None:
    """Press Tab until the field has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.locator(f"{field}:focus").count():
            return
    raise AssertionError(f"{field} can't be reached")


def test_the_lists_of_a_partner(page: "Page", trade: Trade) -> None:
    sign_in(page, trade)
    for at in ("/customers", "/catalogue", "/orders", "/renewals", "/requests-for-seats", "/cart"):
        page.goto(at)
        look(page, f"market{at.replace('/', '-')}")
