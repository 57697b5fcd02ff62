"""The catalogue and the wizard, over a real database."""

import pytest

from shared.events import CsnRevoked, PlanListed, PlanWithdrawn
from tests.examples.marketplace import AUTOCAD_ID, VAULT, plan
from tests.services.market import GONE, ORDER, Market, csn, euros

pytestmark = pytest.mark.system


async def test_the_wizard_shows_only_choices_that_lead_to_a_plan(market: Market) -> None:
    async def ask(query: str = "") -> tuple[int, str | None, dict[str, list[str]], str | None]:
        found = await market.when("clerk", "GET", f"/wizard?{query}").then_ok()
        choices = {step: [choice["value"] for choice in each] for step, each in found["choices"].items()}
        return found["plans"], found["next"], choices, found["plan"] and found["plan"]["product_id"]

    plans, step, choices, one = await ask()
    assert (plans, step, choices["product"], one) == (3, "product", ["autocad", "autocad-lt"], None), (
        "no vault, no GONE"
    )
    plans, step, choices, _ = await ask("product=autocad")
    assert (plans, step, choices["period"]) == (2, "period", ["annual", "monthly"])
    assert await ask("product=autocad&period=monthly") == (
        1,
        None,
        {
            "product": ["autocad"],
            "publisher": ["autodesk"],
            "period": ["annual", "monthly"],
            "support": ["advanced"],
            "billing": ["instalments"],
        },
        "001I1-006286-T605",
    )
    plans, _, choices, one = await ask("product=autocad-lt&period=three_year")
    assert (plans, choices["period"], one) == (0, ["annual"], None), "it commits for 36 months"
    await market.when("clerk", "GET", "/wizard?period=weekly").then_refused("malformed")

    await market.publisher(csn())
    plans, _, choices, _ = await ask()
    assert (plans, choices["product"]) == (4, ["autocad", "autocad-lt", "vault"])
    assert (await ask("product=vault"))[3] == "569N1-WW3740-L562"


async def test_the_catalogue_is_what_the_standing_opens(market: Market) -> None:
    async def shown(query: str = "") -> list[str]:
        first = await market.when("clerk", "GET", f"/catalogue?limit=2{query}").then_ok()
        items = first["items"]
        while first["next"]:
            first = await market.when("clerk", "GET", f"/catalogue?limit=2&after={first['next']}{query}").then_ok()
            items += first["items"]
        return [item["product"] for item in items]

    assert await shown() == ["autocad", "autocad-lt", "autocad-lt", "autocad"]
    assert await shown("&period=annual&support=basic") == ["autocad-lt", "autocad"]
    assert await shown("&product_id=c1rk1-ww1762-l158") == ["autocad"]
    assert (await market.when("clerk", "GET", "/catalogue/C1RK1WW1762L158").then_ok())["price"] == euros(227_500)
    await market.when("clerk", "GET", "/catalogue/nonsense").then_refused("malformed-product-id")
    await market.when("clerk", "GET", "/catalogue/AAAAA-WW0009-A001").then_refused("plan-unknown")
    withdrawn = await market.when("clerk", "GET", f"/catalogue/{GONE.product_id}").then_refused("plan-withdrawn")
    closed = await market.when("clerk", "GET", f"/catalogue/{VAULT.product_id}").then_refused("specialised-needs-csn")
    assert len(withdrawn["because"]) == len(closed["because"]) == 1

    await market.publisher(csn())
    assert await shown("&category=specialised") == ["vault"]
    assert (await market.when("clerk", "GET", "/standing").then_ok())["specialised_open_for"] == ["autodesk"]
    await market.when("clerk", "GET", f"/catalogue/{VAULT.product_id}").then_ok()
    await market.publisher(csn(CsnRevoked))
    assert await shown("&category=specialised") == []
    assert [each["valid"] for each in (await market.when("clerk", "GET", "/standing").then_ok())["csns"]] == [False]


async def test_two_publishers_use_one_product_id(market: Market) -> None:
    theirs = plan(AUTOCAD_ID, publisher="rival", price=100).model_copy(update={"product_name": "Drawer"})
    await market.hears("publisher:rival", "said-by-rival", PlanListed(plan=theirs))
    path, cart = f"/catalogue/{AUTOCAD_ID}", await market.cart()
    lines = f"/carts/{cart}/lines"

    which = await market.when("clerk", "GET", path).then_refused("selection-ambiguous")
    assert "autodesk (Autocad), rival (Drawer)" in which["detail"]
    assert len(which["because"]) == 2
    for publisher, price in (("autodesk", 227_500), ("rival", 100)):
        shown = await market.when("clerk", "GET", f"{path}?publisher={publisher}").then_ok()
        assert (shown["publisher"], shown["price"]) == (publisher, euros(price))
        only = await market.when("clerk", "GET", f"/catalogue?product_id={AUTOCAD_ID}&publisher={publisher}").then_ok()
        assert [item["publisher"] for item in only["items"]] == [publisher]
    await market.when("clerk", "GET", f"{path}?publisher=acme").then_refused("plan-unknown")

    asked = await market.when("clerk", "GET", "/wizard?product=autocad").then_ok()
    assert (asked["next"], [each["value"] for each in asked["choices"]["publisher"]]) == (
        "publisher",
        ["autodesk", "rival"],
    )
    assert {"value": "autocad", "label": "Autocad / Drawer"} in asked["choices"]["product"]
    one = await market.when("clerk", "GET", "/wizard?product=autocad&publisher=rival").then_ok()
    assert one["plan"]["publisher"] == "rival"

    by_id = {"product_id": AUTOCAD_ID, "seats": 1}
    by_wizard = {"product": "autocad", "period": "annual", "seats": 1}
    for body in (by_id, by_wizard):
        await market.when("clerk", "POST", lines, body).then_refused("selection-ambiguous")
        added = await market.when("clerk", "POST", lines, body | {"publisher": "autodesk", "seats": 2}).then_ok()
        assert all(event["data"]["line"]["plan"]["publisher"] == "autodesk" for event in added["events"])
    await market.when("clerk", "POST", f"/carts/{cart}/checkout", ORDER).then_ok()


async def test_a_publisher_takes_no_other_publishers_plan_off_sale(market: Market) -> None:
    theirs = plan(AUTOCAD_ID, publisher="rival", category="specialised")
    foreign = PlanWithdrawn(product_id=AUTOCAD_ID, publisher="autodesk")
    await market.hears("publisher:rival", "said-by-rival", PlanListed(plan=theirs), foreign)
    shown = await market.when("clerk", "GET", f"/catalogue/{AUTOCAD_ID}").then_ok()
    assert shown["publisher"] == "autodesk"
    await market.cart((AUTOCAD_ID, 1))
