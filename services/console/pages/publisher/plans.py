"""The publisher's catalogue: plans, and their prices with the day from which they hold."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from http import HTTPStatus
from typing import Final

from babel.numbers import NumberFormatError, parse_decimal
from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import Deed, again, carry_out
from services.console.doors import path
from services.console.forms import whole_number
from services.console.shapes.publishing import OfferedPlan, OfferedPlans
from services.console.texts import marked
from services.console.visits import Visit
from shared.money import digits_of

CURRENCIES: Final = ("EUR", "USD", "GBP", "CHF", "JPY")
CHOICES: Final[Mapping[str, Mapping[str, str]]] = {
    "period": {"annual": marked("one year"), "monthly": marked("month by month"), "three_year": marked("three years")},
    "support": {"basic": marked("basic"), "advanced": marked("advanced")},
    "billing": {"upfront": marked("in advance"), "instalments": marked("in instalments")},
    "category": {"open": marked("for every partner"), "specialised": marked("for partners with a CSN")},
    "agreement": {
        "desktop": marked("Desktop"),
        "maintenance": marked("Maintenance"),
        "other": marked("another one"),
    },
}
WRITTEN: Final = ("product_id", "programme", "product", "product_name", "commitment_months", "amount")
NOT_AN_AMOUNT: Final = marked("Write an amount, such as 1,800.00.")
NOT_OFFERED: Final = marked("Choose a currency.")
NOT_A_DAY: Final = marked("Choose a day.")
NOT_MONTHS: Final = marked("Write a number of months, such as 12.")


async def plans(visit: Visit) -> Response:
    """List the publisher's plans."""
    if visit.wants_csv:
        return await visit.export("marketplace", "/publisher/plans", "plans", "status")
    found = await visit.see_list("marketplace", "/publisher/plans", OfferedPlans, "status")
    return visit.page("publisher/plans.html", found=found, words=_words(visit))


def _words(visit: Visit) -> Mapping[str, Mapping[str, str]]:
    return {
        field: {value: visit.texts.gettext(text) for value, text in choices.items()}
        for field, choices in CHOICES.items()
    }


async def new(visit: Visit) -> Response:
    """Show the form for a plan."""
    for name in (*WRITTEN, *CHOICES, "currency"):
        visit.form.values.setdefault(name, "")
    if visit.request.method == "GET":
        visit.form.values |= {"commitment_months": "12", "currency": "EUR", "programme": "subscription"}
    return visit.page("publisher/new-plan.html", words=_words(visit), currencies=CURRENCIES)


async def list_plan(visit: Visit) -> Response:
    """List the plan, once the person has confirmed it."""
    form, texts = visit.form, visit.texts
    form.require(texts, *WRITTEN, *CHOICES, "currency")
    months, price = whole_number(form["commitment_months"]), _price(visit)
    if form["currency"] and form["currency"] not in CURRENCIES:
        form.errors["currency"] = texts.gettext(NOT_OFFERED)
    if form["commitment_months"].strip() and months is None:
        form.errors["commitment_months"] = texts.gettext(NOT_MONTHS)
    if form.wrong:
        return await again(visit, new)
    body: dict[str, JsonValue] = {
        name: form[name].strip() for name in ("product_id", "programme", "product", "product_name", *CHOICES)
    }
    deed = Deed(
        service="marketplace",
        method="POST",
        path="/publisher/plans",
        body={**body, "commitment_months": months, "price": price},
        question=texts.gettext("List this plan?"),
        button=texts.gettext("List it"),
        says=lambda _: _says(visit),
        idle=texts.gettext("The catalogue has it so already."),
        then="/publisher/plans",
        notice="plan-listed",
    )
    return await carry_out(visit, deed, new)


def _says(visit: Visit) -> list[str]:
    texts, form = visit.texts, visit.form
    price = _price(visit)
    sentence = texts.gettext("Partners can order %(plan)s (%(product_id)s) from now on, at %(price)s a seat.")
    money = texts.money(int(str(price["amount"])), str(price["currency"]))
    return [sentence % {"plan": form["product_name"], "product_id": form["product_id"], "price": money}]


def _price(visit: Visit) -> dict[str, JsonValue]:
    """Return the price of a form in minor units, and note what is wrong with it."""
    form, texts = visit.form, visit.texts
    currency = form["currency"]
    try:
        amount = parse_decimal(form["amount"].strip(), locale=texts.locale, strict=True)
    except NumberFormatError:
        amount = Decimal(-1)
    sensible = amount.is_finite() and amount < 10**12
    minor = amount.scaleb(digits_of(currency)) if sensible else Decimal(-1)
    if form["amount"].strip() and (minor < 0 or minor != int(minor)):
        form.errors["amount"] = texts.gettext(NOT_AN_AMOUNT)
        return {}
    return {"amount": int(minor), "currency": currency}


# ── One plan ───────────────────────────────────────────────────────────────────────────────────────────


async def plan(visit: Visit) -> Response:
    """Show a plan with its prices, and the forms for a new price and its withdrawal."""
    found = await _asked_plan(visit)
    if found is None:
        return visit.page("not-found.html", HTTPStatus.NOT_FOUND)
    visit.form.values.setdefault("amount", "")
    visit.form.values.setdefault("valid_from", "")
    visit.form.values["currency"] = found.price.currency
    return visit.page("publisher/plan.html", plan=found, words=_words(visit))


async def _asked_plan(visit: Visit) -> OfferedPlan | None:
    """Return the plan of the page's path, whose product ID may be written without hyphens."""
    found = await visit.see("marketplace", "/publisher/plans", OfferedPlans, q=visit.id("product_id"))
    wanted = _plain(visit.id("product_id"))
    return next((each for each in found.items if _plain(each.product_id) == wanted), None)


def _plain(product_id: str) -> str:
    return product_id.replace("-", "").upper()


async def change(visit: Visit) -> Response:
    """Announce a price, or withdraw the plan."""
    form, texts, at = visit.form, visit.texts, path("/publisher/plans/{id}", id=visit.id("product_id"))
    if form["do"] == "withdraw":
        withdrawal = Deed(
            service="marketplace",
            method="DELETE",
            path=at,
            question=texts.gettext("Take the plan off sale?"),
            button=texts.gettext("Take it off sale"),
            says=lambda _: [texts.gettext("Nobody can order it any more. Running subscriptions stay, and renew.")],
            then="/publisher/plans",
            notice="plan-off",
        )
        return await carry_out(visit, withdrawal, plan)
    form.require(texts, "amount", "valid_from", "currency")
    price, day = _price(visit), _day(form["valid_from"])
    if form["valid_from"] and day is None:
        form.errors["valid_from"] = texts.gettext(NOT_A_DAY)
    if form.wrong or day is None:
        return await again(visit, plan)
    values = {"day": texts.day(day), "price": texts.money(int(str(price["amount"])), str(price["currency"]))}
    deed = Deed(
        service="marketplace",
        method="POST",
        path=f"{at}/prices",
        body={"price": price, "valid_from": day.isoformat()},
        question=texts.gettext("Announce this price?"),
        button=texts.gettext("Announce it"),
        says=lambda _: [
            texts.gettext("From %(day)s (UTC) a seat costs %(price)s. Running terms keep their price.") % values
        ],
        then=at,
        notice="price-announced",
    )
    return await carry_out(visit, deed, plan)


def _day(written: str) -> date | None:
    try:
        return date.fromisoformat(written)
    except ValueError:
        return None
