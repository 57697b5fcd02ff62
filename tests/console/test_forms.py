"""Forms: only this browser's own are accepted, each acts once, and refusals are said beside their field."""

import importlib
import re
from pathlib import Path

import httpx
import pytest

import cli.serving.rules
import shared.rules
from services.console.forms import refusals
from shared.services import SERVICES
from tests.console.fakes import ACCOUNT, Browser, Services, hidden, problem, tokens, words

SIGN_UP = {
    "email": "mina@northhaus.example",
    "name": "Mina Okafor",
    "password": "horse battery staple",
    "country": "DE",
    "organisation": "Northhaus",
    "kind": "customer",
}


@pytest.fixture
def services() -> Services:
    return Services({"POST /accounts": httpx.Response(200, json={"session": tokens()})})


@pytest.fixture
def browser(services: Services, tmp_path: Path) -> Browser:
    return Browser(services, tmp_path)


# ── Where a form comes from ────────────────────────────────────────────────────────────────────────────


async def test_a_form_without_its_token_does_nothing(browser: Browser, services: Services) -> None:
    await browser.get("/sign-in")
    answer = await browser.post("/sign-in", None, email="mina@northhaus.example", password="horse battery staple")
    assert answer.status_code == 403 and "This form has expired" in words(answer.text) and services.asked == []


async def test_another_browsers_token_does_nothing(browser: Browser, services: Services, tmp_path: Path) -> None:
    other = hidden((await Browser(services, tmp_path).get("/sign-in")).text)
    await browser.get("/sign-in")
    assert (await browser.post("/sign-in", None, **other, **SIGN_UP)).status_code == 403


async def test_a_token_from_before_the_sign_in_does_nothing_after_it(browser: Browser) -> None:
    before = hidden((await browser.get("/sign-up")).text)
    await browser.sign_in()
    assert (await browser.post("/sign-out", None, csrf=before["csrf"])).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_form_that_another_site_sends_does_nothing(browser: Browser, headers: dict[str, str]) -> None:
    fields = hidden((await browser.get("/sign-up")).text) | SIGN_UP
    assert (await browser.post("/sign-up", headers, **fields)).status_code == 403
    own = {"origin": "http://console.example", "sec-fetch-site": "same-origin"}
    assert (await browser.post("/sign-up", own, **fields)).status_code == 303


@pytest.mark.parametrize(
    "at", ["/sign-in", "/sign-up", "/join", "/forgot-password", "/reset-password", "/prove-address"]
)
async def test_every_form_has_a_token_that_differs_each_time(browser: Browser, at: str) -> None:
    """A compressed page would otherwise reveal it, letter by letter."""
    first, second = hidden((await browser.get(at)).text), hidden((await browser.get(at)).text)
    assert first["csrf"] != second["csrf"] and first["key"] != second["key"]


# ── What a form does ───────────────────────────────────────────────────────────────────────────────────


async def test_a_sign_up_opens_an_account_and_signs_in(browser: Browser, services: Services) -> None:
    answer = await browser.send("/sign-up", "", **SIGN_UP)
    assert answer.headers["location"] == "/check-mail" and "tenure-session" in browser.client.cookies
    (asked,) = services.bodies("POST", "/accounts")
    assert asked == {
        "email": "mina@northhaus.example",
        "name": "Mina Okafor",
        "password": "horse battery staple",
        "country": "DE",
        "time_zone": "Europe/Berlin",
        "locale": "en",
        "organisation": {"name": "Northhaus", "kind": "customer", "sandbox": False},
    }


async def test_a_form_that_is_sent_twice_has_one_key(browser: Browser, services: Services) -> None:
    fields = hidden((await browser.get("/sign-up")).text) | SIGN_UP
    await browser.post("/sign-up", None, **fields)
    browser.client.cookies.delete("tenure-session")
    services.answers["POST /accounts"] = httpx.Response(200, json={})
    again = await browser.post("/sign-up", None, **fields)
    assert again.headers["location"] == "/sign-in?notice=opened"
    assert len({each.headers["idempotency-key"] for each in services.of("POST", "/accounts")}) == 1


async def test_after_a_refusal_the_next_attempt_has_another_key(browser: Browser, services: Services) -> None:
    services.answers["POST /accounts"] = problem(409, "email-taken")
    refused = await browser.send("/sign-up", "", **SIGN_UP)
    await browser.post("/sign-up", None, **hidden(refused.text), **SIGN_UP)
    assert len({each.headers["idempotency-key"] for each in services.of("POST", "/accounts")}) == 2


async def test_while_it_is_unknown_what_became_of_it_the_form_keeps_its_key(
    browser: Browser, services: Services
) -> None:
    services.answers["POST /accounts"] = problem(503, "unavailable")
    refused = await browser.send("/sign-up", "", **SIGN_UP)
    assert "nothing happens twice" in words(refused.text)
    await browser.post("/sign-up", None, **hidden(refused.text), **SIGN_UP)
    assert len({each.headers["idempotency-key"] for each in services.of("POST", "/accounts")}) == 1


async def test_a_link_is_read_whole_or_by_its_code(browser: Browser, services: Services) -> None:
    services.answers["POST /password"] = httpx.Response(204)
    for given in ("http://console.example/reset-password#the.code", " the.code "):
        answer = await browser.send("/reset-password", reset=given, password="horse battery staple")
        assert answer.headers["location"] == "/sign-in?notice=password"
    assert {each["reset"] for each in services.bodies("POST", "/password")} == {"the.code"}


async def test_a_profile_is_saved_and_shown_with_what_another_client_has_set(
    browser: Browser, services: Services
) -> None:
    services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "locale": "fr-FR", "time_zone": "Etc/GMT+1"})
    services.answers["PUT /me/profile"] = httpx.Response(200, json={})
    await browser.sign_in()
    page = await browser.get("/profile")
    assert re.search(r'value="fr-FR" selected', page.text) and re.search(r'value="Etc/GMT\+1" selected', page.text)
    new = {"name": "Mina Adaeze", "email": "mina@x.example", "country": "AT", "time_zone": "UTC", "locale": "de-AT"}
    assert (await browser.send("/profile", "", **new)).headers["location"] == "/profile?notice=saved"
    assert services.bodies("PUT", "/me/profile") == [new]


# ── What is wrong ──────────────────────────────────────────────────────────────────────────────────────


async def test_an_empty_field_is_named_beside_it_and_first(browser: Browser, services: Services) -> None:
    answer = await browser.send("/sign-up", "", **{**SIGN_UP, "name": " ", "kind": ""})
    assert answer.status_code == 422 and services.asked == []
    assert '<a href="#name">Your name</a>: Fill in this field.' in answer.text
    assert '<p class="error" id="name-error">Fill in this field.</p>' in answer.text
    assert re.search(r'<input id="name"[^>]*aria-describedby="name-error"\s+aria-invalid="true"', answer.text)
    assert "<title>Error: Open an account" in answer.text and 'role="alert"' in answer.text


async def test_a_malformed_value_is_explained_in_plain_words(browser: Browser, services: Services) -> None:
    fields = [{"field": "email", "error": "value is not a valid address"}]
    services.answers["POST /accounts"] = problem(422, "malformed", fields=fields)
    answer = await browser.send("/sign-up", "", **{**SIGN_UP, "email": "mina"})
    assert "This is not an e-mail address. Write it as name@example.org." in words(answer.text)


async def test_a_refusal_without_words_of_its_own_is_said_as_the_service_does(
    browser: Browser, services: Services
) -> None:
    services.answers["POST /accounts"] = problem(409, "some-new-rule", "The moon is <full>.", remedy="Wait.")
    answer = await browser.send("/sign-up", "", **SIGN_UP)
    assert "The moon is &lt;full&gt;. Wait." in answer.text


async def test_a_service_that_does_not_answer_is_said_so(browser: Browser, services: Services) -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late", request=request)

    services.answers["POST /sessions"] = gone
    answer = await browser.sign_in()
    assert answer.status_code == 503 and "Not available right now" in words(answer.text)


async def test_a_redirect_of_a_service_is_not_followed(browser: Browser, services: Services) -> None:
    services.answers["POST /sessions"] = httpx.Response(307, headers={"location": "http://evil.example/"})
    assert (await browser.sign_in()).status_code == 503 and len(services.asked) == 1


def test_every_rule_has_words_in_which_it_is_refused() -> None:
    """Else a page in another language says it in English."""
    domains = (importlib.import_module(f"services.{name}.domain.rules") for name in SERVICES)
    modules = [shared.rules, cli.serving.rules, *domains]
    rules = {str(value) for module in modules for name, value in vars(module).items() if name.isupper()}
    assert refusals().rules.keys() ^ rules == set()
