"""The person's own account: another password, and its end."""

from pathlib import Path

import httpx
import pytest

from tests.console.fakes import Browser, Services, hidden, outcome, problem, words

SEAT = {
    "subscription_id": "s-1",
    "product": "autocad",
    "product_name": "AutoCAD",
    "seat": 1,
    "starts": "2026-11-01",
    "ends": "2027-10-31",
    "phase": "active",
    "until": None,
    "access": True,
    "updates": True,
}


@pytest.fixture
def services() -> Services:
    seats = httpx.Response(200, json={"items": [SEAT], "next": None})
    return Services({"GET /me/seats": seats, "PUT /me/password": httpx.Response(204)})


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


async def test_a_changed_password_ends_the_session(browser: Browser, services: Services) -> None:
    done = await browser.send("/profile/password", "", current="old words of mine", password="new words of mine")
    assert done.headers["location"] == "/sign-in?notice=password"
    assert services.bodies("PUT", "/me/password") == [{"current": "old words of mine", "new": "new words of mine"}]
    assert (await browser.get("/profile")).headers["location"].startswith("/sign-in")


async def test_a_wrong_password_is_said_beside_its_field(browser: Browser, services: Services) -> None:
    services.answers["PUT /me/password"] = problem(403, "password-wrong")
    answered = await browser.send("/profile/password", "", current="x", password="new words of mine")
    assert answered.status_code == 422 and 'id="current-error"' in answered.text


async def test_a_password_that_is_too_short_is_said_beside_its_field(browser: Browser, services: Services) -> None:
    services.answers["PUT /me/password"] = problem(422, "malformed", fields=[{"field": "body.new", "error": "short"}])
    answered = await browser.send("/profile/password", "", current="x", password="short")
    assert "A password has 12 to 256 characters." in words(answered.text) and 'id="password-error"' in answered.text


async def test_an_account_is_closed_once_it_is_said_what_is_lost(browser: Browser, services: Services) -> None:
    services.answers["DELETE /me"] = outcome(("AccountClosed", {}))
    asked = await browser.send("/profile/close", "")
    said = words(asked.text)
    assert "Your seat of AutoCAD is free for others." in said and "can't be undone" in said
    assert [each.url.query for each in services.of("DELETE", "/me")] == [b"dry_run=true"]
    done = await browser.post("/profile/close", None, **hidden(asked.text))
    assert done.headers["location"] == "/sign-in?notice=closed-for-good"
    assert "Your account is closed" in words((await browser.get("/sign-in?notice=closed-for-good")).text)
    assert (await browser.get("/profile")).headers["location"].startswith("/sign-in")


async def test_a_contract_manager_is_told_to_hand_over_first(browser: Browser, services: Services) -> None:
    services.answers["DELETE /me"] = problem(409, "still-contract-manager")
    assert "Hand the contract over first" in words((await browser.send("/profile/close", "")).text)
