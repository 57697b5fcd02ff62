"""Machines' credentials: registered, given new secrets, revoked."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console.fakes import ACCOUNT, Browser, Services, hidden, outcome, problem, words
from tests.console.samples.machines import ANSWERS, MACHINE

FORM = {"name": "Render node", "scopes[]": "read", "whom": "organisation", "email": "", "until": "2027-06-30"}


@pytest.fixture
def services() -> Services:
    return Services(dict(ANSWERS))


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


def done(**more: Any) -> httpx.Response:
    return httpx.Response(200, json={**outcome(("MachineRegistered", {})).json(), **more})


async def form(browser: Browser) -> dict[str, str]:
    return hidden((await browser.get("/profile")).text)


async def test_a_machine_is_registered_and_its_secret_shown_once(browser: Browser, services: Services) -> None:
    services.answers["POST /machines"] = done()
    asked = await browser.post("/machines/new", None, **await form(browser), **FORM)
    assert "Render node: reads what its organisation may see." in words(asked.text)
    services.answers["POST /machines"] = done(client_id="m-1", client_secret="s3cret")  # a fake's
    confirmed = {**hidden(asked.text), "scopes[]": "read"}
    made = await browser.post("/machines/new", None, **confirmed)
    assert "s3cret" in made.text and "shown this once" in words(made.text)
    dry, again, sent = services.bodies("POST", "/machines")
    assert dry == again == sent and sent["expires_at"] == "2027-06-30T21:59:00+00:00" and "acts_for" not in sent
    services.answers["POST /machines"] = done()
    assert "It was shown already" in words((await browser.post("/machines/new", None, **confirmed)).text)


async def test_a_person_registers_one_for_themselves(browser: Browser, services: Services) -> None:
    services.answers["POST /machines"] = done()
    fields = {**FORM, "scopes[]": "installs:report", "whom": "me"}
    await browser.post("/machines/new", None, **await form(browser), **fields)
    (body,) = services.bodies("POST", "/machines")
    assert (body["acts_for"], body["scopes"]) == ("a-1", ["installs:report"])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "", "Fill in this field."),
        ("scopes[]", "", "Choose what it may do."),
        ("until", "soon", "Choose a day, at most a year ahead."),
    ],
)
async def test_what_is_missing_is_said_beside_its_field(browser: Browser, field: str, value: str, said: str) -> None:
    answered = await browser.post("/machines/new", None, **await form(browser), **{**FORM, field: value})
    assert answered.status_code == 422 and said in words(answered.text)


async def test_rights_that_nobody_may_give_are_refused_in_words(browser: Browser, services: Services) -> None:
    services.answers["POST /machines"] = problem(403, "machine-not-yours-to-give")
    answered = await browser.post("/machines/new", None, **await form(browser), **FORM)
    assert "You may not give a machine these rights." in words(answered.text)


async def test_only_the_operator_is_offered_all_rights(browser: Browser, services: Services) -> None:
    assert "spends credits" not in words((await browser.get("/machines/new")).text)
    services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "organisation_kind": "operator"})
    assert "spends credits" in words((await browser.get("/machines/new")).text)
    services.answers["POST /machines"] = done()
    other = {"kind": "publisher", "organisation_id": "o-9", "publisher": "autodesk"}
    await browser.post("/machines/new", None, **await form(browser), **FORM, **other)
    assert services.bodies("POST", "/machines")[0]["organisation"] == other


async def test_a_new_secret_says_how_long_the_old_one_is_valid(browser: Browser, services: Services) -> None:
    services.answers["POST /machines/m-1/secret"] = done()
    asked = await browser.post("/machines/m-1", None, **await form(browser), act="rotate", overlap="7")
    assert "stays valid for 7 days" in words(asked.text)
    services.answers["POST /machines/m-1/secret"] = done(client_id="m-1", client_secret="s3cret")  # a fake's
    made = await browser.post("/machines/m-1", None, **hidden(asked.text))
    assert "s3cret" in made.text
    assert services.bodies("POST", "/machines/m-1/secret") == [{"overlap_days": 7}] * 3


async def test_a_machine_is_revoked(browser: Browser, services: Services) -> None:
    services.answers["DELETE /machines/m-1"] = done()
    asked = await browser.post("/machines/m-1", None, **await form(browser), act="revoke")
    assert "can't be undone" in words(asked.text)
    ended = await browser.post("/machines/m-1", None, **hidden(asked.text))
    assert ended.headers["location"] == "/machines/m-1?notice=machine-revoked-now"
    services.answers["GET /machines/m-1"] = httpx.Response(200, json={**MACHINE, "revoked_by": "a-1"})
    assert "Revoke this machine" not in words((await browser.get("/machines/m-1")).text)
