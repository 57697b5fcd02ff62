"""Sign-in by another provider in a real browser, which is redirected to another site and back."""

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.console.browser.conftest import Site, Watched
from tests.console.browser.joining import FIRST, sign_up
from tests.console.browser.looking import look, press_to

if TYPE_CHECKING:
    from playwright.sync_api import Page


def continue_as_mina(page: "Page") -> None:
    """Sign in on the provider's page, to which the console's leads by itself."""
    page.wait_for_selector("h1:text-is('Northhaus')")
    page.click("button:has-text('Continue as Mina')")


def test_a_person_links_an_account_elsewhere_and_signs_in_by_it(page: "Page", site: Site, watched: Watched) -> None:
    if site.provider is None:
        pytest.skip("this system knows no provider of ours")
    email = f"mina-{time.time_ns()}@northhaus.example"
    site.provider.person = {"sub": email}
    sign_up(page, email)
    page.goto("/profile")
    page.click("text=Link or unlink accounts elsewhere")
    look(page, "identities-none")
    page.click("text=Link your account at Northhaus")
    continue_as_mina(page)
    page.wait_for_url("**/profile/identities?notice=oidc-linked")
    assert "The account is linked." in page.inner_text("main") and email in page.inner_text("main")
    look(page, "identities")

    page.click("button.quiet")
    page.wait_for_url("**/sign-in?notice=signed-out")
    look(page, "sign-in-elsewhere")
    page.goto("/profile")
    press_to(page, "Sign in with Northhaus")
    page.keyboard.press("Enter")
    continue_as_mina(page)
    page.wait_for_url("**/profile")

    page.click("text=Link or unlink accounts elsewhere")
    page.click("button:text-is('Unlink')")
    assert "Unlink your account at Northhaus?" in page.inner_text("main")
    look(page, "unlink")
    page.click("button.main")
    page.wait_for_url("**/profile/identities?notice=oidc-unlinked")

    page.click("button.quiet")
    page.wait_for_url("**/sign-in?notice=signed-out")
    page.click("text=Sign in with Northhaus")
    continue_as_mina(page)
    page.wait_for_selector("text=no account here is linked to you")
    look(page, "unknown-identity")
    page.click("text=To the sign-in")
    page.fill("#email", email)
    page.fill("#password", FIRST)
    page.click("button.main")
    page.wait_for_url("**/profile/identities")

    there = urlsplit(site.provider.url).netloc
    assert there in {urlsplit(url).netloc for url in watched.requests}
    watched.requests[:] = [url for url in watched.requests if urlsplit(url).netloc != there]
