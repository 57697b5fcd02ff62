"""Refusals looked up afterwards: the person's own, and everybody's for the operator."""

from pathlib import Path

import httpx
import pytest

from services.console import doors
from services.console.pages.refusals.pages import with_days
from services.console.texts import texts_for
from shared.services import SERVICES
from tests.console.fakes import ACCOUNT, Browser, Services, problem, words
from tests.console.samples.refusals import ANSWERS, REFUSAL, many


@pytest.fixture
def services() -> Services:
    return Services(dict(ANSWERS))


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


async def test_the_refusals_of_all_services_stand_together_newest_first(browser: Browser, services: Services) -> None:
    later = {**REFUSAL, "command_id": "a-1:k-2", "command": "AssignSeat", "refused_at": "2026-11-30T00:00:00Z"}
    services.answers["GET /refusals"] = lambda request: (
        many(later)
        if "entitlements" in request.url.host
        else many(REFUSAL)
        if "identity" in request.url.host
        else many()
    )
    page = (await browser.get("/refusals")).text
    assert page.index("Assign a seat") < page.index("Approve a request for a role")
    assert "/refusals/a-1%3Ak-2" in page and {each.url.host for each in services.of("GET", "/refusals")} == {
        f"{name}.example" for name in SERVICES
    }


async def test_those_of_one_service_are_paged_and_taken_along(browser: Browser, services: Services) -> None:
    services.answers["GET /refusals"] = httpx.Response(200, json={"items": [REFUSAL], "next": "n-2"})
    page = (await browser.get("/refusals?of=marketplace&q=seat")).text
    (asked,) = services.of("GET", "/refusals")
    assert asked.url.host == "marketplace.example" and asked.url.params["q"] == "seat"
    assert "after=n-2" in page and "format=csv" in page
    assert "format=csv" not in (await browser.get("/refusals")).text


async def test_a_refusal_says_what_why_and_by_what_it_is_justified(browser: Browser, services: Services) -> None:
    services.answers["GET /refusals/a-1:k-1"] = lambda request: (
        httpx.Response(200, json=REFUSAL) if "identity" in request.url.host else problem(404, "unknown")
    )
    said = words((await browser.get("/refusals/a-1:k-1")).text)
    assert "Refused: Approve a request for a role" in said
    assert "A role was given." in said and "12:00 CET, Mina Okafor" in said
    assert "Something that is not shown here" in said and "Ask the Contract Manager." in said


async def test_a_refusals_numbers_are_for_whoever_helps_with_it(browser: Browser, services: Services) -> None:
    """People read what was refused and why, in their language; a number tells them nothing."""
    services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "locale": "de-DE"})
    kept = {**REFUSAL, "command": None, "request": "POST /contracts/c-9"}
    services.answers["GET /refusals/a-1:k-1"] = lambda request: (
        httpx.Response(200, json=kept) if "identity" in request.url.host else problem(404, "unknown")
    )
    services.answers["GET /refusals"] = many(kept)
    plain, helping = (await browser.get("/refusals/a-1:k-1")).text.split("<details>")
    for said in (kept["command_id"], kept["rule"], *kept["because"], kept["request"], kept["reason"], kept["remedy"]):
        assert said not in words(plain) and said in words(helping)
    said = words((await browser.get("/refusals")).text)
    assert kept["command_id"] not in said and kept["request"] not in said


async def test_a_reason_with_an_id_is_for_whoever_helps_with_it(browser: Browser, services: Services) -> None:
    number = "a4da5f69-8172-52c0-b89f-ea417e091c17"
    kept = {**REFUSAL, "rule": "partner-unknown", "reason": f"No partner <{number}> is known."}
    services.answers["GET /refusals/a-1:k-1"] = httpx.Response(200, json=kept)
    before, _, behind = (await browser.get("/refusals/a-1:k-1")).text.partition("<details>")
    assert number not in before
    assert f"No partner &lt;<code>{number}</code>&gt; is known." in behind and kept["remedy"] in behind


async def test_a_way_to_the_refusals_is_on_every_page_once(browser: Browser, services: Services) -> None:
    for kind in ("customer", "partner", "publisher", "operator"):
        services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "organisation_kind": kind})
        assert (await browser.get("/profile/password")).text.count('href="/refusals"') == 1


def test_the_days_of_a_services_words_are_written_as_the_person_writes_them() -> None:
    said = "From 2026-11-29 on, not 2026-02-30; said at 2026-11-29T10:00."
    assert with_days(said, texts_for("de")) == "From 29.11.2026 on, not 2026-02-30; said at 2026-11-29T10:00."


async def test_one_that_nobody_keeps_is_no_page(browser: Browser) -> None:
    assert (await browser.get("/refusals/a-1:other")).status_code == 404


async def test_the_operator_sees_whom(browser: Browser, services: Services) -> None:
    services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "organisation_kind": "operator"})
    services.answers["GET /refusals"] = many({**REFUSAL, "account_id": None})
    said = words((await browser.get("/refusals")).text)
    assert "Who was refused" in said and "nobody who is signed in" in said
    await browser.get("/refusals?of=identity&email=mina%40northhaus.example")
    assert services.of("GET", "/refusals")[-1].url.params["email"] == "mina@northhaus.example"


async def test_a_service_that_does_not_answer_is_said_so(browser: Browser, services: Services) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "distribution" in request.url.host:
            raise httpx.ConnectError("down")
        return many(REFUSAL)

    services.answers["GET /refusals"] = answer
    assert "Some of this can't be looked up right now" in words((await browser.get("/refusals")).text)


async def test_a_service_that_hangs_is_not_waited_for(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "PART_S", 0.05)
    services.hanging = {"distribution"}
    said = words((await browser.get("/refusals")).text)
    assert "Some of this can't be looked up right now" in said and "Approve a request for a role" in said
    assert "Approve a request for a role" in words((await browser.get("/refusals/a-1:k-1")).text)
    services.answers["GET /refusals/a-1:k-1"] = problem(404, "unknown")
    assert (await browser.get("/refusals/a-1:k-1")).status_code == 503, "it may be the one that keeps it"
