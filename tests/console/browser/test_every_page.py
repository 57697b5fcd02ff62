"""Every page that a kind of person comes to from Home by its links, with data, at both widths and in both themes.

The people are those of `make up`, which are made first where they are missing.
"""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from deploy import example
from deploy.cast import CUSTOMER, PARTNER, PASSWORD, Role
from services.console.app import OPEN
from tests.console.browser.conftest import Site
from tests.console.browser.looking import look
from tests.console.walking import EXAMPLES, Way, path_of

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

BARE_ID: Final = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
BARE_DAY: Final = re.compile(r"\b\d{4}-\d\d-\d\d\b")
SAID: Final = "[...document.querySelectorAll('main, header, footer')].map(part => part.innerText).join(' ')"
NUMBERS: Final = "[...document.querySelectorAll('code')].map(each => each.innerText)"
"""Where a page shows a number that somebody is to type elsewhere."""

pytestmark = pytest.mark.parametrize("page", ["with-javascript"], indirect=True)


@pytest.fixture(scope="module", autouse=True)
def people(site: Site) -> None:
    assert site.url
    with ThreadPoolExecutor(1) as thread:  # playwright occupies this thread's event loop
        thread.submit(lambda: asyncio.run(example.prepare())).result()


def sign_in(page: "Page", role: Role) -> None:
    page.goto("/sign-in")
    page.fill("#email", role.email)
    page.fill("#password", PASSWORD)
    page.click("main button.main")
    page.wait_for_url("**/")


def walk(page: "Page") -> "Iterator[tuple[str, Response | None]]":
    """Open one page of each path that the links lead to, from Home on."""
    way = Way()
    while address := way.next():
        answer = page.goto(address)
        yield path_of(page.url), answer
        way.found(page.content())


def check_words(page: "Page") -> None:
    """No page shows a bare id, or a day as machines write it."""
    said, numbers = str(page.evaluate(SAID)), " ".join(page.evaluate(NUMBERS))
    assert set(BARE_ID.findall(said)) <= set(BARE_ID.findall(numbers))
    assert BARE_DAY.findall(said) == []


@pytest.mark.parametrize("role", EXAMPLES, ids=lambda role: role.role.replace(", ", "-").replace(" ", "-"))
def test_every_page_that_somebody_comes_to(page: "Page", role: Role) -> None:
    sign_in(page, role)
    for route, answer in walk(page):
        assert answer is not None and answer.status == 200, f"{page.url} answers {answer and answer.status}"
        look(page, f"{role.email.partition('@')[0]}{route.translate(str.maketrans('/', '-', '{}'))}")
        check_words(page)


@pytest.mark.parametrize("role", [CUSTOMER, PARTNER], ids=["customer", "partner"])
def test_every_page_in_german(page: "Page", role: Role) -> None:
    """The longest words fit the narrowest screen, too."""
    sign_in(page, role)
    with in_german(page):
        page.set_viewport_size({"width": 390, "height": 844})
        for path, _ in walk(page):
            assert page.locator("html").get_attribute("lang") == "de"
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, f"{path} scrolls sideways"
            check_words(page)


@contextmanager
def in_german(page: "Page") -> Iterator[None]:
    """Let the person's profile be German meanwhile."""
    page.goto("/profile")
    before = page.input_value("#locale")
    choose_language(page, "de-DE")
    try:
        yield
    finally:
        choose_language(page, before)


def choose_language(page: "Page", tag: str) -> None:
    page.goto("/profile")
    page.select_option("#locale", tag)
    page.click("main form:has(#locale) button.main")
    page.wait_for_url("**notice=saved")


def test_the_pages_for_everybody(page: "Page") -> None:
    for at, _, _ in OPEN:
        page.goto(at)
        look(page, f"open{at.replace('/', '-')}")
    answer = page.goto("/nothing-here")
    assert answer is not None and answer.status == 404
    look(page, "open-nothing-here")
