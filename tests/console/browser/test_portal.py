"""A customer's ways through the account portal: seats, credits, a leaver, auto-renew, a handover."""

import secrets
from typing import TYPE_CHECKING

import pytest

from deploy.year.customers import PASSWORD
from tests.console.browser.bought import Bought, bought, marketplace_hears
from tests.console.browser.conftest import Site
from tests.console.browser.hands import BY_HAND, Hand, Mouse, confirm, csv, enter_password, sign_in, until
from tests.console.browser.looking import look

if TYPE_CHECKING:
    from playwright.sync_api import Page

LINES, WRONG = 50, 2


@pytest.fixture
def customer(site: Site) -> Bought:
    assert site.url  # which starts first
    return bought(f"portal-{secrets.token_hex(4)}", LINES + 5, LINES - WRONG)


@BY_HAND
def test_a_customers_year_on_the_pages(page: "Page", hand: Hand, site: Site, customer: Bought) -> None:
    sign_in(page, hand, customer.manager.email, PASSWORD)
    hand.look("portal-home")
    _seats_from_a_file(page, hand, customer)
    _one_seat(page, hand, customer)
    _credits(page, hand, customer)
    _leaver(page, hand)
    _auto_renew(page, hand, customer, site)
    _handover(page, hand, customer)


@pytest.mark.parametrize("page", ["with-javascript"], indirect=True)
def test_the_lists_of_a_customer(page: "Page", site: Site) -> None:
    assert site.url  # which starts first
    seen = bought(f"lists-{secrets.token_hex(4)}", 3, 1)
    sign_in(page, Mouse(page), seen.manager.email, PASSWORD)
    for path in ("/contracts", "/people", "/subscriptions", "/seats", "/credits", "/own", "/partners", "/sessions"):
        page.goto(path)
        look(page, f"portal{path.replace('/', '-')}")


def _seats_from_a_file(page: "Page", hand: Hand, customer: Bought) -> None:
    """50 lines, two of them wrong: these are shown and refused, the others are assigned."""
    hand.press("nav >> text=Seats")
    page.wait_for_url("**/seats")
    hand.press("tbody th a")
    page.wait_for_url(f"**/seats/{customer.subscription_id}")
    hand.press("text=Assign from a file or a list")
    page.wait_for_url("**/file")
    addresses = [person.email for person in customer.colleagues]
    hand.give("#file", csv("email", addresses[0], "not an address", *addresses[1:], "nobody@elsewhere.example"))
    hand.press("main button.main")
    until(page, "48 lines will be carried out. 2 lines are refused; the others don't wait for them.")
    assert page.locator("td:has-text('refused')").count() == WRONG
    hand.look("portal-preview")
    hand.press("main button.main")
    until(page, "48 lines were carried out.")
    hand.press("main a.button")
    page.wait_for_url(f"**/seats/{customer.subscription_id}")
    hand.look("portal-pool")


def _one_seat(page: "Page", hand: Hand, customer: Bought) -> None:
    """Search for its user, and take it away."""
    hand.enter("#q", "colleague-7@")
    hand.press("form.search button")
    page.wait_for_url("**q=colleague-7*")
    assert page.locator("tbody tr").count() == 1
    hand.press("text=Take away or move")
    page.wait_for_url("**/holders/*")
    hand.look("portal-seat")
    hand.press("button:text-is('Take the seat away')")
    confirm(page, hand, "Colleague 7 can't use the product any more.", notice="seat-taken")
    assert customer.subscription_id in page.url


def _credits(page: "Page", hand: Hand, customer: Bought) -> None:
    """Too many are refused beside their field; fewer are spent, and the ledger says so."""
    hand.press("nav >> text=Credits")
    page.wait_for_url("**/credits")
    hand.press(f"main a[href='/credits/{customer.contract_id}']")
    page.wait_for_url(f"**/credits/{customer.contract_id}")
    hand.press("text=Spend credits")
    page.wait_for_url("**/spend")
    hand.enter("#amount", "1000")
    hand.enter("#purpose", "rendering")
    hand.press("main button.main")
    until(page, "There are not enough credits.")
    hand.look("portal-credits-refused")
    hand.enter("#amount", "30")
    hand.press("main button.main")
    confirm(page, hand, "30 credits are spent for: rendering.", notice="credits-spent")
    assert "70" in page.inner_text("dl.figures") and "rendering" in page.inner_text("main")
    hand.look("portal-credits")


def _leaver(page: "Page", hand: Hand) -> None:
    """Find somebody who leaves, and remove them with their seat."""
    hand.press("nav >> text=People")
    page.wait_for_url("**/people")
    hand.enter("#q", "colleague-3@")
    hand.press("form.search button")
    page.wait_for_url("**q=colleague-3*")
    hand.press("tbody th a")
    page.wait_for_url("**/people/*")
    hand.look("portal-person")
    hand.press("button.grave")
    confirm(page, hand, "is free.", notice="removed")


def _auto_renew(page: "Page", hand: Hand, customer: Bought, site: Site) -> None:
    """Refused with the names of those who hold seats; done once the seats are taken away."""
    marketplace_hears(site, customer, 47)  # of the leaver's seat, too
    hand.press("nav >> text=Subscriptions")
    page.wait_for_url("**/subscriptions")
    hand.press("tbody th a")
    page.wait_for_url(f"**/subscriptions/{customer.subscription_id}")
    hand.press("main a[href$='/auto-renew']")
    page.wait_for_url("**/auto-renew")
    hand.press("button:text-is('Turn auto-renew off')")
    confirm(page, hand, "47 seats are assigned.", notice="auto-renew-asked")
    until(page, "It stays on: these seats are assigned")
    refusal = page.inner_text("#state")
    assert "Manager" in refusal and "Colleague 4" in refusal and "Colleague 3 " not in refusal
    hand.look("portal-auto-renew-refused")
    hand.press("text=Take all seats away")
    until(page, "47 lines will be carried out.")
    hand.press("main button.main")
    until(page, "47 lines were carried out.")
    hand.press("main a.button")
    page.wait_for_url("**/auto-renew")
    hand.press("button:text-is('Turn auto-renew off')")
    confirm(page, hand, "The subscription ends on", notice="auto-renew-asked")
    until(page, "It is off for good.")
    hand.look("portal-auto-renew-off")


def _handover(page: "Page", hand: Hand, customer: Bought) -> None:
    """Name the new Contract Manager; the old one has no role afterwards, and may ask for one."""
    hand.press("nav >> text=Contracts")
    page.wait_for_url("**/contracts")
    hand.press("main a[href^='/contracts/']")
    page.wait_for_url(f"**/contracts/{customer.contract_id}")
    hand.press("text=Hand the contract over")
    page.wait_for_url("**/handover")
    hand.enter("#email", customer.colleagues[1].email)
    hand.press("main button.main")
    confirm(page, hand, "Colleague 1 becomes Contract Manager.")
    if "/sign-in" in page.url:  # with the role the session has ended, unless the page was quicker
        enter_password(hand, customer.manager.email, PASSWORD)
        page.wait_for_url(f"**/contracts/{customer.contract_id}*")
    assert "Ask for a role" in page.inner_text("main")
    hand.look("portal-contract")
