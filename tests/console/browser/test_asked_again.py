"""What somebody confirms is what they were shown: a preview that has become untrue, and what is refused after one."""

import secrets
from typing import TYPE_CHECKING

import httpx
import pytest

from deploy.year.customers import PASSWORD
from shared.services import url_variable
from tests.console.browser.bought import Bought, bought, marketplace_hears
from tests.console.browser.conftest import Site
from tests.console.browser.hands import BY_HAND, Hand, confirm, sign_in, until

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def customer(site: Site) -> Bought:
    assert site.url  # which starts first
    return bought(f"again-{secrets.token_hex(4)}", seats=3, colleagues=2)


def meanwhile(site: Site, customer: Bought, method: str, path: str, **body: object) -> httpx.Response:
    """Send a command to entitlements as the manager, without the pages."""
    headers = {"Authorization": f"Bearer {customer.manager.token}", "Idempotency-Key": secrets.token_hex(16)}
    address = f"{site.env[url_variable('entitlements')]}{path}"
    return httpx.request(method, address, headers=headers, json=body or None)


@BY_HAND
def test_a_preview_that_has_become_untrue_asks_again(page: "Page", hand: Hand, site: Site, customer: Bought) -> None:
    at, colleague = f"/pools/{customer.subscription_id}/seats", customer.colleagues[0]
    sign_in(page, hand, customer.manager.email, PASSWORD)
    page.goto(f"/subscriptions/{customer.subscription_id}/auto-renew")
    hand.press("button:text-is('Turn auto-renew off')")
    until(page, "1 seat is assigned.")
    assert meanwhile(site, customer, "POST", at, account_id=colleague.account_id).is_success
    marketplace_hears(site, customer, 2)
    hand.press("main button.main")
    until(page, "Something has changed since this was shown to you, so nothing is done yet.")
    hand.look("asked-again")
    confirm(page, hand, "2 seats are assigned.", notice="auto-renew-asked")

    page.goto(f"/seats/{customer.subscription_id}/holders/{colleague.account_id}")
    hand.press("button:text-is('Take the seat away')")
    page.wait_for_selector("main input[name=confirmed]", state="attached")
    assert meanwhile(site, customer, "DELETE", f"{at}/{colleague.account_id}").is_success
    hand.press("main button.main")
    until(page, "Something has changed since this was shown to you.")
    assert page.inner_text("h1") == "There is nothing to do" and page.locator("main form").count() == 0
    hand.look("nothing-to-do")


@BY_HAND
def test_a_refusal_is_found_and_read_afterwards(page: "Page", hand: Hand, site: Site, customer: Bought) -> None:
    spending = {"consumption_id": secrets.token_hex(8), "amount": 1_000, "purpose": "rendering"}
    at = f"/contracts/{customer.contract_id}/credits/consumptions"
    assert meanwhile(site, customer, "POST", at, **spending).is_client_error
    sign_in(page, hand, customer.manager.email, PASSWORD)
    page.goto("/refusals")
    hand.look("refusals")
    hand.press("tbody th a")
    page.wait_for_url("**/refusals/*")
    assert "There are not enough credits." in page.inner_text("main")
    hand.look("refusal")
