"""The operator's look at the running system: figures that move, and why something happened to a customer."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from deploy.cast import CUSTOMER, OPERATOR, PASSWORD
from tests.console.browser.conftest import Site
from tests.console.browser.hands import BY_HAND, Hand, Mouse, sign_in, until
from tests.console.browser.inspected import Busy, people
from tests.console.browser.looking import look

if TYPE_CHECKING:
    from playwright.sync_api import Page

CONFIRMED = "SubscriptionConfirmed"


@pytest.fixture(scope="module", autouse=True)
def made(site: Site) -> None:
    people(site)


def said(page: "Page") -> str:
    return str(page.inner_text("main"))


def changes(page: "Page", at: str, before: str) -> None:
    """Wait until a part of the page says something else."""
    for _ in range(100):
        if page.inner_text(at) != before:
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"{at} still says {before!r}")


def find(page: "Page", hand: Hand, text: str) -> None:
    hand.press("nav >> text=Streams")
    page.wait_for_url("**/operator/streams")
    hand.enter("#q", text)
    hand.press("form.search button")
    page.wait_for_url("**/operator/streams?q=*")


@BY_HAND
def test_the_operator_sees_why_something_happened_to_a_customer(page: "Page", hand: Hand) -> None:
    sign_in(page, hand, OPERATOR.email, PASSWORD)
    find(page, hand, CUSTOMER.email)
    assert "The account of this address:" in said(page) and "Northhaus" in said(page)
    hand.look("operator-streams-found")

    hand.press("tbody a:has-text('subscription-')")
    page.wait_for_url("**/operator/streams/subscription-*")
    assert CONFIRMED in said(page) and "hash chain intact" in said(page)
    hand.look("operator-stream")
    stream, (confirmed, ordered) = page.url, times(page)

    hand.press(f"[aria-label='Why {CONFIRMED} happened, and what followed']")
    page.wait_for_url("**/operator/events/*")
    why, _, effects = said(page).partition("What followed from it")
    assert "OrderConfirmed" in why and "urn:publisher:autodesk" in why
    assert "SeatPoolOpened" in effects and "ContractOpened" in effects and "FleetOpened" in effects
    hand.look("operator-event")
    hand.press("text=Its stream")
    page.wait_for_url(stream)

    hand.press("[aria-label='State after version 1']")
    page.wait_for_url("**version=1*")
    assert "State after version 1" in said(page) and CONFIRMED not in said(page)
    began, ended = datetime.fromisoformat(ordered), datetime.fromisoformat(confirmed)
    between = began + (ended - began) / 2
    page.goto(f"{stream}?as_of={quote(between.isoformat())}")
    assert "This is the past." in said(page) and "State after version 1" in said(page)
    hand.enter("#as_of", f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%dT%H:%M}")
    hand.press("form.past button")
    until(page, "It had no events at that time yet.")


def times(page: "Page") -> list[str]:
    return [str(each.get_attribute("datetime")) for each in page.locator(".timeline time").all()]


@pytest.mark.parametrize("page", ["with-javascript"], indirect=True)
def test_now_shows_numbers_that_move(page: "Page", site: Site) -> None:
    sign_in(page, Mouse(page), OPERATOR.email, PASSWORD)
    page.click("nav >> text=Now")
    page.wait_for_selector("[data-state]:has-text('live')")
    before, figures = page.inner_text("[data-sum=identity]"), page.inner_text("#figures .heading .under")
    line = page.get_attribute("[data-line=identity]", "points")
    somebody = Busy(site)
    for _ in range(6):
        somebody.change()
    page.wait_for_selector("[data-types] th:has-text('ProfileUpdated')")
    changes(page, "[data-sum=identity]", before)
    assert page.get_attribute("[data-line=identity]", "points") != line
    changes(page, "#figures .heading .under", figures)
    look(page, "operator-now")


@pytest.mark.parametrize("page", ["with-javascript"], indirect=True)
def test_a_topic_shows_events_as_they_come(page: "Page", site: Site) -> None:
    sign_in(page, Mouse(page), OPERATOR.email, PASSWORD)
    page.goto("/topics/identity")
    page.wait_for_selector("[data-state]:has-text('live')")
    first = page.inner_text("[data-list] li:first-child")
    somebody = Busy(site)
    for _ in range(2):
        somebody.change()
    page.wait_for_selector("[data-list] li:first-child:has-text('ProfileUpdated')")
    changes(page, "[data-list] li:first-child", first)
    page.click("[data-list] li:first-child summary")
    look(page, "topic-live")
    page.click("[data-list] li:first-child [data-why]")
    page.wait_for_url("**/operator/events/*")
    assert "ProfileUpdated" in page.inner_text("h1")


@pytest.mark.parametrize("page", ["without-javascript"], indirect=True)
def test_figures_and_samples_are_there_without_javascript(page: "Page") -> None:
    sign_in(page, Mouse(page), OPERATOR.email, PASSWORD)
    page.goto("/operator/now")
    assert "Load the page again for newer figures." in said(page) and "Command latency" in said(page)
    assert not page.locator("[data-pause]").is_visible()
    page.goto("/topics/identity")
    assert page.locator("[data-list] li").count() == 10
