"""A policy, a rollout with a failing phase, pause and resume, by the pages of the whole system."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from deploy.story.steps import PASSWORD
from tests.console.browser.conftest import Site
from tests.console.browser.desktops import Desktops, desktops
from tests.console.browser.hands import BY_HAND, Hand, confirm, sign_in, until

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def customer(site: Site) -> Desktops:
    """The story's customer, made in a thread, as playwright occupies this one's event loop."""
    assert site.url  # which starts first
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(desktops).result()


def reports(customer: Desktops, number: int, *, succeeded: bool) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(customer.report, customer.users[number], succeeded=succeeded).result()


@BY_HAND
def test_a_policy_a_failing_phase_pause_and_resume(page: "Page", hand: Hand, customer: Desktops) -> None:
    sign_in(page, hand, customer.administrator.email, PASSWORD)
    hand.press("nav >> text=Updates")
    page.wait_for_url(f"**/updates/{customer.contract}")
    hand.look("updates-available")
    make_pilots(page, hand, customer)
    set_policy(page, hand)
    approve_in_phases(page, hand, customer)
    hand.press("text=See the rollout")
    page.wait_for_url("**/rollouts/*")
    until(page, "0 of 4 users have version 2027.1.")
    let_the_first_phase_fail(page, hand, customer)
    pause_and_resume(page, hand)
    for number in (1, 2, 3):
        reports(customer, number, succeeded=True)
    until(page, "4 of 4 users have version 2027.1.")
    hand.look("updates-rollout-completed")
    for name in ("Rollouts", "Policies", "My updates"):
        hand.press(f"nav.tabs >> text={name}")
        page.wait_for_selector(f"h1:text-is('{name}')")
        hand.look(f"updates-{name.lower().replace(' ', '-')}")


def make_pilots(page: "Page", hand: Hand, customer: Desktops) -> None:
    """Create a group, and put its first member in by address."""
    hand.press("nav.tabs >> text=Groups")
    page.wait_for_url("**/groups")
    hand.enter("#name", "Pilots")
    hand.press("button.main")
    page.wait_for_url("**notice=group-created")
    until(page, "Pilots")
    hand.look("updates-groups")
    hand.press("tbody >> text=Pilots")
    page.wait_for_url("**/groups/*")
    hand.enter("#email", "nobody@northhaus.example")
    hand.press("button.main")
    page.wait_for_selector("#email-error")
    hand.look("updates-member-refused")
    hand.enter("#email", customer.users[0].email)
    hand.press("button.main")
    confirm(page, hand)
    until(page, customer.users[0].name)


def set_policy(page: "Page", hand: Hand) -> None:
    """Let the pilots' updates be installed today and tomorrow, and approve them weekly."""
    hand.press("text=Change the policy")
    page.wait_for_url("**/policy")
    hand.press("input[value=weekly]")
    for row, day in enumerate((datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)), start=1):
        if row == 2:
            hand.press("details:has(#weekday_2) > summary")
        hand.choose(f"#weekday_{row}", f"{day:%A}")
        hand.enter(f"#starts_{row}", "00:00")
        hand.enter(f"#minutes_{row}", "1440")
        hand.enter(f"#time_zone_{row}", "UTC")
    hand.look("updates-policy")
    hand.press("button.main")
    page.wait_for_selector("input[name=confirmed]", state="attached")
    hand.look("updates-policy-confirm")
    confirm(page, hand, "Each Monday", "24 hours")
    hand.look("updates-group")


def approve_in_phases(page: "Page", hand: Hand, customer: Desktops) -> None:
    """Approve the update for the pilots first, then for everybody else."""
    hand.press("nav.tabs >> text=Available")
    page.wait_for_url(f"**/updates/{customer.contract}")
    hand.press(f"a[href$='{customer.update_id}']")
    page.wait_for_url(f"**/{customer.update_id}")
    hand.look("updates-update")
    hand.press("text=Approve or schedule")
    page.wait_for_url("**/approve")
    hand.press("input[value=phases]")
    hand.choose("#who_1", "Pilots")
    hand.choose("#who_2", "Everybody else")
    hand.look("updates-approve")
    hand.press("button.main")
    page.wait_for_selector("input[name=confirmed]", state="attached")
    hand.look("updates-approve-confirm")
    confirm(page, hand, "Phase 1: Pilots.")
    until(page, "See the rollout")


def let_the_first_phase_fail(page: "Page", hand: Hand, customer: Desktops) -> None:
    """Let the pilot's machine fail, which pauses the rollout, and let it try again."""
    reports(customer, 0, succeeded=False)
    until(page, "The rollout is paused")
    shown = page.inner_text("main")
    assert "Too many installations failed" in shown and "The disk is full." in shown
    hand.look("updates-rollout-paused")
    hand.press("text=Let the failed try again")
    page.wait_for_url("**/retry")
    hand.press("button.main")
    confirm(page, hand)
    reports(customer, 0, succeeded=True)
    until(page, "1 of 4 users have version 2027.1.")


def pause_and_resume(page: "Page", hand: Hand) -> None:
    """Pause the rollout with a reason, and resume it."""
    hand.press("#do-pause")
    page.wait_for_url("**/pause")
    hand.enter("#reason", "Exams this week")
    hand.press("button.main")
    confirm(page, hand)
    until(page, "Exams this week")
    hand.look("updates-rollout-by-hand")
    hand.press("#do-resume")
    page.wait_for_url("**/resume")
    hand.press("button.main")
    confirm(page, hand, notice="did-resumed")
