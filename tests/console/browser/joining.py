"""Opening an account by the pages."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Page

FIRST: Final = "quartz lamp river onion"
"""The password."""


def sign_up(page: "Page", email: str) -> None:
    """Open an account in a new sandbox organisation; the page then asks to look for the mail."""
    page.goto("/sign-up")
    page.fill("#name", "Mina Okafor")
    page.fill("#email", email)
    page.fill("#password", FIRST)
    page.select_option("#country", "DE")
    page.fill("#organisation", "Northhaus Ingenieure")
    page.check("input[value=customer]")
    page.check("input[name=sandbox]")
    page.click("button.main")
    page.wait_for_url("**/check-mail")
