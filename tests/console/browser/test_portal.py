"""A customer's ways through the account portal of a running system: seats, auto-renew, roles, credits, a leaver."""

import secrets
from typing import TYPE_CHECKING

import pytest

from deploy.year.customers import PASSWORD
from tests.console.browser.bought import Bought, bought
from tests.console.browser.conftest import Site
from tests.console.browser.looking import look

if TYPE_CHECKING:
    from playwright.sync_api import Page

LINES, WRONG = 50, 2


def sign_in(page: "Page", email: str) -> None:
    page.goto("/sign-in")
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.click("main button.main")
    page.wait_for_url("**/")


def confirm(page: "Page", says: str) -> None:
    """Read what the dry run says, and do it."""
    page.wait_for_selector("main input[name=confirmed]", state="attached")
    assert says in page.inner_text("main"), page.inner_text("main")
    page.click("main button.main")


def said(page: "Page", words: str) -> None:
    page.wait_for_selector(f"main :text('{words}')")


@pytest.fixture
def customer(site: Site) -> Bought:
    assert site.url  # which starts first
    return bought(f"portal-{secrets.token_hex(4)}", LINES + 5, LINES - WRONG)


def test_a_customers_year_on_the_pages(page: "Page", customer: Bought) -> None:
    sign_in(page, customer.manager.email)
    look(page, "portal-home")
    _seats_from_a_file(page, customer)
    _auto_renew(page, customer)
    _credits(page, customer)
    _leaver(page, customer)
    _handover(page, customer)
    for path in ("/contracts", "/people", "/subscriptions", "/seats", "/credits", "/own", "/partners", "/sessions"):
        page.goto(path)
        look(page, f"portal{path.replace('/', '-')}")


def _seats_from_a_file(page: "Page", customer: Bought) -> None:
    """50 lines, two of them wrong: these are shown and refused, the others are assigned."""
    page.goto(f"/seats/{customer.subscription_id}")
    page.click("text=Assign from a file or a list")
    addresses = [person.email for person in customer.colleagues]
    lines = ["email", addresses[0], "not an address", *addresses[1:], "nobody@elsewhere.example"]
    page.set_input_files("#file", {"name": "s.csv", "mimeType": "text/csv", "buffer": "\n".join(lines).encode()})
    page.click("main button.main")
    said(page, "48 lines will be carried out.")
    assert page.locator("td:has-text('refused')").count() == WRONG
    look(page, "portal-preview")
    page.click("main button.main")
    said(page, "48 lines were carried out.")
    page.click("main a.button")
    page.wait_for_url(f"**/seats/{customer.subscription_id}")
    look(page, "portal-pool")
    page.fill("#q", "colleague-7@")
    page.click("form.search button")
    page.wait_for_url("**q=colleague-7*")
    assert page.locator("tbody tr").count() == 1
    page.click("text=Take away or move")
    look(page, "portal-seat")
    page.click("button:text-is('Take the seat away')")
    confirm(page, "Colleague 7 can't use the product any more.")
    page.wait_for_url("**notice=seat-taken")


def _auto_renew(page: "Page", customer: Bought) -> None:
    """Refused with the names of those who hold seats; done once none is assigned."""
    at = f"/subscriptions/{customer.subscription_id}/auto-renew"
    page.goto(at)
    page.click("main button.main")
    confirm(page, "48 seats are assigned.")
    page.wait_for_url("**notice=auto-renew-asked")
    _until(page, at, "It stays on: these seats are assigned")
    assert "Manager" in page.inner_text("#state")
    look(page, "portal-auto-renew-refused")


def _until(page: "Page", at: str, words: str) -> None:
    """Wait for a page to say something: by itself, or by loading it again."""
    for _ in range(40):
        if words in page.inner_text("main"):
            return
        page.wait_for_timeout(500)
        if page.locator("html[data-scripted]").count() == 0:
            page.goto(at)
    raise AssertionError(f"{at} does not say {words!r}: {page.inner_text('main')}")


def _credits(page: "Page", customer: Bought) -> None:
    at = f"/credits/{customer.contract_id}"
    page.goto(at)
    page.click("text=Spend credits")
    page.fill("#amount", "1000")
    page.fill("#purpose", "rendering")
    page.click("main button.main")
    said(page, "There are not enough credits.")
    page.fill("#amount", "30")
    page.click("main button.main")
    confirm(page, "30 credits are spent for: rendering.")
    page.wait_for_url("**notice=credits-spent")
    assert "70" in page.inner_text("dl.figures")
    look(page, "portal-credits")


def _leaver(page: "Page", customer: Bought) -> None:
    page.goto("/people?q=colleague-3@")
    page.click("tbody th a")
    look(page, "portal-person")
    page.click("button.grave")
    confirm(page, "is free.")
    page.wait_for_url("**/people?notice=removed")


def _handover(page: "Page", customer: Bought) -> None:
    page.goto(f"/contracts/{customer.contract_id}/handover")
    page.fill("#email", customer.colleagues[1].email)
    page.click("main button.main")
    confirm(page, "Colleague 1 becomes Contract Manager.")
    page.wait_for_selector("main")
    sign_in_again = "/sign-in" in page.url
    if sign_in_again:
        sign_in(page, customer.manager.email)
    page.goto(f"/contracts/{customer.contract_id}")
    look(page, "portal-contract")
    assert "Ask for a role" in page.inner_text("main")
