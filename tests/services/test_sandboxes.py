"""What people of a sandbox are answered and mailed says so; what others are does not."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from services.identity.mail.letters import SANDBOX_LINE
from services.identity.notifications.words import words_for
from shared.organisations import is_sandbox
from tests.examples.marketplace import AUTOCAD, NOON
from tests.services.identity_bench import Bench
from tests.services.mailing import Kept, mailed
from tests.services.market import Market, a_market

pytestmark = pytest.mark.system

MARK = "Tenure-Sandbox"
TRIAL = {"organisation": {"name": "Trial", "kind": "customer", "sandbox": True}}


async def test_every_answer_to_a_sandboxs_people_says_so(bench: Bench) -> None:
    _, token = await bench.join("oskar", **TRIAL)
    _, joined = await bench.invited(token, "mina")
    for who in (token, joined):
        answers = (
            await bench.when(who, "GET", "/me"),
            await bench.when(who, "GET", "/nowhere-else"),
            await bench.when(who, "GET", "/me?unknown=1"),
            await bench.when(who, "GET", "/people?format=csv"),
            await bench.when(who, "PUT", "/me/profile", {"country": "DE"}),
            await bench.when(who, "PUT", "/me/profile", {"country": "nowhere"}),
            await bench.when(who, "PUT", "/me/profile?dry_run=true", {"country": "AT"}),
        )
        marked = [answer.headers.get(MARK) for answer in answers if answer.status_code != 404]
        assert len(marked) == 6 and set(marked) == {"true"}
    assert (await bench.sign_in("oskar@x.example")).headers[MARK] == "true"
    assert is_sandbox((await bench.when(token, "GET", "/me")).json()["organisation_id"])


async def test_no_answer_to_others_says_so(bench: Bench) -> None:
    _, token = await bench.join("ana")
    for path in ("/me", "/me/clock", "/people?format=csv", "/contracts/unknown"):
        assert MARK not in (await bench.when(token, "GET", path)).headers
    assert MARK not in (await bench.when("", "GET", "/me")).headers
    assert MARK not in (await bench.sign_in("ana@x.example")).headers


async def test_a_sandboxs_files_and_histories_say_so(bench: Bench) -> None:
    oskar, token = await bench.join("oskar", **TRIAL)
    await bench.purchase(oskar)
    file = await bench.when(token, "GET", "/people?format=csv")
    assert file.headers["Content-Disposition"] == 'attachment; filename="sandbox-people.csv"'
    shown = (await bench.when(token, "GET", "/contracts/c/history")).json()["items"]
    assert {entry["sandbox"] for entry in shown} == {True}
    history = (await bench.when(token, "GET", "/contracts/c/history?format=csv")).text.splitlines()
    assert history[0].endswith(",sandbox") and all(line.endswith(",true") for line in history[1:])


async def test_a_live_organisations_files_and_histories_do_not(bench: Bench) -> None:
    ana, token = await bench.join("ana")
    await bench.purchase(ana)
    file = await bench.when(token, "GET", "/people?format=csv")
    assert file.headers["Content-Disposition"] == 'attachment; filename="people.csv"'
    shown = (await bench.when(token, "GET", "/contracts/c/history")).json()["items"]
    assert {entry["sandbox"] for entry in shown} == {False}


@pytest.mark.parametrize("locale", ["en", "de", "de-CH", "fr"])
async def test_every_mail_about_a_sandbox_begins_with_a_line_that_says_so(bench: Bench, locale: str) -> None:
    _, token = await bench.join("oskar", **TRIAL)
    await bench.when(token, "PUT", "/me/profile", {"locale": locale})
    await bench.when(token, "PUT", "/me/profile", {"email": "oskar@y.example"})
    await bench.invite(token, "mina")
    kept = Kept()
    await mailed(bench, kept)
    assert {message["To"] for message in kept.messages} >= {"oskar@y.example", "mina@x.example"}
    language = "de" if locale.startswith("de") else "en"
    assert {message.get_content().splitlines()[0] for message in kept.messages} == {
        words_for(language, "UTC").gettext(SANDBOX_LINE)
    }


async def test_no_other_mail_has_that_line(bench: Bench) -> None:
    _, token = await bench.join("ana")
    await bench.invite(token, "mina")
    kept = Kept()
    await mailed(bench, kept)
    assert len(kept.messages) == 2 and not any("SANDBOX" in message.get_content() for message in kept.messages)


@pytest.fixture
async def market(databases: Callable[[str], str]) -> AsyncIterator[Market]:
    async with a_market(databases("marketplace")) as made:
        yield made


async def test_a_sandbox_from_before_is_recognised_once_its_clock_was_moved(market: Market) -> None:
    """Its id does not say it; so its events are not marked."""
    subscription = await market.running(AUTOCAD.product_id)
    path = f"/subscriptions/{subscription}"
    assert MARK not in (await market.when("mina", "GET", path)).headers
    await market.clock(NOON + timedelta(days=3))
    assert (await market.when("mina", "GET", path)).headers[MARK] == "true"
    assert MARK not in (await market.when("clerk", "GET", path)).headers
