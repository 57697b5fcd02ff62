"""A person's hands: the same way through the pages with a mouse, or with the keyboard alone.

@BY_HAND
def test_something(page: "Page", hand: Hand) -> None:
    sign_in(page, hand, email, password)
    hand.press("nav >> text=Seats")
"""

from collections.abc import Callable
from datetime import datetime, time
from time import sleep
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakKeyDictionary

import pytest

from tests.console.browser.looking import look

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Frame, Locator, Page, Request

BY_HAND: Final = pytest.mark.parametrize(
    ("page", "hand"),
    [("with-javascript", "mouse"), ("with-javascript", "keyboard"), ("without-javascript", "keyboard")],
    indirect=True,
)
"""The way is gone by mouse, looked at by axe-core, and by keyboard alone with and without JavaScript."""
MOST_TABS: Final = 250
"""More than the links, buttons and fields of any page that a test uses."""
FOCUSED: Final = "e => e === document.activeElement"
SEEN: Final = """e => {
    const style = getComputedStyle(e), at = e.getBoundingClientRect();
    const drawn = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
    return e.matches(":focus-visible") && drawn && at.bottom > 0 && at.top < innerHeight;
}"""
"""Whether the focused element is on the screen, with an outline."""
KIND: Final = "e => e.type === 'radio' || e.type === 'checkbox' ? e.type : ''"
TYPED: Final = {"time": ("%I%M%p",), "date": ("%m%d%Y",), "datetime-local": ("%m%d%Y", "%I%M%p")}
"""What is typed into a field for a time or a day, as the language of this browser itself has it."""
LEAVING: "Final[WeakKeyDictionary[Page, Request]]" = WeakKeyDictionary()
"""The pages that wait for the next one, with what they asked for."""
CHOSEN: Final = "e => e.selectedOptions[0].label"


class Hand(Protocol):
    """What a person does with the controls of a page; `at` is a selector of playwright, the first that matches."""

    name: str

    def press(self, at: str) -> None:
        """Press a link, a button, a checkbox or a radio button."""

    def enter(self, at: str, text: str) -> None:
        """Replace the text of a field."""

    def choose(self, at: str, option: str) -> None:
        """Choose an option of a list by its text."""

    def give(self, at: str, file: "FilePayload") -> None:
        """Choose a file."""

    def look(self, name: str) -> None:
        """Look at the page, once for all hands."""


class Mouse:
    """Points and clicks, and types into what was clicked."""

    name = "mouse"

    def __init__(self, page: "Page") -> None:
        self._page = page

    def press(self, at: str) -> None:
        self._page.locator(at).first.click()

    def enter(self, at: str, text: str) -> None:
        self.press(at)
        self._page.locator(at).first.fill(text)

    def choose(self, at: str, option: str) -> None:
        self._page.locator(at).first.select_option(label=option)

    def give(self, at: str, file: "FilePayload") -> None:
        with self._page.expect_file_chooser() as asked:
            self.press(at)
        asked.value.set_files(file)

    def look(self, name: str) -> None:
        look(self._page, name)


class Keyboard:
    """Tab, Enter, Space, arrows and letters; wherever the focus goes to, it is to be seen."""

    name = "keyboard"

    def __init__(self, page: "Page") -> None:
        self._page = page

    def reach(self, at: str) -> "Locator":
        """Press Tab until the control has the focus."""
        wanted = self._page.locator(at).first
        wanted.wait_for(state="attached")
        for _ in range(MOST_TABS):
            if wanted.evaluate(FOCUSED):
                assert wanted.evaluate(SEEN), f"the focus on {at} is not to be seen"
                return wanted
            self._page.keyboard.press("Tab")
        raise AssertionError(f"{at} can't be reached by Tab")

    def press(self, at: str) -> None:
        kind = self._page.locator(at).first.evaluate(KIND)
        if kind == "radio":
            self._turn_to(at)
        else:
            self.reach(at)
            self._page.keyboard.press("Space" if kind else "Enter")

    def _turn_to(self, at: str) -> None:
        """Reach the radio buttons of its group, of which Tab knows one, and press an arrow until it is chosen."""
        wanted = self._page.locator(at).first
        group = wanted.get_attribute("name")
        for _ in range(MOST_TABS):
            if self._page.locator(f"input[type=radio][name='{group}']:focus").count():
                break
            self._page.keyboard.press("Tab")
        self._page.keyboard.press("Space")
        for _ in range(20):
            if wanted.is_checked() and wanted.evaluate(FOCUSED):
                assert wanted.evaluate(SEEN), f"the focus on {at} is not to be seen"
                return
            self._page.keyboard.press("ArrowDown")
        raise AssertionError(f"{at} can't be reached by the arrows")

    def enter(self, at: str, text: str) -> None:
        field = self.reach(at)
        if (written := TYPED.get(field.get_attribute("type") or "")) is not None:
            moment = time.fromisoformat(text) if written == TYPED["time"] else datetime.fromisoformat(text)
            for part in written:
                self._page.keyboard.type(format(moment, part))
                self._page.keyboard.press("ArrowRight")  # a year may have more than four digits
            assert field.input_value() == text
            return
        self._page.keyboard.press("ControlOrMeta+A")
        self._page.keyboard.type(text)

    def choose(self, at: str, option: str) -> None:
        listed = self.reach(at)
        self._page.keyboard.type(option[:1])
        for _ in range(40):
            if listed.evaluate(CHOSEN) == option:
                return
            self._page.keyboard.press("ArrowDown")
        raise AssertionError(f"{at} has no {option}")

    def give(self, at: str, file: "FilePayload") -> None:
        self.reach(at)
        with self._page.expect_file_chooser() as asked:
            self._page.keyboard.press("Enter")
        asked.value.set_files(file)

    def look(self, name: str) -> None:
        """Do nothing: the mouse has seen the same page."""


def hand_of(name: str, page: "Page") -> Hand:
    return Keyboard(page) if name == "keyboard" else Mouse(page)


def watch_leaving(page: "Page") -> None:
    """From now on notice when the page is left for another, which may take a busy machine seconds."""

    def asked(request: "Request") -> None:
        if request.is_navigation_request() and request.frame == page.main_frame:
            LEAVING[page] = request

    def failed(request: "Request") -> None:
        if LEAVING.get(page) == request:
            del LEAVING[page]

    def came(frame: "Frame") -> None:
        if frame == page.main_frame:
            LEAVING.pop(page, None)

    page.on("request", asked)
    page.on("requestfailed", failed)
    page.on("framenavigated", came)


def sign_in(page: "Page", hand: Hand, email: str, password: str) -> None:
    page.goto("/sign-in")
    enter_password(hand, email, password)
    page.wait_for_url("**/")


def enter_password(hand: Hand, email: str, password: str) -> None:
    """Fill in the sign-in's form, which leads to the page that was asked for."""
    hand.enter("#email", email)
    hand.enter("#password", password)
    hand.press("main button.main")


def confirm(page: "Page", hand: Hand, *says: str, notice: str = "") -> None:
    """Read what the dry run says, and do it; `notice` is what the page after it says first."""
    page.wait_for_selector("main input[name=confirmed]", state="attached")
    shown = page.inner_text("main")
    assert all(each in shown for each in says), shown
    hand.press("main button.main")
    page.wait_for_url(f"**notice={notice}*")


def until(page: "Page", words: str, within_s: float = 30, at: str = "main") -> None:
    """Wait until the page says this: by itself, or without JavaScript by loading it again.

    A page that has just come and says it is not loaded again: it may be the answer to a form, whose file is not sent
    twice.
    """
    for _ in range(round(2 * within_s)):
        if words in page.inner_text(at):
            return
        page.wait_for_timeout(500)
        still = page not in LEAVING and words not in page.inner_text(at)
        if still and page.locator("html[data-scripted]").count() == 0:
            page.reload()
    raise AssertionError(f"{page.url} does not say {words!r}: {page.inner_text('main')[:3000]}")


def eventually(found: Callable[[], bool], what: str) -> None:
    """Wait a minute at most until this is so, beside the page. Raises AssertionError with `what`."""
    for _ in range(300):
        if found():
            return
        sleep(0.2)
    raise AssertionError(what)


def csv(*lines: str) -> "FilePayload":
    """A CSV file of these lines."""
    return {"name": "people.csv", "mimeType": "text/csv", "buffer": "\n".join(lines).encode()}
