"""Pages that stay open: what they keep has a bound, however many events come.

`BROWSER=1 OPEN_S=3600 .local/venv/bin/python -m pytest tests/console/browser/test_open_pages.py -k hour` leaves two
pages open for an hour, with real events.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from deploy import ROOT
from deploy.cast import OPERATOR, PASSWORD
from tests.console.browser.conftest import Site
from tests.console.browser.hands import Mouse, sign_in
from tests.console.browser.inspected import Busy, people

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

LIVE_JS: Final = (ROOT / "services/console/static/live.js").read_text()
SHOWN_EVERY: Final = "SHOW_MS = 500;"
OPEN_S: Final = float(os.environ.get("OPEN_S", "0"))
ROUNDS: Final = 8
EACH: Final = 500
MORE_NODES: Final = 300
"""How many nodes a page may have more than after the first round: fewer than a hundredth of what all rows would."""
MORE_HEAP: Final = 1_500_000

pytestmark = pytest.mark.parametrize("page", ["with-javascript"], indirect=True)


@pytest.fixture(scope="module", autouse=True)
def made(site: Site) -> None:
    people(site)


@dataclass(frozen=True, slots=True)
class Size:
    """What a page occupies after garbage was collected."""

    nodes: int
    listeners: int
    heap: int

    def check(self, before: "Size") -> None:
        assert self.nodes <= before.nodes + MORE_NODES, (before, self)
        assert self.listeners <= before.listeners + MORE_NODES, (before, self)
        assert self.heap <= before.heap + MORE_HEAP, (before, self)


def size(page: "Page") -> Size:
    """What the page occupies while it is paused, so that nothing comes and goes meanwhile."""
    page.click("[data-pause]")
    page.wait_for_selector("[data-state]:has-text('paused')")
    page.wait_for_timeout(1_000)
    session = page.context.new_cdp_session(page)
    try:
        for _ in range(3):
            session.send("HeapProfiler.collectGarbage")
            page.wait_for_timeout(100)
        counted = session.send("Memory.getDOMCounters")
        heap = session.send("Runtime.getHeapUsage")["usedSize"]
    finally:
        session.detach()
    page.click("[data-pause]")
    return Size(int(counted["nodes"]), int(counted["jsEventListeners"]), int(heap))


class Flood:
    """Answers each of a page's streams with some blocks, after which the browser connects again."""

    def __init__(self, kind: str, each: int = EACH) -> None:
        self.kind, self.each, self.sent = kind, each, 0

    def answer(self, route: "Route") -> None:
        numbers = range(self.sent, self.sent + self.each)
        self.sent += self.each
        body = "".join(f"data: {json.dumps(self.block(number))}\n\n" for number in numbers)
        route.fulfill(content_type="text/event-stream", body=f"retry: 10\n\n{body}")

    def block(self, number: int) -> dict[str, object]:
        if self.kind == "rates":
            return {"at": number, "events": {"identity": {f"Type{number % 40}": number % 97 + 1}}}
        time_ = f"2026-11-30T00:{number // 60 % 60:02}:{number % 60:02}Z"
        type_ = f"internal.tenure.Type{number % 40}"
        event = {"id": f"e-{number}", "type": type_, "subject": f"s-{number}", "time": time_}
        return {**event, "data": {"text": "x" * 2000}}

    def flows(self, page: "Page", blocks: int) -> None:
        """Wait until this many more have come."""
        until = self.sent + blocks
        for _ in range(600):
            if self.sent >= until:
                return
            page.wait_for_timeout(50)
        raise AssertionError(f"{self.sent} blocks were asked for, not {until}")


@pytest.mark.parametrize(
    ("at", "stream", "kind"),
    [("/operator/now", "**/live/rates", "rates"), ("/topics/identity", "**/live/identity.events.v1*", "samples")],
)
def test_a_page_keeps_its_size_while_thousands_of_events_come(page: "Page", at: str, stream: str, kind: str) -> None:
    flood = Flood(kind)
    page.route(stream, flood.answer)
    sign_in(page, Mouse(page), OPERATOR.email, PASSWORD)
    page.goto(at)
    flood.flows(page, 2 * EACH)
    before = size(page)
    flood.flows(page, ROUNDS * EACH)
    size(page).check(before)
    assert page.locator("[data-types] tr").count() <= 12 and page.locator("[data-list] li").count() <= 20


def test_samples_keep_their_size_however_often_they_are_shown(page: "Page") -> None:
    """A fragment that was emptied is four nodes a second, which only an hour shows."""
    often = LIVE_JS.replace(SHOWN_EVERY, "SHOW_MS = 5;")
    assert often != LIVE_JS
    page.route("**/live.js*", lambda route: route.fulfill(content_type="text/javascript", body=often))
    flood = Flood("samples", each=3)
    page.route("**/live/identity.events.v1*", flood.answer)
    sign_in(page, Mouse(page), OPERATOR.email, PASSWORD)
    page.goto("/topics/identity")
    flood.flows(page, 60)
    before = size(page)
    for _ in range(10):
        flood.flows(page, 120)
    size(page).check(before)


@pytest.mark.parametrize("at", ["/operator/now", "/topics/identity"])
def test_a_page_that_is_paused_asks_for_nothing(page: "Page", at: str) -> None:
    sign_in(page, Mouse(page), OPERATOR.email, PASSWORD)
    page.goto(at)
    page.wait_for_selector("[data-state]:has-text('live')")
    page.click("[data-pause]")
    page.wait_for_selector("[data-state]:has-text('paused')")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6_000)
    assert [url for url in asked if "/live/" in url or "/figures" in url] == []
    page.click("[data-pause]")
    page.wait_for_selector("[data-state]:has-text('live')")


@pytest.mark.skipif(not OPEN_S, reason="takes as long as OPEN_S says")
def test_pages_that_are_open_for_an_hour_do_not_grow(page: "Page", site: Site) -> None:
    sign_in(page, Mouse(page), OPERATOR.email, PASSWORD)
    pages = [page, page.context.new_page()]
    with busy(Busy(site)):
        for each, at in zip(pages, ("/operator/now", "/topics/identity"), strict=True):
            each.goto(at)
            each.wait_for_selector("[data-state]:has-text('live')")
        page.wait_for_timeout(min(OPEN_S, 120) * 1000)  # until the chart and the list are full
        before = [size(each) for each in pages]
        began = time.monotonic()
        while time.monotonic() - began < OPEN_S:
            page.wait_for_timeout(min(60, OPEN_S) * 1000)
            print(round(time.monotonic() - began), [size(each) for each in pages], flush=True)
        for each, first in zip(pages, before, strict=True):
            each.wait_for_selector("[data-state]:has-text('live')")
            size(each).check(first)


@contextmanager
def busy(person: Busy) -> Iterator[None]:
    """Let somebody change their profile again and again meanwhile."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.2):
            person.change()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if person.changes % 2:
            person.change()
