"""A person's way into the pages, by mouse, by keyboard alone and without JavaScript, looked at by axe-core."""

import time
from typing import TYPE_CHECKING

import pytest

from tests.console.browser.conftest import Site
from tests.console.browser.hands import BY_HAND, Hand, Mouse
from tests.console.browser.joining import FIRST, fill_in, sign_up
from tests.console.browser.looking import evaluates, look

if TYPE_CHECKING:
    from playwright.sync_api import Page

SECOND = "another lamp river onion"


def paste(page: "Page", hand: Hand, link: str, field: str) -> None:
    """Open a mail's link; without JavaScript, paste it into the form."""
    page.goto(link)
    if not evaluates(page):
        hand.enter(field, link)


@pytest.fixture
def email() -> str:
    return f"mina-{time.time_ns()}@northhaus.example"


@BY_HAND
def test_the_way_of_a_new_customer(page: "Page", hand: Hand, site: Site, email: str) -> None:
    page.goto("/profile")
    assert "Sign in to see this page." in page.inner_text("main")
    hand.look("sign-in")
    hand.press("text=Open an account")
    page.wait_for_url("**/sign-up")
    hand.look("sign-up")
    hand.press("button.main")
    page.wait_for_selector("#name-error")
    assert page.inner_text("#name-error").strip() == "Fill in this field."
    hand.look("sign-up-errors")
    fill_in(page, hand, email)
    hand.look("check-mail")

    paste(page, hand, site.link(email, "Confirm"), "#token")
    assert "#" not in page.url or not evaluates(page)
    hand.look("verify-address")
    hand.press("button.main")
    page.wait_for_url("**/?notice=verified")
    assert "Its clock shows" in page.inner_text("aside")
    hand.look("home")


def test_another_language_and_a_forgotten_password(page: "Page", site: Site, email: str) -> None:
    hand = Mouse(page)
    sign_up(page, email)
    paste(page, hand, site.link(email, "Confirm"), "#token")
    page.click("button.main")
    page.wait_for_url("**/?notice=verified")
    page.goto("/profile")
    look(page, "profile")
    page.select_option("#locale", "de-DE")
    page.click("button.main")
    page.wait_for_url("**/profile?notice=saved")
    assert "Ihr Profil ist gespeichert." in page.inner_text("main")
    look(page, "profile-saved")

    page.click("button.quiet")
    page.wait_for_url("**/sign-in?notice=signed-out")
    page.goto("/forgot-password")
    look(page, "forgot-password")
    page.fill("#email", email)
    page.click("button.main")
    look(page, "mailed")
    paste(page, hand, site.link(email, "Passwort"), "#reset")
    look(page, "reset-password")
    page.fill("#password", SECOND)
    page.click("button.main")
    page.wait_for_url("**/sign-in?notice=password")
    page.fill("#email", email)
    page.fill("#password", FIRST)
    page.click("button.main")
    assert "wrong" in page.inner_text("[role=alert]")
    look(page, "sign-in-refused")
    page.fill("#password", SECOND)
    page.click("button.main")
    page.wait_for_url("**/")
    assert "Willkommen" in page.inner_text("h1")


@pytest.mark.parametrize("at", ["/join", "/prove-address", "/nothing"])
def test_the_other_pages(page: "Page", at: str) -> None:
    page.goto(at)
    look(page, at.strip("/"))


def test_a_form_from_before_the_sign_out_says_so(page: "Page", email: str) -> None:
    sign_up(page, email)
    page.goto("/profile")
    other = page.context.new_page()
    other.goto("/profile")
    other.click("button.quiet")
    other.wait_for_url("**/sign-in?notice=signed-out")
    page.click("main form button.main")
    page.wait_for_selector("h1")
    assert "expired" in page.inner_text("main")
