"""A person's way through the pages, by mouse, by keyboard alone and without JavaScript, looked at by axe-core."""

import time
from typing import TYPE_CHECKING

import pytest

from tests.console.browser.conftest import Site
from tests.console.browser.joining import FIRST, sign_up
from tests.console.browser.looking import evaluates, look, press_to

if TYPE_CHECKING:
    from playwright.sync_api import Page

SECOND = "another lamp river onion"


def paste(page: "Page", link: str, field: str) -> None:
    """Open a mail's link; without JavaScript, paste it into the form."""
    page.goto(link)
    if not evaluates(page):
        page.fill(field, link)


@pytest.fixture
def email(request: pytest.FixtureRequest) -> str:
    return f"mina-{time.time_ns()}@northhaus.example"


def test_the_way_of_a_new_customer(page: "Page", site: Site, email: str) -> None:
    page.goto("/profile")
    assert "Sign in to see this page." in page.inner_text("main")
    look(page, "sign-in")
    page.goto("/sign-up")
    look(page, "sign-up")
    page.click("button.main")
    assert page.inner_text("#name-error").strip() == "Fill in this field."
    look(page, "sign-up-errors")
    sign_up(page, email)
    look(page, "check-mail")

    paste(page, site.link(email, "Confirm"), "#token")
    assert "#" not in page.url or not evaluates(page)
    look(page, "verify-address")
    page.click("button.main")
    page.wait_for_url("**/?notice=verified")
    assert "Its clock shows" in page.inner_text("aside")
    look(page, "home")

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
    paste(page, site.link(email, "Passwort"), "#reset")
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


def test_by_keyboard_alone(page: "Page", email: str) -> None:
    """From the sign-in to an account and out again: Tab, letters, Space and Enter."""
    page.goto("/sign-in")
    press_to(page, "Open an account")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-up")
    for text in ("Mina Okafor", email, FIRST):
        to_field(page)
        page.keyboard.type(text)
    to_field(page)
    page.keyboard.type("Germany")
    to_field(page)
    page.keyboard.type("Northhaus")
    to_field(page)
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_url("**/check-mail")
    press_to(page, "Sign out")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in?notice=signed-out")


def to_field(page: "Page") -> None:
    """Press Tab until the next field has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.locator("main input:focus, main select:focus").count():
            return
    raise AssertionError("there is no further field")


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
