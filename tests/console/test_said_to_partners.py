"""What partners are told: where their open carts are, who answers an order, who becomes Contract Manager."""

from pathlib import Path
from typing import Any

import pytest

from services.console.rendering import TEMPLATES
from tests.console.fakes import ACCOUNT, Browser, Services, words
from tests.console.samples.market import (
    CART,
    CUSTOMER,
    LINE,
    OPEN_CART,
    ORDER,
    ORDERED,
    PLAN,
    STEPS,
    SUBSCRIPTION,
    found,
    listed,
)
from tests.console.samples.market import SAMPLES as PAGES
from tests.console.samples.portal import ANSWERS, BOUGHT, answer
from tests.console.samples.portal import SUBSCRIPTION as BOUGHT_ID

PARTNER = found({**ACCOUNT, "organisation_kind": "partner"})


async def partner(tmp_path: Path, **answers: Any) -> Browser:
    """A partner's browser; the answers by the path that is asked for."""
    services = Services({"GET /me": PARTNER, **ORDER, **{f"GET {at}": each for at, each in answers.items()}})
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


async def test_another_browser_finds_the_open_cart_from_home_and_from_the_empty_one(tmp_path: Path) -> None:
    browser = await partner(tmp_path, **{"/carts": listed(OPEN_CART)})
    home = (await browser.get("/")).text
    assert '<a href="/carts/cart-1">A cart is open: AutoCAD, AutoCAD LT, Revit, Vault.</a>' in home
    empty = (await browser.get("/cart")).text
    assert "AutoCAD, AutoCAD LT, Revit and 1 more" in words(empty) and '<a href="/carts/cart-1">' in empty


async def test_several_open_carts_are_counted_and_an_empty_one_is_named_as_that(tmp_path: Path) -> None:
    browser = await partner(tmp_path, **{"/carts": listed(OPEN_CART, {**OPEN_CART, "cart_id": "cart-2"})})
    assert '<a href="/carts">2 carts are open.</a>' in (await browser.get("/")).text
    browser = await partner(tmp_path, **{"/carts": listed({**OPEN_CART, "products": []})})
    assert "A cart is open, with nothing in it." in words((await browser.get("/")).text)


async def test_without_an_open_cart_nothing_is_said_of_one(tmp_path: Path) -> None:
    browser = await partner(tmp_path, **{"/carts": listed()})
    assert "is open" not in words((await browser.get("/")).text)
    assert "Open carts" not in words((await browser.get("/cart")).text)


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


# ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────

WILL_BE = "With this order, the purchaser becomes Contract Manager"
STAYS = "The customer has a Contract Manager already, who stays."
IN_GENERAL = "With the first order of a publisher, the purchaser becomes Contract Manager."


@pytest.mark.parametrize(("opens", "said"), [(True, WILL_BE), (False, STAYS), (None, IN_GENERAL)])
async def test_the_cart_says_who_is_contract_manager_then(tmp_path: Path, opens: bool | None, said: str) -> None:
    cart = {**CART, "lines": [{**LINE, "opens_contract": opens}]}
    browser = await partner(tmp_path, **{"/carts/cart-1": found(cart), "/customers": listed(CUSTOMER)})
    await browser.get("/carts/cart-1")
    page = words((await browser.get("/cart?customer=cust-1")).text)
    assert [each for each in (WILL_BE, STAYS, IN_GENERAL) if each in page] == [said]


async def test_a_waiting_order_names_who_has_to_answer_it(tmp_path: Path) -> None:
    waiting = {**SUBSCRIPTION, "status": "awaiting", "term": None, "auto_renew": None, "instalments": []}
    browser = await partner(
        tmp_path, **{"/subscriptions/sub-1": found(waiting), "/carts/cart-1": found(ORDERED), "/customers": listed()}
    )
    assert "Who answers it Autodesk It confirms the order" in words((await browser.get("/orders/sub-1")).text)
    assert "Autodesk has not answered everything yet" in words((await browser.get("/carts/cart-1")).text)


async def test_an_answered_order_waits_for_nobody(tmp_path: Path) -> None:
    browser = await partner(tmp_path, **{"/carts/cart-1": found(ORDERED)})
    assert "Who answers it" not in words((await browser.get("/orders/sub-1")).text)
    assert "has not answered" not in words((await browser.get("/carts/cart-1")).text)


@pytest.mark.parametrize("status", ["awaiting", "confirmed"])
async def test_the_customer_sees_who_has_to_answer_its_order(tmp_path: Path, status: str) -> None:
    bought = answer(**{**BOUGHT, "status": status})
    browser = Browser(Services({**ANSWERS, f"GET /subscriptions/{BOUGHT_ID}": bought}), tmp_path)
    await browser.sign_in()
    said = words((await browser.get(f"/subscriptions/{BOUGHT_ID}")).text)
    assert ("Autodesk has to answer the order" in said) is (status == "awaiting")
