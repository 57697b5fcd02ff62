"""What partners are told: where their open carts are, who answers an order, who becomes Contract Manager."""

from pathlib import Path
from typing import Any

from services.console.rendering import TEMPLATES
from tests.console.fakes import ACCOUNT, Browser, Services, words
from tests.console.samples.market import CUSTOMER, ORDER, PLAN, STEPS, found, listed
from tests.console.samples.market import SAMPLES as PAGES

PARTNER = found({**ACCOUNT, "organisation_kind": "partner"})


async def partner(tmp_path: Path, **answers: Any) -> Browser:
    """A partner's browser; the answers by the path that is asked for."""
    services = Services({"GET /me": PARTNER, **ORDER, **{f"GET {at}": each for at, each in answers.items()}})
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


# ── Publishers' names ──────────────────────────────────────────────────────────────────────────────────


async def test_the_wizard_calls_publishers_as_people_do(tmp_path: Path) -> None:
    publishers = [{"value": each, "label": each} for each in ("autodesk", "bentley systems")]
    choices = {**STEPS["choices"], "publisher": publishers}
    browser = await partner(tmp_path, **{"/wizard": found({**STEPS, "next": "publisher", "choices": choices})})
    page = (await browser.get("/wizard?product=autocad")).text
    assert "Autodesk" in words(page) and "Bentley Systems" in words(page) and "autodesk" not in words(page)
    assert 'value="autodesk"' in page, "what is sent is its short name"
    settled = {**STEPS, "plans": 1, "plan": PLAN, "next": None}
    browser = await partner(tmp_path, **{"/wizard": found(settled)})
    said = words((await browser.get("/wizard?product=autocad")).text)
    assert "Publisher Autodesk" in said and "autodesk" not in said


async def test_a_customers_page_calls_publishers_as_people_do(tmp_path: Path) -> None:
    answers = dict(PAGES["/customers/{customer}"].answers)
    answers["GET /customers"] = listed({**CUSTOMER, "csn_publishers": ["autodesk"]})
    browser = Browser(Services({**answers, "GET /me": PARTNER}), tmp_path)
    await browser.sign_in()
    assert "Own CSNs Autodesk" in words((await browser.get("/customers/cust-1")).text)


def test_templates_have_one_filter_for_the_names_of_publishers() -> None:
    assert [file.name for file in TEMPLATES.rglob("*.html") if "| capitalize" in file.read_text()] == []
