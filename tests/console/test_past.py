"""How things stood at a time: five pages, one mechanism."""

from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.console.fakes import Answer, Browser, Services, problem, words
from tests.console.samples import portal, updates

NOON: Final = "2026-11-25T12:00"
PAGES: Final = {
    "/subscriptions/s-1": ("/subscriptions/s-1", "Ask for more seats"),
    "/seats/s-1": ("/pools/s-1", "Assign a seat"),
    "/contracts/c-1": ("/contracts/c-1", "Hand the contract over"),
    "/updates/c/groups/g": ("/contracts/c/groups/g", "Put into the group"),
    "/updates/c/rollouts/c-1": ("/contracts/c/rollouts/c-1", "End this phase"),
}
"""By page: what is asked for its state, and something that it offers for the present."""


async def visit(tmp_path: Path, page: str) -> tuple[Browser, Services]:
    services = Services(dict(updates.ANSWERS if page.startswith("/updates") else portal.ANSWERS))
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser, services


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_shows_how_it_stood_and_offers_nothing(tmp_path: Path, page: str) -> None:
    browser, services = await visit(tmp_path, page)
    asked, offered = PAGES[page]
    present = words((await browser.get(page)).text)
    assert offered in present and "This is the past." not in present and "As it stood at" in present
    answer = await browser.get(f"{page}?as_of={NOON}")
    past = words(answer.text)
    assert "This is the past. It stood so on 25 Nov 2026, 12:00 CET. Nothing can be changed here." in past
    assert offered not in past and 'method="post"' not in answer.text.partition("<main")[2]
    assert services.of("GET", asked)[-1].url.params["as_of"] == "2026-11-25T11:00:00+00:00"


@pytest.mark.parametrize("page", PAGES)
async def test_a_time_before_it_began_is_said_so_and_the_present_is_shown(tmp_path: Path, page: str) -> None:
    browser, services = await visit(tmp_path, page)
    asked, offered = PAGES[page]
    now = services.answers[f"GET {asked}"]
    services.answers[f"GET {asked}"] = past_refused(now, problem(404, "as-of-too-early"))
    said = words((await browser.get(f"{page}?as_of={NOON}")).text)
    assert "There was nothing of this at that time yet." in said and "This is how it stands now." in said
    assert offered in said and "This is the past." not in said


@pytest.mark.parametrize("page", PAGES)
async def test_a_time_before_it_began_is_answered_by_when_its_history_begins(tmp_path: Path, page: str) -> None:
    browser, services = await visit(tmp_path, page)
    asked, _ = PAGES[page]
    services.answers[f"GET {asked}"] = past_refused(services.answers[f"GET {asked}"], problem(404, "as-of-too-early"))
    services.answers[f"GET {asked}/history"] = updates.many({**updates.event("Begun"), "at": "2026-11-27T09:30:00Z"})
    said = words((await browser.get(f"{page}?as_of={NOON}")).text)
    assert "There was nothing of this at that time yet. Its history begins on 27 Nov 2026, 10:30 CET." in said
    parts = [dict(each.url.params) for each in services.of("GET", f"{asked}/history")]
    assert {"sort": "version", "limit": "1"} in parts


@pytest.mark.parametrize(("year", "asked_for"), [("0001", "1900-"), ("1850", "1900-"), ("9999", "8999-")])
async def test_a_year_that_no_service_knows_is_before_or_after_everything(
    tmp_path: Path, year: str, asked_for: str
) -> None:
    """Not a malformed time: it is too early, or still to come."""
    browser, services = await visit(tmp_path, "/seats/s-1")
    await browser.get(f"/seats/s-1?as_of={year}-01-01T12:00")
    assert services.of("GET", "/pools/s-1")[-1].url.params["as_of"].startswith(asked_for)


def past_refused(now: Answer, refused: httpx.Response) -> Answer:
    assert isinstance(now, httpx.Response)
    return lambda request: refused if "as_of" in request.url.params else now


async def test_what_is_no_time_is_said_so(tmp_path: Path) -> None:
    browser, _ = await visit(tmp_path, "/seats/s-1")
    assert "Choose a day and a time." in words((await browser.get("/seats/s-1?as_of=yesterday")).text)
