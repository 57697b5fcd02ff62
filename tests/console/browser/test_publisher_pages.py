"""A publisher's ways through its pages: plans and prices, CSNs, orders, updates; and what its partner sees of them."""

import hashlib
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from babel.dates import format_date

from deploy.year.customers import PASSWORD
from tests.console.browser.conftest import Site
from tests.console.browser.hands import BY_HAND, Hand, Mouse, confirm, sign_in, until
from tests.console.browser.looking import evaluates
from tests.console.browser.selling import PLAN, Selling, selling

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PRICE, NEXT_PRICE = "€480.00", "€520.50"
STAYED: Final = "window.stayed = true"


@pytest.fixture(scope="module")
def seller(site: Site) -> Selling:
    assert site.url  # which starts first
    return selling(secrets.token_hex(4))


@pytest.fixture(scope="module")
def partners_page(chromium: "Browser", seller: Selling, site: Site) -> "Iterator[Page]":
    """A page of the partner's own browser, on which its clerk has signed in and then does nothing."""
    context = chromium.new_context(base_url=site.url, locale="en-GB", timezone_id="Europe/Berlin")
    opened = context.new_page()
    sign_in(opened, Mouse(opened), seller.clerk.email, PASSWORD)
    yield opened
    context.close()


def enters(page: "Page", hand: Hand, seller: Selling, link: str) -> None:
    """Sign in as the publisher's person, and follow a link of the navigation."""
    sign_in(page, hand, seller.publisher.email, PASSWORD)
    hand.press(f"nav >> text={link}")
    page.wait_for_url("**/publisher/*")


def says(page: "Page", words: str) -> bool:
    return words in page.inner_text("main")


# ── Plans and prices ───────────────────────────────────────────────────────────────────────────────────


@BY_HAND
def test_a_plan_is_listed_gets_a_price_from_a_day_on_and_is_taken_off_sale(
    page: "Page", hand: Hand, seller: Selling, partners_page: "Page"
) -> None:
    product_id = f"NS{secrets.token_hex(2).upper()[:3]}-WW0002-A002"
    at = f"/catalogue/{product_id.replace('-', '')}?publisher={seller.name}"
    enters(page, hand, seller, "Catalogue")
    _list_plan(page, hand, product_id)
    partners_page.goto(at)
    assert says(partners_page, PRICE)

    day = datetime.now(UTC).date() + timedelta(days=30)
    hand.enter("#q", product_id)
    hand.press("form.search button")
    page.wait_for_url("**q=*")
    hand.press("tbody th a")
    page.wait_for_selector("#valid_from")
    hand.enter("#amount", NEXT_PRICE.strip("€"))
    hand.enter("#valid_from", day.isoformat())
    hand.look("publisher-plan")
    hand.press("section[aria-labelledby=another] button")
    shown = format_date(day, "medium", "en_GB")
    confirm(page, hand, f"From {shown} (UTC) a seat costs {NEXT_PRICE}.", notice="price-announced")
    assert says(page, f"from {shown}\n{NEXT_PRICE}") and says(page, f"at first\n{PRICE}")
    partners_page.reload()
    assert says(partners_page, PRICE)

    hand.press("section[aria-labelledby=away] button")
    confirm(page, hand, "Nobody can order it any more. Running subscriptions stay, and renew.", notice="plan-off")
    partners_page.reload()
    assert says(partners_page, "The publisher does not offer this plan any more.")


def _list_plan(page: "Page", hand: Hand, product_id: str) -> None:
    """Put a plan on sale; what is wrong with its form is said beside the field."""
    hand.look("publisher-plans")
    hand.press("a[href='/publisher/plans/new']")
    page.wait_for_url("**/publisher/plans/new")
    for field, text in (("#product_id", product_id), ("#product_name", "Northsoft Draughts"), ("#product", "draughts")):
        hand.enter(field, text)
    for field, option in (("period", "one year"), ("support", "advanced"), ("billing", "in advance")):
        hand.choose(f"#{field}", option)
    hand.choose("#category", "for every partner")
    hand.choose("#agreement", "Desktop")
    hand.enter("#amount", "much")
    hand.press("main button.main")
    page.wait_for_selector("#amount-error")
    hand.look("publisher-new-plan")
    hand.enter("#amount", PRICE.strip("€"))
    hand.press("main button.main")
    confirm(page, hand, f"Partners can order Northsoft Draughts ({product_id}) from now on", notice="plan-listed")


# ── CSNs ───────────────────────────────────────────────────────────────────────────────────────────────


@BY_HAND
def test_a_csn_opens_the_specialised_catalogue_until_it_is_revoked(
    page: "Page", hand: Hand, seller: Selling, partners_page: "Page"
) -> None:
    csn = f"NS-{secrets.token_hex(4)}"
    partners_page.goto("/catalogue")
    assert says(partners_page, "You see the open catalogue.")
    enters(page, hand, seller, "CSNs")
    hand.enter("#partner", f"Cadworks {seller.run}")
    hand.press("section[aria-labelledby=another] form.search button")
    page.wait_for_url("**partner=*")
    hand.choose("#organisation_id", f"Cadworks {seller.run}")
    hand.enter("#csn", csn)
    hand.press("section[aria-labelledby=another] button.main")
    confirm(page, hand, "The partner can order specialised products at once.", notice="csn-issued")
    assert says(page, csn)
    hand.look("publisher-csns")
    partners_page.reload()
    assert says(partners_page, f"The specialised catalogue of {seller.name.capitalize()} is open to you, by CSN {csn}.")

    line = f"tr:has-text('{csn}')"
    hand.enter(f"{line} input[name=reason]", "The audit has failed.")
    hand.press(f"{line} button")
    confirm(page, hand, "The partner can't order specialised products any more", notice="csn-revoked")
    assert "The audit has failed." in page.inner_text(line) and "revoked" in page.inner_text(line)
    partners_page.reload()
    assert says(partners_page, "You see the open catalogue.")


# ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────


@BY_HAND
def test_orders_arrive_and_their_answers_reach_the_partners_page(
    page: "Page", hand: Hand, seller: Selling, partners_page: "Page"
) -> None:
    enters(page, hand, seller, "Orders")
    before = page.locator("tbody tr").count()
    stays(page)
    taken, declined = seller.order(3, 7)
    appears(page, f"#order-{declined}")
    assert page.locator("tbody tr").count() == before + 2
    hand.look("publisher-orders")

    partners_page.goto(f"/orders/{taken}")
    assert says(partners_page, "waits for the publisher")
    stays(partners_page)
    reference = f"NS-{taken[-6:]}"
    _open(page, hand, taken)
    hand.look("publisher-order")
    _answer(hand, "#reference", reference)
    confirm(page, hand, "The subscription begins, with its term, seats and instalments.", notice="answer-yes")
    until(partners_page, reference)
    assert says(partners_page, "Confirmed by the publisher") and partners_page.evaluate("window.stayed") is True

    partners_page.goto(f"/orders/{declined}")
    stays(partners_page)
    _open(page, hand, declined)
    _answer(hand, "#reason", "The credit limit covers four seats.")
    confirm(page, hand, "The partner reads the reason.", notice="answer-no")
    until(partners_page, "The credit limit covers four seats.")
    until(partners_page, "declined")
    assert partners_page.evaluate("window.stayed") is True


def _open(page: "Page", hand: Hand, subscription_id: str) -> None:
    """Open an order from the list of those that wait."""
    hand.press(f"#order-{subscription_id}")
    page.wait_for_url(f"**/publisher/orders/{subscription_id}")


def _answer(hand: Hand, field: str, text: str) -> None:
    """Ask for what follows from this answer to the order."""
    hand.enter(field, text)
    hand.press(f"form:has({field}) button")


def stays(page: "Page") -> None:
    """Remember that the page is not loaded again from now on."""
    if evaluates(page):
        page.evaluate(STAYED)


def appears(page: "Page", at: str) -> None:
    """It comes by itself; without JavaScript, when the page is loaded again."""
    if evaluates(page):
        page.wait_for_selector(at)
        assert page.evaluate("window.stayed") is True
        return
    for _ in range(40):
        if page.locator(at).count():
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError(f"{at} does not appear")


# ── Updates ────────────────────────────────────────────────────────────────────────────────────────────


@BY_HAND
def test_an_update_is_published_and_withdrawn(page: "Page", hand: Hand, seller: Selling) -> None:
    update_id = f"NS-{secrets.token_hex(4)}"
    enters(page, hand, seller, "Updates")
    hand.press("a[href='/publisher/updates/new']")
    page.wait_for_url("**/publisher/updates/new")
    title = f"Northsoft Planner {update_id}"
    for field, text in (
        ("#title", title),
        ("#update_id", update_id),
        ("#product", str(PLAN["product"])),
        ("#version", "2027.1"),
        ("#platform", "win64"),
        ("#location", "https://updates.northsoft.example/planner.msp"),
        ("#sha256", hashlib.sha256(update_id.encode()).hexdigest()),
    ):
        hand.enter(field, text)
    hand.choose("#severity", "important")
    hand.enter("#size_bytes", "400 MB")
    hand.press("main button.main")
    page.wait_for_selector("#size_bytes-error")
    hand.look("publisher-new-update")
    hand.enter("#size_bytes", "412000000")
    hand.press("main button.main")
    confirm(page, hand, "Every customer of the product is offered it.", notice="update-published")
    line = f"tr:has-text('{update_id}')"
    assert "offered" in page.inner_text(line)
    hand.look("publisher-updates")

    hand.press(f"{line} th a")
    page.wait_for_url(f"**/publisher/updates/{update_id}")
    hand.enter("#reason", "It damages drawings.")
    hand.look("publisher-update")
    hand.press("section[aria-labelledby=away] button")
    confirm(page, hand, "Nobody is offered it any more", notice="update-off")
    assert "withdrawn" in page.inner_text(line) and "It damages drawings." in page.inner_text(line)
