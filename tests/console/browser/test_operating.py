"""An operator's walk: why something happened, a parked event that is mended, a projection that is rebuilt."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from deploy import example
from deploy.cast import CUSTOMER, OPERATOR, PARTNER, PASSWORD
from deploy.story.doors import open_doors
from tests.console.browser.conftest import Site
from tests.console.browser.hands import BY_HAND, Hand, sign_in, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

GRANT: Final = {"contract_id": "c-of-nobody", "grant_id": "g-1", "amount": "twelve"}
"""Credits that a publisher's system sends as text."""
MENDED: Final = '{"contract_id":"c-of-nobody","grant_id":"g-1","amount":12}'


@pytest.fixture(scope="module")
def operator(site: Site) -> None:
    assert site.url
    with ThreadPoolExecutor(1) as thread:  # playwright occupies this thread's event loop
        thread.submit(lambda: asyncio.run(example.prepare())).result()


@pytest.fixture
def parked(operator: None) -> None:
    async def send() -> None:
        async with open_doors("parked") as doors:
            await doors.emit("autodesk", "CreditsPurchased", GRANT)
            await asyncio.sleep(1)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(send())).result()


def ended(page: "Page", hand: Hand) -> None:
    """Wait for the end of a run; without JavaScript, by loading its page again."""
    for _ in range(60):
        if page.locator(".heading [role=status] .tag").inner_text() != "runs":
            return
        if page.locator("html[data-scripted]").count():
            page.wait_for_timeout(500)
        else:
            hand.press("text=Load the page again")
    raise AssertionError("it does not end")


def apply(page: "Page", hand: Hand, reason: str) -> None:
    """Confirm the plan that is shown."""
    ended(page, hand)
    hand.enter("#reason", reason)
    hand.press("button:text-is('Apply it')")
    page.wait_for_url("**/operations/*")
    until(page, "How it was run")
    ended(page, hand)


def see_why(page: "Page", hand: Hand) -> None:
    """Find a customer's subscription, and see what caused its confirmation and what followed."""
    hand.press("nav >> text=Streams")
    page.wait_for_url("**/operator/streams")
    hand.enter("#q", CUSTOMER.email)
    hand.press("form.search button")
    page.wait_for_url("**/operator/streams?q=*")
    hand.press("tbody a:has-text('subscription-')")
    page.wait_for_url("**/operator/streams/subscription-*")
    hand.press("[aria-label='Why SubscriptionConfirmed happened, and what followed']")
    page.wait_for_url("**/operator/events/*")
    why, _, effects = page.inner_text("main").partition("What followed from it")
    assert "OrderConfirmed" in why and "SeatPoolOpened" in effects
    hand.look("walk-why")


def mend(page: "Page", hand: Hand) -> None:
    """Find a parked event, edit it, and retry it."""
    hand.press("nav >> text=Operate")
    until(page, "parked or wait")
    hand.look("operate")
    hand.press(".notice a")
    hand.press("table a:has-text('CreditsPurchased: unreadable')")
    until(page, "Input should be a valid integer")
    hand.look("parked-group")
    group, before = page.url, page.locator("tbody tr").count()
    hand.press("tbody tr:last-child a")
    hand.look("parked-record")
    hand.enter("#value", MENDED)
    hand.press("button:text-is('Show the difference')")
    until(page, "Nothing is changed yet.")
    assert page.inner_text(".removed").split() == ["removed:", "-", '"amount":', '"twelve"']
    assert page.inner_text(".added").split() == ["added:", "+", '"amount":', "12"]
    hand.look("parked-difference")
    apply(page, hand, "The amount is a number.")
    hand.press("button:text-is('Retry this record')")
    until(page, "1 of 1 record can be applied")
    apply(page, hand, "It is mended.")
    until(page, "0 records of these still parked")
    hand.look("parked-retried")
    page.goto(group)
    assert page.locator("tbody tr").count() == before - 1


def rebuild(page: "Page", hand: Hand) -> None:
    """Rebuild a projection, and watch it finish."""
    hand.press("nav >> text=Operate")
    hand.press("main >> text=Rebuild a projection")
    hand.look("rebuild")
    hand.enter("#projection", "marketplace.sales")
    hand.press("button:text-is('Show what it would do')")
    until(page, "How it was run")
    ended(page, hand)
    until(page, "They would replace the live tables if both agree.")
    hand.look("rebuild-plan")
    apply(page, hand, "To see whether the tables agree.")
    until(page, "the consumer was blocked for")
    assert page.locator("progress").count() >= 3
    assert page.locator(".heading .tag").inner_text() == "done"
    hand.look("rebuilt")


@BY_HAND
def test_an_operator_sees_why_mends_a_parked_event_and_rebuilds(page: "Page", hand: Hand, parked: None) -> None:
    sign_in(page, hand, OPERATOR.email, PASSWORD)
    see_why(page, hand)
    mend(page, hand)
    rebuild(page, hand)


@pytest.mark.parametrize("page", ["with-javascript"], indirect=True)
def test_nobody_else_comes_to_these_pages(page: "Page", operator: None) -> None:
    page.goto("/sign-in")
    page.fill("#email", PARTNER.email)
    page.fill("#password", PASSWORD)
    page.click("main button.main")
    page.wait_for_url("**/")
    assert page.locator("nav >> text=Operate").count() == 0
    answer = page.goto("/operator/operate")
    assert answer is not None and answer.status == 404
