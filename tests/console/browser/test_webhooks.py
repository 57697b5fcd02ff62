"""A person registers a webhook, sees its secret once, mends one that is parked, replays events and removes it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from deploy.cast import CUSTOMER, PASSWORD
from tests.console.browser.conftest import Site
from tests.console.browser.hands import BY_HAND, Hand, confirm, sign_in
from tests.console.browser.inspected import Busy, people

if TYPE_CHECKING:
    from playwright.sync_api import Page


@dataclass
class Receiver:
    """An address that events are sent to, which answers as a test wants."""

    address: str
    status: int = 200
    got: list[str] = field(default_factory=list)
    """The ids of the events that it was sent, also of those that it has not accepted."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            found.got.append(self.headers["webhook-id"])
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    found = Receiver(f"http://127.0.0.1:{server.server_port}/events")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def somebody(site: Site) -> Busy:
    people(site)
    return Busy(site)


def until_page(page: "Page", words: str) -> None:
    """Load the page again until it says this; the sender needs seconds for its second attempt."""
    for _ in range(80):
        if words in page.inner_text("main"):
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError(f"{page.url} does not say {words!r}: {page.inner_text('main')}")


def secret(page: "Page", hand: Hand) -> str:
    """Confirm, and return the secret that is shown then."""
    page.wait_for_selector("main input[name=confirmed]", state="attached")
    hand.press("main button.main")
    page.wait_for_selector("main .notice.good")
    return str(page.inner_text("main dd code"))


@BY_HAND
def test_a_webhook_from_its_registration_to_its_removal(
    page: "Page", hand: Hand, receiver: Receiver, somebody: Busy
) -> None:
    name = f"Wall {receiver.address}"  # of another port each time
    sign_in(page, hand, CUSTOMER.email, PASSWORD)
    page.goto("/webhooks")
    hand.press("text=Register a webhook")
    page.wait_for_url("**/webhooks/new")
    hand.look("webhook-new")
    hand.enter("#name", name)
    hand.enter("#address", receiver.address)
    hand.choose("#topic", "identity.events.v1")
    hand.enter("#types", "ProfileUpdated")
    hand.press("main button.main")
    page.wait_for_selector("text=Register this webhook?")
    hand.look("webhook-asked")
    first = secret(page, hand)
    assert first.startswith("whsec_")
    hand.look("webhook-secret")
    page.goto("/webhooks")
    hand.press(f"tbody a:has-text('{name}')")
    page.wait_for_url("**/webhooks/*")
    assert first not in page.content(), "the secret is shown once"

    somebody.change()
    until_page(page, "Last accepted")
    hand.look("webhook-sends")
    receiver.status = 500
    somebody.change()
    until_page(page, "did not accept an event for too long")
    hand.look("webhook-parked")
    receiver.status = 200
    hand.press("text=Resume this webhook")
    confirm(page, hand, "It goes on with the event that it stopped at.", notice="webhook-resumed")
    until_page(page, "Pause this webhook")
    for _ in range(100):
        if len(set(receiver.got)) == 2 and len(receiver.got) > 2:
            break
        page.wait_for_timeout(200)
    assert len(set(receiver.got)) == 2

    hand.enter("#from", "1")
    hand.press("section[aria-labelledby=replay] button")
    confirm(page, hand, "The first one is at position 1.", notice="webhook-replays")
    hand.choose("#overlap", "ends at once")
    hand.press("section[aria-labelledby=secret] button")
    page.wait_for_selector("text=Give this webhook a new secret?")
    assert secret(page, hand) not in ("", first)
    hand.press("main a.button")
    page.wait_for_url("**/webhooks")
    hand.press(f"tbody a:has-text('{name}')")
    page.wait_for_url("**/webhooks/*")
    hand.press("text=Remove this webhook")
    confirm(page, hand, "Nothing more is sent to its address", notice="webhook-removed")
    hand.look("webhooks-removed")
    assert page.locator(f"tr:has-text('{name}') .tag:has-text('ended')").count() == 1
