"""A policy, a rollout with a failing phase, pause and resume, by the pages of a running system."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from deploy.story.steps import PASSWORD
from tests.console.browser.conftest import Site
from tests.console.browser.desktops import Desktops, desktops
from tests.console.browser.looking import look

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def customer(site: Site) -> Iterator[Desktops]:
    """The story's customer, made before playwright occupies the thread's event loop."""
    from concurrent.futures import ThreadPoolExecutor

    assert site.url  # which starts first
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(desktops).result()


def reports(customer: Desktops, number: int, *, succeeded: bool) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(customer.report, customer.users[number], succeeded=succeeded).result()


def sign_in(page: "Page", email: str) -> None:
    page.goto("/sign-in")
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.click("button.main")
    page.wait_for_url("**/")


def confirm(page: "Page") -> None:
    """Confirm what the dry run says."""
    page.wait_for_selector("input[name=confirmed]", state="attached")
    page.click("button.main")
    page.wait_for_url("**notice=*")


def shows(page: "Page", text: str) -> None:
    """Wait until the page says so, by itself where it has JavaScript, else by loading it again."""
    for _ in range(40):
        if text in page.inner_text("main"):
            return
        page.wait_for_timeout(500)
        if not page.locator("html[data-scripted]").count():
            page.reload()
    raise AssertionError(f"{text!r} is not shown: {page.inner_text('main')[:2000]}")


def set_policy(page: "Page", group: str) -> None:
    """Let the group's updates be installed today and tomorrow, and approve them weekly."""
    page.click("text=Change the policy")
    page.check("input[value=weekly]")
    for row, day in enumerate((datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)), start=1):
        page.select_option(f"#weekday_{row}", f"{day:%A}".lower())
        page.fill(f"#starts_{row}", "00:00")
        page.fill(f"#minutes_{row}", "1440")
        page.fill(f"#time_zone_{row}", "UTC")
    look(page, f"updates-policy-{group}")
    page.click("button.main")
    page.wait_for_selector("input[name=confirmed]", state="attached")
    assert "Each Monday" in page.inner_text("main") and "24 hours" in page.inner_text("main")
    look(page, "updates-policy-confirm")
    confirm(page)


@pytest.mark.parametrize("page", ["with-javascript"], indirect=True)
def test_a_policy_a_failing_phase_pause_and_resume(page: "Page", customer: Desktops) -> None:
    sign_in(page, customer.administrator.email)
    page.click("nav >> text=Updates")
    page.wait_for_url(f"**/updates/{customer.contract}")
    look(page, "updates-available")
    make_pilots(page, customer)
    set_policy(page, "pilots")
    look(page, "updates-group")
    approve_in_phases(page, customer)
    page.click("section >> text=Rollout")
    shows(page, "0 of 4 users have version 2027.1.")
    let_the_first_phase_fail(page, customer)
    pause_and_resume(page)
    for number in (1, 2, 3):
        reports(customer, number, succeeded=True)
    shows(page, "4 of 4 users have version 2027.1.")
    look(page, "updates-rollout-completed")
    for name in ("Rollouts", "Policies", "My updates"):
        page.click(f"nav >> text={name}")
        page.wait_for_selector(f"h1:text-is('{name}')")
        look(page, f"updates-{name.lower().replace(' ', '-')}")


def make_pilots(page: "Page", customer: Desktops) -> None:
    """Create a group, and put its first member in by address."""
    page.click("nav >> text=Groups")
    page.fill("#name", "Pilots")
    page.click("button.main")
    page.wait_for_url("**notice=group-created")
    shows(page, "Pilots")
    look(page, "updates-groups")
    page.click("text=Pilots")
    page.fill("#email", "nobody@northhaus.example")
    page.click("button.main")
    page.wait_for_selector("#email-error")
    look(page, "updates-member-refused")
    page.fill("#email", customer.users[0].email)
    page.click("button.main")
    confirm(page)
    shows(page, customer.users[0].name)


def approve_in_phases(page: "Page", customer: Desktops) -> None:
    """Approve the update for the pilots first, then for everybody else."""
    page.click("nav >> text=Available")
    page.click(f"a[href$='{customer.update_id}']")
    look(page, "updates-update")
    page.click("text=Approve or schedule")
    page.check("input[value=phases]")
    page.select_option("#who_1", label="Pilots")
    page.select_option("#who_2", label="Everybody else")
    look(page, "updates-approve")
    page.click("button.main")
    page.wait_for_selector("input[name=confirmed]", state="attached")
    assert "Phase 1: Pilots." in page.inner_text("main")
    look(page, "updates-approve-confirm")
    confirm(page)
    shows(page, "Rollout")


def let_the_first_phase_fail(page: "Page", customer: Desktops) -> None:
    """Let the pilot's machine fail, which pauses the rollout, and let it try again."""
    reports(customer, 0, succeeded=False)
    shows(page, "The rollout is paused")
    assert "Too many installations failed" in page.inner_text("main")
    assert "The disk is full." in page.inner_text("main")
    look(page, "updates-rollout-paused")
    page.click("text=Let the failed try again")
    page.click("button.main")
    confirm(page)
    reports(customer, 0, succeeded=True)
    shows(page, "1 of 4 users have version 2027.1.")


def pause_and_resume(page: "Page") -> None:
    """Pause the rollout with a reason, and resume it."""
    page.click("#do-pause")
    page.fill("#reason", "Exams this week")
    page.click("button.main")
    confirm(page)
    shows(page, "Exams this week")
    look(page, "updates-rollout-by-hand")
    page.click("#do-resume")
    page.click("button.main")
    confirm(page)
