"""An operator cancels a run that waits for somebody else, and sees what becomes of a restore."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from deploy import example
from deploy.cast import OPERATOR, PASSWORD
from shared.eventlog.repair.tries import MENDING
from shared.runtime.settings import Settings
from tests.console.browser.conftest import Site
from tests.console.browser.hands import BY_HAND, FOCUSED, Hand, sign_in, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOCKED: Final = "lock table subscriptions in access exclusive mode"
RESTORES: Final = "select pg_advisory_xact_lock(hashtext('tenure restore'))"
"""What a restore holds while it runs."""
INTERRUPTED: Final = MENDING + (
    "it stopped 2026-11-29 11:00:00 UTC at importing (the broker is gone), begun 2026-11-29 10:59:00 UTC by Kim. What "
    "was imported stays: run `tenure reconcile marketplace` again, which continues from there"
)


@pytest.fixture(scope="module")
def operator(site: Site) -> None:
    assert site.url
    with ThreadPoolExecutor(1) as thread:  # playwright occupies this thread's event loop
        thread.submit(lambda: asyncio.run(example.prepare())).result()


@contextmanager
def in_transaction(statement: str) -> Iterator[None]:
    """Keep a transaction of marketplace's database open that has done this."""
    done, release = threading.Event(), threading.Event()

    async def hold() -> None:
        db = await asyncpg.connect(Settings().dsn("marketplace"))
        try:
            async with db.transaction():
                await db.execute(statement)
                done.set()
                await asyncio.to_thread(release.wait)
        finally:
            await db.close()

    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(lambda: asyncio.run(hold()))
        try:
            assert done.wait(20)
            yield
        finally:
            release.set()
            held.result()


def fence(reason: str | None) -> None:
    async def write() -> None:
        db = await asyncpg.connect(Settings().dsn("marketplace"))
        try:
            await db.execute("update log.head set fenced = $1", reason)
        finally:
            await db.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(write())).result()


@pytest.fixture
def interrupted(operator: None) -> Iterator[None]:
    fence(INTERRUPTED)
    yield
    fence(None)


def planned(page: "Page", hand: Hand) -> None:
    """Wait for a plan, and give the reason for it."""
    page.wait_for_url("**/operations/*")
    until(page, "This would happen:")
    hand.enter("#reason", "It has to be.")


def stays(page: "Page", at: str) -> None:
    """Whoever uses the keyboard stays where they are while the page loads itself again."""
    page.locator(at).focus()
    if page.locator("html[data-scripted]").count():
        page.evaluate("() => { document.getElementById('live').former = true }")
        for _ in range(150):
            if not page.evaluate("() => document.getElementById('live').former"):
                break
            page.wait_for_timeout(200)
        else:
            raise AssertionError("it does not load itself again")
    assert page.locator(at).evaluate(FOCUSED)


@BY_HAND
def test_a_run_that_waits_is_cancelled(page: "Page", hand: Hand, operator: None) -> None:
    sign_in(page, hand, OPERATOR.email, PASSWORD)
    hand.press("nav >> text=Operate")
    hand.press("main >> text=Rebuild a projection")
    hand.enter("#projection", "marketplace.sales")
    hand.press("button:text-is('Show what it would do')")
    planned(page, hand)
    with in_transaction(LOCKED):
        hand.press("button:text-is('Apply it')")
        until(page, "It has begun.")
        hand.look("runs")
        hand.press("text=How it was run")
        stays(page, "#cancel")
        assert page.locator("details[open]").count() == 1
        hand.press("text=Cancel it")
        page.wait_for_url("**/cancel")
        until(page, "What is left behind:")
        hand.look("cancel")
        hand.press("button:text-is('Cancel the run')")
        page.wait_for_selector("[aria-invalid=true]")
        hand.look("cancel-without-a-reason")
        hand.enter("#reason", "It waits for somebody's transaction.")
        hand.press("button:text-is('Cancel the run')")
        page.wait_for_url("**/operations/*")
        until(page, "Why: It waits for somebody's transaction.")
        until(page, "cancelled", at=".heading .tag")
    assert page.locator("text=Cancel it").count() == 0
    hand.look("cancelled")


@BY_HAND
def test_restores_are_followed_and_continued_only_without_the_service(
    page: "Page", hand: Hand, interrupted: None
) -> None:
    sign_in(page, hand, OPERATOR.email, PASSWORD)
    hand.press("nav >> text=Operate")
    with in_transaction(RESTORES):
        hand.press("main a[href='/operator/operate/restores']")
        page.wait_for_url("**/restores")
        until(page, "store is being restored")
        assert page.locator("progress").count() == 1
        stays(page, "#again")
        hand.look("restores-running")
    until(page, "interrupted: it takes no commands")
    assert "the broker is gone" in page.inner_text("main")
    hand.look("restores-interrupted")
    hand.press("main >> text=Bring a store from a backup up to date")
    page.wait_for_url("**/verbs/reconcile?service=marketplace")
    hand.press("button:text-is('Show what it would do')")
    planned(page, hand)
    assert "The store takes no commands now" in page.inner_text("main")
    hand.press("button:text-is('Apply it')")
    until(page, "stop the service's processes first")
    hand.look("restore-refused")
    fence(None)
    page.goto("/operator/operate/restores")
    until(page, "nothing is being restored")
    hand.look("restores-none")
