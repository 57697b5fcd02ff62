"""What is owed, as Home, the list of instalments and the subscription's page say it: the same."""

from pathlib import Path
from typing import Any

import pytest

from tests.console.fakes import ACCOUNT, Browser, Services, words
from tests.console.samples.market import SUBSCRIPTION as ORDERED
from tests.console.samples.portal import ANSWERS, BOUGHT, SUBSCRIPTION, answer, listed

PRICE = {"amount": 575_000, "currency": "EUR"}
NOTHING = {"amount": 0, "currency": "EUR"}
AT = f"/subscriptions/{SUBSCRIPTION}"


def owing(*parts: dict[str, Any], still_owed: dict[str, Any] = NOTHING) -> Services:
    """Services of a customer with one subscription that has these instalments."""
    due = [{"subscription_id": SUBSCRIPTION, "product_name": "AutoCAD", **part} for part in parts]
    bought = answer(**{**BOUGHT, "instalments": parts, "still_owed": still_owed})
    return Services({**ANSWERS, "GET /instalments": listed(*due), f"GET {AT}": bought})


def part(number: int, due: str, falls: str) -> dict[str, Any]:
    return {"number": number, "due": due, "falls": falls, "amount": PRICE}


async def told(tmp_path: Path, services: Services) -> tuple[str, str, str]:
    """What Home, the list and the subscription's page say."""
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    pages = [await browser.get(at) for at in ("/", "/instalments", AT)]
    assert {page.status_code for page in pages} == {200}
    home, found, one = (words(page.text) for page in pages)
    return home, found, one


async def test_a_plan_paid_in_advance_is_due_today_on_each_page(tmp_path: Path) -> None:
    home, found, one = await told(tmp_path, owing(part(1, "2026-11-29", "today")))
    assert "1 instalment is due today: €5,750.00." in home and "falls due in the next" not in home
    assert "29 Nov 2026 due today 1 €5,750.00" in found
    assert "€5,750.00 is due today. Nothing of this term falls due after today." in one
    assert "still owed" not in one


async def test_instalments_to_come_are_to_come_on_each_page(tmp_path: Path) -> None:
    parts = (part(1, "2026-11-20", "past"), part(2, "2026-12-20", "ahead"))
    home, found, one = await told(tmp_path, owing(*parts, still_owed=PRICE))
    assert "1 instalment falls due in the next 31 days: €5,750.00." in home and "due today" not in home
    assert "20 Nov 2026 was due 1" in found and "20 Dec 2026 2" in found
    assert "€5,750.00 falls due after today; it is owed even if" in one and "due today" not in one


async def test_home_leads_to_the_instalments_that_it_counts(tmp_path: Path) -> None:
    one, several = part(1, "2026-11-29", "today"), (part(2, "2026-12-20", "ahead"), part(3, "2026-12-25", "ahead"))
    browser = Browser(owing(one, *several), tmp_path)
    await browser.sign_in()
    text = (await browser.get("/")).text
    assert f'<a href="{AT}#instalments">1 instalment is due today' in text
    assert '<a href="/instalments">2 instalments fall due in' in text
    assert 'id="instalments"' in (await browser.get(AT)).text


async def test_home_leads_to_each_request_for_seats_that_waits(tmp_path: Path) -> None:
    browser = Browser(Services({**ANSWERS}), tmp_path)
    await browser.sign_in()
    assert (
        f'<a href="{AT}">Your request for 7 seats of AutoCAD waits for CADworks.</a>' in (await browser.get("/")).text
    )


@pytest.mark.parametrize("falls", ["today", "past"])
async def test_the_partner_sees_the_same_of_an_order_paid_in_advance(tmp_path: Path, falls: str) -> None:
    order = {**ORDERED, "instalments": [part(1, "2026-11-29", falls)], "still_owed": NOTHING}
    partner = answer(**ACCOUNT | {"organisation_kind": "partner"})
    browser = Browser(Services({"GET /me": partner, "GET /subscriptions/sub-1": answer(**order)}), tmp_path)
    await browser.sign_in()
    said = words((await browser.get("/orders/sub-1")).text)
    assert "Nothing of this term falls due after today." in said and ("is due today." in said) is (falls == "today")
