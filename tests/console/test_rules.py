"""The pages that the type of a problem leads to, where the console itself has refused what a program asks."""

from pathlib import Path
from urllib.parse import urljoin

import pytest

from services.console.live import rules
from shared.rule_status import status_of
from tests.console.fakes import HERE, Browser, Services

OWN = [rule for constant, rule in vars(rules).items() if constant.isupper()]


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(Services(), tmp_path)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/feed/x.events.v1?of=1", 422), ("PUT", "/events", 405), ("GET", "/problems/nothing", 404)],
)
async def test_the_type_of_a_problem_leads_to_its_page(browser: Browser, method: str, path: str, status: int) -> None:
    problem = await browser.client.request(method, path)
    assert problem.status_code == status
    shown = await browser.get(urljoin(f"{HERE}{path}", problem.json()["type"]))
    assert (shown.status_code, shown.json()["status"]) == (200, status)
    assert shown.json()["rule"] == problem.json()["rule"]


@pytest.mark.parametrize("rule", OWN)
async def test_the_consoles_own_rules_have_pages(browser: Browser, rule: str) -> None:
    shown = (await browser.get(f"/problems/{rule}")).json()
    page = await browser.client.get(f"/problems/{rule}", headers={"Accept": "text/html"})
    assert shown["demands"] and shown["status"] == status_of(rule)
    assert f"<h1>{rule}</h1>" in page.text and "<script" not in page.text
    assert {"unreadable", "machines-only"} < set(OWN)


async def test_all_rules_are_listed_and_too_much_is_refused_as_a_problem(browser: Browser) -> None:
    listed = {each["rule"] for each in (await browser.get("/problems")).json()["items"]}
    assert set(OWN) | {"not-signed-in", "method-not-allowed"} <= listed
    large = await browser.client.request("GET", "/problems", content=b"x" * 3_000_000)
    assert (large.status_code, large.json()["rule"]) == (413, "too-large")
