"""Looking at a page: no violation of WCAG 2.2 AA, in both themes and at both widths."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SHOTS = os.environ.get("SHOTS")
LOOKED_AT = ((390, "light"), (1280, "dark"))


def look(page: "Page", name: str) -> None:
    """No violation of WCAG 2.2 AA, in both themes and at both widths; keeps the screenshots where SHOTS says.

    axe-core looks twice, as a theme's colours are the same at both widths.
    """
    for width, theme in ((390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")):
        by_axe = (width, theme) in LOOKED_AT and evaluates(page)
        if not (SHOTS or by_axe):
            continue
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
        if SHOTS:
            page.screenshot(path=str(Path(SHOTS) / f"{name}-{width}-{theme}.png"), full_page=True)
        if by_axe:
            assert page.evaluate("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
            assert violations(page) == []


def violations(page: "Page") -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    options = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


def evaluates(page: "Page") -> bool:
    """Whether the page runs JavaScript, which axe-core is."""
    found: int = page.locator("html[data-scripted]").count()
    return found == 1


def press_to(page: "Page", words: str) -> None:
    """Press Tab until the link or button of these words has the focus, which is to be seen."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count() and " ".join(focused.inner_text().split()) == words:
            return
    raise AssertionError(f"{words} can't be reached")
