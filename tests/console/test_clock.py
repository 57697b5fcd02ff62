"""The page that moves a sandbox's clock: it says what falls due, and then moves it once."""

from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.console.fakes import ACCOUNT, Browser, Services, hidden, outcome, problem, words

CLOCK: Final = {"organisation_id": "o-1", "sandbox": True, "ahead_s": 86_400, "now": "2027-03-01T09:00:00Z"}
MOVED: Final = outcome(("ClockMoved", {"ahead_s": 90_000}))


def subscription(product: str, ends: str, last_day: str, state: str = "on", last: str | None = None) -> dict[str, Any]:
    renewal = {"state": state, "cancel_by": {"last_day": last_day}, "ends": last}
    return {"plan": {"product_name": product}, "term": {"ends": ends}, "auto_renew": renewal}


@pytest.fixture
def services() -> Services:
    listed = [
        subscription("AutoCAD", "2027-03-20", "2027-03-12"),
        subscription("Revit", "2027-03-25", "2027-03-18", "off", "2027-03-25"),
        subscription("Vault", "2027-06-30", "2027-06-23"),
    ]
    owed = [{"product_name": "Maya", "due": "2027-03-15", "amount": {"amount": 12_345, "currency": "EUR"}}]
    return Services(
        {
            "GET /me": httpx.Response(200, json={**ACCOUNT, "sandbox": True}),
            "GET /me/clock": httpx.Response(200, json=CLOCK),
            "POST /clock": MOVED,
            "GET /subscriptions": httpx.Response(200, json={"items": listed, "next": None}),
            "GET /instalments": httpx.Response(200, json={"items": owed, "next": None}),
        }
    )


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


async def test_the_banner_leads_to_the_page_which_offers_tomorrow(browser: Browser) -> None:
    assert 'href="/clock"' in (await browser.get("/profile")).text
    page = (await browser.get("/clock")).text
    assert "It is 1 Mar 2027, 10:00 CET for Northhaus." in words(page)
    assert 'type="datetime-local"' in page and 'value="2027-03-02T10:00"' in page


async def test_before_the_clock_is_moved_the_page_says_what_falls_due(browser: Browser, services: Services) -> None:
    asked = await browser.send("/clock", to="2027-03-31T12:00")
    said = words(asked.text)
    assert "Move the clock to 31 Mar 2027, 12:00 CEST?" in said and "can't be undone" in said
    due = [
        "12 Mar 2027: the last day to turn off auto-renew of AutoCAD.",
        "15 Mar 2027: an instalment of €123.45 for Maya is due.",
        "20 Mar 2027: the term of AutoCAD ends, and it renews.",
        "25 Mar 2027: Revit ends.",
        "What follows from renewals",
    ]
    assert [said.find(each) for each in due] == sorted(said.find(each) for each in due) and -1 not in map(
        said.find, due
    )
    assert "Vault" not in said
    (dry,) = services.of("POST", "/clock")
    assert dry.url.query == b"dry_run=true"
    assert services.of("GET", "/instalments")[0].url.params["due_before"] == "2027-04-01"


async def test_the_confirmed_move_is_sent_once_in_utc_and_said_so(browser: Browser, services: Services) -> None:
    asked = await browser.send("/clock", to="2027-03-31T12:00")
    moved = await browser.post("/clock", None, **hidden(asked.text))
    assert (moved.status_code, moved.headers["location"]) == (303, "/clock?notice=clock-moved")
    sent = services.of("POST", "/clock")[-1]
    assert sent.url.query == b"" and services.bodies("POST", "/clock")[-1] == {"to": "2027-03-31T10:00:00+00:00"}
    assert sent.headers["idempotency-key"] == hidden(asked.text)["key"]
    assert "The clock is moved." in words((await browser.get("/clock?notice=clock-moved")).text)


@pytest.mark.parametrize(("days", "to"), [("1", "2027-03-02T10:00"), ("30", "2027-03-31T11:00")])
async def test_a_button_moves_it_by_days(browser: Browser, services: Services, days: str, to: str) -> None:
    """In March the person's clocks go forward, and the day has 24 hours all the same."""
    asked = await browser.send("/clock", by=days, to="")
    assert services.bodies("POST", "/clock") == [{"to": f"{to[:10]}T09:00:00+00:00"}]
    confirmed = hidden(asked.text)
    assert "by" not in confirmed and confirmed["to"] == to


@pytest.mark.parametrize("written", ["", "tomorrow", "2027-13-01T10:00", "9999-99-99T10:00"])
async def test_what_is_no_time_is_said_beside_the_field(browser: Browser, services: Services, written: str) -> None:
    answer = await browser.send("/clock", to=written)
    assert answer.status_code == 422 and "Enter a date and a time." in words(answer.text)
    assert 'id="to-error"' in answer.text and services.of("POST", "/clock") == []


async def test_a_refusal_is_said_beside_the_field_in_the_persons_language(browser: Browser, services: Services) -> None:
    services.answers["POST /clock"] = problem(409, "clock-backwards")
    answer = await browser.send("/clock", to="2027-02-01T12:00")
    assert answer.status_code == 422 and "only moves forward" in words(answer.text) and 'id="to-error"' in answer.text
    services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "sandbox": True, "locale": "de-DE"})
    german = await browser.send("/clock", to="2027-02-01T12:00")
    assert "Die Uhr ist schon weiter" in words(german.text)


async def test_the_clock_can_be_moved_while_marketplace_is_away(browser: Browser, services: Services) -> None:
    services.answers["GET /subscriptions"] = problem(503, "unavailable")
    said = words((await browser.send("/clock", to="2027-03-31T12:00")).text)
    assert "What falls due until then can't be shown at present." in said and "Move the clock to" in said


async def test_who_follows_real_time_has_no_clock_to_move(browser: Browser, services: Services) -> None:
    services.answers["GET /me"] = httpx.Response(200, json=ACCOUNT)
    page = await browser.get("/clock")
    assert "follows real time" in words(page.text) and 'action="/clock"' not in page.text
    assert 'href="/clock"' not in (await browser.get("/")).text
