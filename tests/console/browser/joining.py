"""Opening an account by the pages."""

from typing import TYPE_CHECKING, Final

from tests.console.browser.hands import Hand, Mouse

if TYPE_CHECKING:
    from playwright.sync_api import Page

FIRST: Final = "quartz lamp river onion"
"""The password."""


def sign_up(page: "Page", email: str) -> None:
    """Open an account in a new sandbox organisation; the page then asks to look for the mail."""
    page.goto("/sign-up")
    fill_in(page, Mouse(page), email)


def fill_in(page: "Page", hand: Hand, email: str) -> None:
    """Fill in the form of the sign-up, and send it."""
    hand.enter("#name", "Mina Okafor")
    hand.enter("#email", email)
    hand.enter("#password", FIRST)
    hand.choose("#country", "Germany")
    hand.enter("#organisation", "Northhaus Ingenieure")
    hand.press("input[value=customer]")
    hand.press("input[name=sandbox]")
    hand.press("button.main")
    page.wait_for_url("**/check-mail")
