"""The pages that a problem's `type` leads to."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

import services
from shared.rule_status import status_of
from shared.runtime.rule_pages import SHARED, known_in, rules_in
from shared.services import SERVICES
from tests.services.every_route import app_of, rules_of

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def folder_of(service: str) -> Path:
    return Path(services.__file__).parent / service


@asynccontextmanager
async def client(service: str) -> AsyncIterator[httpx.AsyncClient]:
    app = app_of(service)
    app.state.parts.sources = (folder_of(service),)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as opened:
        yield opened


@pytest.mark.parametrize("service", SERVICES)
def test_every_rule_has_a_page_that_says_what_it_demands_and_what_to_do(service: str) -> None:
    pages = rules_in((SHARED, folder_of(service)))
    assert rules_of(service) <= pages.keys()
    for rule in rules_of(service):
        assert pages[rule].demands and pages[rule].status == status_of(rule), rule
    silent = {rule for rule in rules_of(service) if not (pages[rule].reasons or pages[rule].remedies)}
    assert len(silent) < len(rules_of(service)) / 4, sorted(silent)


@pytest.mark.parametrize(("method", "path"), [("GET", "/clock"), ("GET", "/nowhere"), ("PUT", "/health")])
async def test_the_type_of_a_problem_leads_to_its_page(method: str, path: str) -> None:
    async with client("entitlements") as asking:
        problem = await asking.request(method, path)
        address = urljoin(str(problem.request.url), problem.json()["type"])
        shown = await asking.get(address)
        page = await asking.get(address, headers=BROWSER)
    assert (shown.status_code, shown.json()["rule"], shown.json()["status"]) == (
        200,
        problem.json()["rule"],
        problem.status_code,
    )
    assert (
        page.headers["content-type"] == "text/html; charset=utf-8" and f"<h1>{shown.json()['rule']}</h1>" in page.text
    )
    assert page.headers["Vary"] == shown.headers["Vary"] == "Accept"


async def test_a_page_says_it_in_the_words_of_the_code_and_loads_nothing() -> None:
    async with client("entitlements") as asking:
        shown = (await asking.get("/problems/seats-exhausted")).json()
        page = (await asking.get("/problems/seats-exhausted", headers=BROWSER)).text
        every = (await asking.get("/problems", headers=BROWSER)).text
    assert shown["demands"] == "Never more seats are assigned than were bought."
    assert shown["reasons"] and shown["remedies"] and all("{" not in text for text in shown["reasons"])
    for text in (page, every):
        assert re.findall(r'(?:src|href)="(?!/problems)', text) == []
    assert shown["demands"] in page and 'href="/problems/seats-exhausted"' in every


async def test_what_is_no_rule_has_no_page() -> None:
    async with client("entitlements") as asking:
        answer = await asking.get("/problems/cart-empty")
    assert (answer.status_code, answer.json()["rule"]) == (404, "unknown"), "it is marketplace's"


def test_only_the_files_of_rules_and_those_that_refuse_are_parsed(tmp_path: Path) -> None:
    """Parsing all code takes seconds on a busy machine, for a page that may not exist."""
    (tmp_path / "rules.py").write_text('LATE: Final = "late"\n"""It is in time."""\n')
    (tmp_path / "pages.py").write_text("this is no Python")
    (tmp_path / "refusing.py").write_text('Rejected(rules.LATE, "It is late.", "Be early.")')
    (page,) = [each for each in rules_in((tmp_path,)).values() if each.rule == "late"]
    assert (page.demands, page.reasons, page.remedies) == ("It is in time.", ["It is late."], ["Be early."])
    (tmp_path / "refusing.py").write_text("Rejected(this is no Python")
    assert known_in((tmp_path,)) == rules_in((tmp_path,)).keys()
