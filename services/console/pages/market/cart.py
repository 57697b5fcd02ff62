"""The cart as its checkout decides it, its changes, and the checkout."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Final
from uuid import UUID, uuid5

from pydantic import BaseModel, JsonValue
from starlette.responses import Response

from services.console.deeds import Deed, Outcome, again, carry_out, do_now, refuse
from services.console.doors import Refused, path
from services.console.forms import whole_number
from services.console.pages.market.orders import is_final, state_of
from services.console.pages.market.showing import given, if_shown, names_of, render, unchanged
from services.console.shapes.identity import AtAddresses
from services.console.shapes.sales import Cart, Carts, Customer, Customers, Subscription
from services.console.texts import marked
from services.console.visits import Page, Visit

CART: Final = "cart"
"""What the session keeps the id of the cart under."""
CHECKED: Final = ("customer", "purchaser", "starts")
"""What the checkout needs besides the lines; in the page's address."""
SOME: Final = "5"
"""The number of open carts that an empty one points out."""
_OPENING: Final = UUID("6a4b7a52-61c9-4a35-9a6e-2f7c3b0d7f11")
NOBODY: Final = marked(
    "Nobody at this customer has this e-mail address. Check it, or ask the customer to open an account for the "
    "purchaser."
)
CHOOSE_CUSTOMER: Final = marked("Choose the customer first.")
NOT_A_DAY: Final = marked("This is not a day. Choose one, such as today.")


class OpenedCart(BaseModel):
    """The event of a cart that was opened."""

    cart_id: str


# ── Filling it ─────────────────────────────────────────────────────────────────────────────────────────


async def put_into_cart(visit: Visit, show: Page) -> Response:
    """Put the form's plan into the cart; one that is there gets the form's number of seats."""
    form = visit.form
    seats = form["seats"].strip()
    if not form.require(visit.texts, "product_id", "seats"):
        return await again(visit, show)
    body: dict[str, JsonValue] = {"product_id": form["product_id"].strip(), "seats": _count(seats)}
    body |= {name: form[name] for name in ("publisher", "customer") if form[name]}
    then = path("/cart", {"customer": form["customer"]} if form["customer"] else {})
    try:
        await _add(visit, body)
    except Refused as refused:
        return await refuse(visit, refused, show)
    return visit.go(then, "in-cart")


async def _add(visit: Visit, body: dict[str, JsonValue]) -> None:
    cart_id = visit.kept(CART)
    if cart_id and await if_shown(visit.see("marketplace", path("/carts/{id}", id=cart_id), Cart)) is None:
        cart_id = ""  # another person's, who was signed in here before
    if not cart_id:
        key, visit.form.key = visit.form.key, str(uuid5(_OPENING, visit.form.key))
        opened = await visit.ask("marketplace", "POST", "/carts", Outcome, {})
        visit.form.key = key
        cart_id = OpenedCart.model_validate(opened.events[0].data).cart_id
        visit.keep(CART, cart_id)
    await visit.do("marketplace", "POST", path("/carts/{id}/lines", id=cart_id), body)


def _count(text: str) -> JsonValue:
    number = whole_number(text)
    return text if number is None else number


# ── Showing it ─────────────────────────────────────────────────────────────────────────────────────────


async def cart(visit: Visit) -> Response:
    """Show the cart as its checkout decides it, for what is known of the order."""
    asked, cart_id = _asked(visit), visit.kept(CART)
    found = await if_shown(_seen(visit, cart_id, asked)) if cart_id else None
    customer: Customer | None = None
    names: Mapping[str, str] = {}
    if asked.get("customer"):
        known = await if_shown(visit.see("marketplace", "/customers", Customers, customer=asked["customer"]))
        customer = next(iter(known.items), None) if known else None
    if asked.get("purchaser"):
        names = await names_of(visit, [asked["purchaser"]])
    if found is None or found.status != "open":
        forget(visit)
        carts = await if_shown(visit.see("marketplace", "/carts", Carts, status="open", limit=SOME))
        return render(visit, "cart-empty.html", open=carts)
    for name in CHECKED:
        visit.keep(name, asked.get(name, ""))
    visit.form.values |= {name: asked.get(name, "") for name in CHECKED} | {"email": visit.form["email"]}
    assumed = found.starts.isoformat() if asked.get("purchaser") else ""  # else it is today in another time zone
    visit.form.values["starts"] = asked.get("starts") or assumed
    refusals = {line: _words(visit, found, line) for line in (None, *(each.line for each in found.lines))}
    ready = bool(customer and asked.get("purchaser") and not found.refusals and not visit.form.wrong)
    return render(
        visit, "cart.html", cart=found, customer=customer, purchasers=names, refusals=refusals, asked=asked, ready=ready
    )


def _asked(visit: Visit) -> dict[str, str]:
    """Return what the page or its form says of the order, or what the session has kept.

    That is the last time's, and also holds if only the same customer is named.
    """
    asked = {name: value for name in CHECKED if (value := given(visit, name))}
    kept = {name: value for name in CHECKED if (value := visit.kept(name))}
    return kept if asked in ({}, {"customer": kept.get("customer")}) else asked


def forget(visit: Visit) -> None:
    """Forget the cart, which is ordered or unknown."""
    for name in (CART, *CHECKED):
        visit.keep(name, "")


async def _seen(visit: Visit, cart_id: str, asked: dict[str, str]) -> Cart:
    """Return the cart as the checkout would decide it.

    If it would refuse what is asked, that is noted, and the cart is returned without.
    """
    try:
        return await visit.see("marketplace", path("/carts/{id}", id=cart_id), Cart, **asked)
    except Refused as refused:
        if not asked:
            raise
        visit.form.values |= asked
        visit.form.values.setdefault("email", "")
        visit.form.refuse(refused, visit.texts)
        return await visit.see("marketplace", path("/carts/{id}", id=cart_id), Cart)


def _words(visit: Visit, found: Cart, line: int | None) -> list[str]:
    """Return why the checkout refuses the line, in words."""
    words = replace(visit.form, values={}, errors={}, faults=[])
    for refusal in found.refusals:
        if refusal.line == line:
            words.refuse_by(refusal.rule, f"{refusal.reason} {refusal.remedy}", visit.texts)
    return words.faults


# ── Changing and ordering it ───────────────────────────────────────────────────────────────────────────


async def change_cart(visit: Visit) -> Response:
    """Change or remove a line, look again for another purchaser or start, or check the cart out."""
    cart_id = visit.kept(CART)
    if not cart_id:
        return visit.go("/cart")
    match visit.form["action"]:
        case "seats":
            return await put_into_cart(visit, cart)
        case "remove":
            return await _remove(visit, cart_id)
        case "order":
            return await _order(visit, cart_id)
        case _:
            return await _check(visit)


async def _remove(visit: Visit, cart_id: str) -> Response:
    deed = Deed(
        service="marketplace",
        method="DELETE",
        path=path("/carts/{cart_id}/lines/{line}", cart_id=cart_id, line=visit.form["line"]),
        question="",
        button="",
        then=path("/cart", {name: visit.form[name] for name in CHECKED if visit.form[name]}),
        notice="out-of-cart",
    )
    return await do_now(visit, deed, cart)


async def _check(visit: Visit) -> Response:
    """Show the cart for the purchaser whose address was entered, and the start."""
    form, texts = visit.form, visit.texts
    if not form["customer"]:
        form.faults.append(texts.gettext(CHOOSE_CUSTOMER))
        return await again(visit, cart)
    asked = {name: form[name].strip() for name in CHECKED if form[name].strip()}
    if form["starts"].strip() and not _is_day(form["starts"]):
        form.errors["starts"] = texts.gettext(NOT_A_DAY)
        form.values["starts"] = ""
        return await again(visit, cart)
    if form["email"].strip():
        body: dict[str, JsonValue] = {
            "items": [{"email": form["email"].strip()}],
            "organisation_id": form["customer"],
        }
        try:
            found = await visit.ask("identity", "POST", "/accounts/by-address", AtAddresses, body)
        except Refused as refused:
            return await refuse(visit, refused, cart)
        account = found.items[0].account_id
        if account is None:
            form.errors["email"] = texts.gettext(NOBODY)
            form.values["purchaser"] = ""
            return await again(visit, cart)
        asked["purchaser"] = account
    elif not form["purchaser"]:
        form.require(texts, "email")
        return await again(visit, cart)
    return visit.go(path("/cart", {name: asked[name] for name in CHECKED if name in asked}))


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


async def _order(visit: Visit, cart_id: str) -> Response:
    gettext, form = visit.texts.gettext, visit.form
    asked = {name: form[name] for name in CHECKED}
    known = await if_shown(visit.see("marketplace", "/customers", Customers, customer=asked["customer"]))
    customer = known.items[0].name if known and known.items else asked["customer"]
    seen = await if_shown(visit.see("marketplace", path("/carts/{id}", id=cart_id), Cart))
    deed = Deed(
        service="marketplace",
        method="POST",
        path=path("/carts/{id}/checkout", id=cart_id),
        body=dict(asked),
        question=gettext(marked("Order this for %(customer)s?")) % {"customer": customer},
        button=gettext(marked("Order")),
        says=lambda _: _sentences(visit, seen),
        grave=True,
        then=path("/carts/{id}", id=cart_id),
        notice="ordered",
    )
    response = await carry_out(visit, deed, cart)
    if response.headers.get("location"):
        forget(visit)
    return response


def _sentences(visit: Visit, seen: Cart | None) -> list[str]:
    """Return what is about to be ordered."""
    texts, gettext = visit.texts, visit.texts.gettext
    if seen is None:
        return []
    one = marked("%(seats)s × %(product)s: %(total)s")
    lines = [
        gettext(one)
        % {
            "seats": texts.number(line.seats),
            "product": line.plan.product_name,
            "total": texts.money(line.total.amount, line.total.currency),
        }
        for line in seen.lines
    ]
    if seen.total is not None:
        total = texts.money(seen.total.amount, seen.total.currency)
        lines.append(gettext(marked("%(total)s in all, for a term of twelve months.")) % {"total": total})
    lines.append(
        gettext(marked("There are no returns and no refunds at any time: a subscription runs to the end of its term."))
    )
    return lines


# ── Its customer, and what it became ───────────────────────────────────────────────────────────────────


async def choose_customer(visit: Visit) -> Response:
    """List the customers that one may order for."""
    found = await visit.see("marketplace", "/customers", Customers, status="engaged", limit="50", **visit.listed())
    return render(visit, "choose-customer.html", customers=found)


async def ordered(visit: Visit) -> Response:
    """Show what a cart was ordered as, and how far each order is."""
    cart_id = visit.id("cart_id")
    found = await visit.see("marketplace", path("/carts/{id}", id=cart_id), Cart)
    if found.status == "open":
        visit.keep(CART, cart_id)
        return visit.go("/cart")
    ids = [line.subscription_id for line in found.lines if line.subscription_id]
    if len(ids) < len(found.lines):
        return visit.go("/carts")  # it was discarded, and became nothing
    orders = await asyncio.gather(
        *(if_shown(visit.see("marketplace", path("/subscriptions/{id}", id=each), Subscription)) for each in ids)
    )
    states = [state_of(order) for order in orders]
    seen = ".".join(states)
    return unchanged(visit, seen) or render(
        visit,
        "ordered.html",
        cart=found,
        orders=list(zip(found.lines, states, orders, strict=True)),
        customer=next((order.customer_name for order in orders if order), ""),
        live=not all(map(is_final, states)),
        seen=seen,
    )
