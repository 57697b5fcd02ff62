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


def was_there(site: Site, watched: Watched) -> None:
    """The page asked the provider, and may have."""
    assert site.provider is not None
    there = urlsplit(site.provider.url).netloc
    assert there in {urlsplit(url).netloc for url in watched.requests}
    watched.requests[:] = [url for url in watched.requests if urlsplit(url).netloc != there]


def known_there(site: Site, name: str) -> str:
    """Make somebody known to the provider, which has confirmed their address; the address."""
    if site.provider is None:
        pytest.skip("this system knows no provider of ours")
    email = f"{name}-{time.time_ns()}@x.example"
    site.provider.person = {"sub": email, "email": email, "email_verified": True}
    return email


def test_a_person_signs_up_by_an_account_elsewhere(page: "Page", site: Site, watched: Watched) -> None:
    email = known_there(site, "mina")
    page.goto("/sign-in")
    page.click("text=Sign in with Northhaus")
    continue_as_mina(page)
    page.click("text=Sign up with Northhaus")
    page.wait_for_selector("h1:text-is('Sign up with Northhaus')")
    look(page, "sign-up-elsewhere")
    page.click("button.main")
    assert page.locator("p.error").count() == 4
    look(page, "sign-up-elsewhere-errors")
    page.fill("#name", "Mina Okafor")
    page.select_option("#country", label="Germany")
    page.fill("#organisation", "Northhaus Ingenieure")
    page.check("input[value=customer]")
    page.check("input[name=sandbox]")
    page.click("button.main")
    continue_as_mina(page)
    page.wait_for_selector("text=Northhaus Ingenieure")
    assert urlsplit(page.url).path == "/"
    page.goto("/profile")
    assert page.input_value("#email") == email
    was_there(site, watched)


def test_a_colleague_joins_by_an_account_elsewhere(page: "Page", site: Site, watched: Watched) -> None:
    email = known_there(site, "ana")
    sign_up(page, f"mina-{time.time_ns()}@northhaus.example")
    page.goto("/people/invite")
    page.fill("#email", email)
    page.click("button.main")
    page.click("button.main:text-is('Send the invitation')")
    page.wait_for_url("**/people?notice=invited*")
    page.click("button.quiet")
    page.wait_for_url("**/sign-in?notice=signed-out")
    link = site.link(email, "invited")
    page.goto(link)
    look(page, "join")
    if page.locator("#invitation").is_visible():  # without JavaScript
        page.fill("#invitation", link)
    press_to(page, "Sign up with Northhaus")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:text-is('Sign up with Northhaus')")
    look(page, "join-elsewhere")
    page.fill("#name", "Ana Lopes")
    page.select_option("#country", label="Portugal")
    page.click("button.main")
    continue_as_mina(page)
    page.wait_for_selector("text=Northhaus Ingenieure")
    was_there(site, watched)


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

    was_there(site, watched)
