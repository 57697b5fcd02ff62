"""Webhooks: registered, paused, resumed, replayed, given new secrets, removed."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console.fakes import Browser, Services, hidden, outcome, problem, words
from tests.console.samples.webhooks import ANSWERS, WEBHOOK

FORM = {
    "name": "Dashboard",
    "address": "https://receiver.northhaus.example/tenure",
    "topic": "entitlements.events.v1",
    "types": "SeatAssigned, SeatUnassigned",
    "client_id": "m-1",
    "after": "4211",
}


@pytest.fixture
def services() -> Services:
    return Services(dict(ANSWERS))


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


def done(event: str = "WebhookRegistered", **more: Any) -> httpx.Response:
    return httpx.Response(200, json={**outcome((event, {})).json(), **more})


async def form(browser: Browser) -> dict[str, str]:
    return hidden((await browser.get("/profile")).text)


async def test_a_webhook_is_registered_and_its_secret_shown_once(browser: Browser, services: Services) -> None:
    services.answers["POST /webhooks"] = done()
    asked = await browser.post("/webhooks/new", None, **await form(browser), **FORM)
    assert "Events of entitlements.events.v1 are sent to https://receiver.northhaus.example" in words(asked.text)
    services.answers["POST /webhooks"] = done(webhook_id="w-1", secret="whsec_eA==")  # a fake's
    confirmed = hidden(asked.text)
    made = await browser.post("/webhooks/new", None, **confirmed)
    assert "whsec_eA==" in made.text and "shown this once" in words(made.text)
    dry, again, sent = services.bodies("POST", "/webhooks")
    assert dry == again == sent
    assert (sent["types"], sent["client_id"], sent["after"]) == (["SeatAssigned", "SeatUnassigned"], "m-1", 4210)
    services.answers["POST /webhooks"] = done()
    assert "It was shown already" in words((await browser.post("/webhooks/new", None, **confirmed)).text)


async def test_what_is_left_out_is_not_sent(browser: Browser, services: Services) -> None:
    services.answers["POST /webhooks"] = done()
    fields = {**FORM, "types": "", "client_id": "", "after": "", "topic": "somebody.else"}
    await browser.post("/webhooks/new", None, **await form(browser), **fields)
    (body,) = services.bodies("POST", "/webhooks")
    assert body == {"name": "Dashboard", "address": FORM["address"], "topic": "marketplace.events.v1"}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "", "Fill in this field."),
        ("address", " ", "Fill in this field."),
        ("after", "0", "Enter a position, such as 4211."),
        ("after", "9" * 40, "Enter a position, such as 4211."),
        ("after", "-1", "Enter a position, such as 4211."),
    ],
)
async def test_what_is_missing_is_said_beside_its_field(browser: Browser, field: str, value: str, said: str) -> None:
    answered = await browser.post("/webhooks/new", None, **await form(browser), **{**FORM, field: value})
    assert answered.status_code == 422 and said in words(answered.text)


async def test_an_address_that_is_not_sent_to_is_refused_in_words(browser: Browser, services: Services) -> None:
    services.answers["POST /webhooks"] = problem(409, "webhook-address")
    answered = await browser.post("/webhooks/new", None, **await form(browser), **FORM)
    assert "Events are not sent to this address." in words(answered.text)


async def test_what_became_of_its_events_is_shown(browser: Browser, services: Services) -> None:
    said = words((await browser.get("/webhooks/w-1")).text)
    for part in ("Dashboard fails", "receiver.northhaus.example", "SeatAssigned", "4,207", "503", "Pause this webhook"):
        assert part in said, part
    parked = {**WEBHOOK, "state": "parked", "reason": "not-accepted"}
    services.answers["GET /webhooks/w-1"] = httpx.Response(200, json=parked)
    said = words((await browser.get("/webhooks/w-1")).text)
    assert "did not accept an event for too long" in said and "Resume this webhook" in said
    ended = {**WEBHOOK, "state": "ended", "reason": "gone", "address": ""}
    services.answers["GET /webhooks/w-1"] = httpx.Response(200, json=ended)
    said = words((await browser.get("/webhooks/w-1")).text)
    assert "gone for good" in said and "Remove this webhook" not in said


@pytest.mark.parametrize(
    ("act", "method", "at", "sentence", "notice"),
    [
        ("pause", "POST", "/webhooks/w-1/pause", "Nothing is sent until you resume it.", "webhook-paused"),
        ("resume", "POST", "/webhooks/w-1/resume", "goes on with the event that it stopped at", "webhook-resumed"),
        ("remove", "DELETE", "/webhooks/w-1", "can't be undone", "webhook-removed"),
    ],
)
async def test_it_is_changed_after_a_question(
    browser: Browser, services: Services, act: str, method: str, at: str, sentence: str, notice: str
) -> None:
    services.answers[f"{method} {at}"] = done("WebhookPaused")
    asked = await browser.post("/webhooks/w-1", None, **await form(browser), act=act)
    assert sentence in words(asked.text)
    ended = await browser.post("/webhooks/w-1", None, **hidden(asked.text))
    assert ended.headers["location"].endswith(f"notice={notice}")


async def test_it_is_replayed_from_a_position(browser: Browser, services: Services) -> None:
    services.answers["POST /webhooks/w-1/replay"] = done("WebhookReplayed")
    wrong = await browser.post("/webhooks/w-1", None, **await form(browser), act="replay", **{"from": "first"})
    assert wrong.status_code == 422 and "Enter a position" in words(wrong.text)
    asked = await browser.post("/webhooks/w-1", None, **await form(browser), act="replay", **{"from": "4207"})
    assert "The first one is at position 4,207." in words(asked.text)
    ended = await browser.post("/webhooks/w-1", None, **hidden(asked.text))
    assert ended.headers["location"] == "/webhooks/w-1?notice=webhook-replays"
    assert services.bodies("POST", "/webhooks/w-1/replay")[-1] == {"after": 4206}


async def test_a_new_secret_says_how_long_the_old_one_signs(browser: Browser, services: Services) -> None:
    services.answers["POST /webhooks/w-1/secret"] = done("WebhookSecretRotated")
    asked = await browser.post("/webhooks/w-1", None, **await form(browser), act="rotate", overlap="7")
    assert "for 7 days" in words(asked.text)
    services.answers["POST /webhooks/w-1/secret"] = done("WebhookSecretRotated", webhook_id="w-1", secret="whsec_eA==")
    made = await browser.post("/webhooks/w-1", None, **hidden(asked.text))
    assert "whsec_eA==" in made.text
    assert services.bodies("POST", "/webhooks/w-1/secret") == [{"overlap_days": 7}] * 3


async def test_home_says_that_one_is_parked(browser: Browser, services: Services) -> None:
    parked = {**WEBHOOK, "state": "parked", "reason": "not-accepted"}
    services.answers["GET /webhooks"] = httpx.Response(200, json={"items": [parked], "next": None})
    page = (await browser.get("/")).text
    assert "A webhook is parked" in words(page) and '<a href="/webhooks/w-1">' in page
    services.answers["GET /webhooks"] = httpx.Response(200, json={"items": [parked, parked], "next": None})
    page = (await browser.get("/")).text
    assert "2 webhooks are parked." in words(page) and '<a href="/webhooks?state=parked">' in page
