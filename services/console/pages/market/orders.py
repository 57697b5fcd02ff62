"""Orders: the list, one order on its way, its corrections, and its subscription."""

import asyncio
import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from io import StringIO
from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import Deed, LinesDeed, Outcome, again, carry_out, carry_out_lines
from services.console.doors import path
from services.console.forms import whole_number
from services.console.pages.market.showing import given, if_shown, names_of, render, unchanged
from services.console.shapes.sales import (
    EndPreview,
    Happening,
    Instalment,
    SeatsRequests,
    Subscription,
    SubscriptionHistory,
    Subscriptions,
    SupportAnswer,
)
from services.console.texts import marked
from services.console.visits import Visit

FILTERS: Final = ("status", "customer", "auto_renew")
STATE_AFTER: Final[Mapping[str, str]] = {
    "SubscriptionOrdered": "awaiting",
    "SubscriptionConfirmed": "confirmed",
    "SubscriptionOrderFailed": "failed",
    "SubscriptionOrderAbandoned": "abandoned",
    "SubscriptionEnded": "ended",
}
"""An order's state after an event that changes it."""
NONE_CHOSEN: Final = marked("Choose at least one declined order.")


def state_of(order: Subscription | None) -> str:
    """Return an order's state; "sent" until marketplace knows it."""
    return order.status if order is not None else "sent"


def is_final(state: str) -> bool:
    """Return whether an order's state stays without somebody's doing something."""
    return state not in ("sent", "awaiting")


async def orders(visit: Visit) -> Response:
    """List one's own orders, by status."""
    if visit.wants_csv:
        return await visit.export("marketplace", "/orders", "orders", *FILTERS)
    found = await visit.see_list("marketplace", "/orders", Subscriptions, *FILTERS)
    return render(visit, "orders.html", orders=found)


async def change_several(visit: Visit) -> Response:
    """Send the chosen declined orders again, or give them up, after a preview of each."""
    gettext, form = visit.texts.gettext, visit.form
    chosen = [each for each in form["chosen[]"].splitlines() if each]
    if not chosen:
        form.faults.append(gettext(NONE_CHOSEN))
        return await again(visit, orders)
    found = await asyncio.gather(
        *(if_shown(visit.see("marketplace", path("/subscriptions/{id}", id=each), Subscription)) for each in chosen)
    )
    gives_up = form["action"] == "abandon"
    column = "reason" if gives_up else "starts"
    deed = LinesDeed(
        service="marketplace",
        path=f"/subscriptions/{'abandon' if gives_up else 'resubmit'}/bulk",
        lines=_lines(("subscription_id", column), ((each, form[column].strip()) for each in chosen)),
        shown=["", *(f"{each.customer_name}: {each.plan.product_name}" if each else "" for each in found)],
        added=1,
        question=gettext(marked("Give these orders up?") if gives_up else marked("Send these orders again?")),
        button=gettext(marked("Give them up") if gives_up else marked("Send them again")),
        then="/orders",
    )
    return await carry_out_lines(visit, deed, orders)


def _lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a CSV file of these rows."""
    file = StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return file.getvalue()


async def order(visit: Visit) -> Response:
    """Show an order, its way to the confirmation and what became of it."""
    subscription_id = visit.id("subscription_id")
    at = path("/subscriptions/{id}", id=subscription_id)
    # The history is the log's, which is ahead of the table that the order is read from: the order is read afterwards.
    history = await if_shown(visit.see("marketplace", at + "/history", SubscriptionHistory))
    found, requests, support, preview = await asyncio.gather(
        visit.see("marketplace", at, Subscription),
        if_shown(
            visit.see("marketplace", "/seats-requests", SeatsRequests, subscription_id=subscription_id, status="open")
        ),
        if_shown(visit.see("marketplace", at + "/support", SupportAnswer)),
        if_shown(visit.see("marketplace", at + "/cancel-preview", EndPreview)),
    )
    entries = as_far_as(found.status, history.items) if history else []
    renewing = found.auto_renew.state if found.auto_renew else ""
    seen = f"{found.status}.{len(entries)}.{renewing}"
    if (nothing_new := unchanged(visit, seen)) is not None:
        return nothing_new
    held = found.auto_renew.refused.held if found.auto_renew and found.auto_renew.refused else []
    people = [found.purchaser, *(entry.actor for entry in entries if _is_account(entry.actor))]
    in_the_way = preview.seats_to_unassign if preview else []
    names = await names_of(visit, [*people, *(seat.account_id for seat in (*held, *in_the_way))])
    visit.form.values.setdefault("starts", found.starts.isoformat())
    visit.form.values.setdefault("seats", str(found.seats_next_term or found.seats))
    visit.form.values.setdefault("reason", "")
    return render(
        visit,
        "order.html",
        order=found,
        history=entries,
        requests=requests.items if requests else [],
        names=names,
        held=held,
        support=support,
        preview=preview,
        live=not is_final(found.status) or renewing == "asked",
        seen=seen,
    )


def as_far_as(state: str, entries: Sequence[Happening]) -> Sequence[Happening]:
    """Return an order's history up to the state that is shown of it.

    That may be older than the last entries.
    """
    states = [STATE_AFTER.get(entry.type) for entry in entries]
    if state not in states:
        return entries
    latest = len(states) - states[::-1].index(state)
    later = next((n for n, each in enumerate(states[latest:], start=latest) if each is not None), len(entries))
    return entries[:later]


def _is_account(actor: str) -> bool:
    return len(actor) == 36 and actor.count("-") == 4


async def change_order(visit: Visit) -> Response:
    """Do what the button says: send again, give up, change seats, answer, auto-renew off."""
    match visit.form["action"]:
        case "resend":
            return await _resend(visit)
        case "abandon":
            return await _abandon(visit)
        case "seats":
            return await _seats(visit)
        case "auto-renew":
            return await _auto_renew_off(visit)
        case "confirm":
            return await confirm_request(visit)
        case "decline":
            return await decline_request(visit)
        case _:
            return visit.go(_here(visit))


def _here(visit: Visit) -> str:
    return path("/orders/{subscription_id}", subscription_id=visit.id("subscription_id"))


def _count(text: str) -> JsonValue:
    number = whole_number(text)
    return text.strip() if number is None else number


async def _resend(visit: Visit) -> Response:
    form, gettext = visit.form, visit.texts.gettext
    body: dict[str, JsonValue] = {}
    if form["starts"].strip():
        body["starts"] = form["starts"].strip()
    if form["seats"].strip():
        body["seats"] = _count(form["seats"])
    deed = Deed(
        service="marketplace",
        method="POST",
        path=path("/subscriptions/{id}/resubmit", id=visit.id("subscription_id")),
        body=body,
        question=gettext(marked("Send this order again?")),
        button=gettext(marked("Send again")),
        says=lambda outcome: _resent(visit, outcome),
        then=_here(visit),
        notice="ordered",
    )
    return await carry_out(visit, deed, order)


def _resent(visit: Visit, outcome: Outcome) -> list[str]:
    texts = visit.texts
    sentence = texts.gettext(marked("%(seats)s seats from %(starts)s on."))
    return [
        sentence % {"seats": event.data["seats"], "starts": _day(visit, event.data["starts"])}
        for event in outcome.events
        if event.type == "SubscriptionOrdered"
    ]


async def _abandon(visit: Visit) -> Response:
    gettext = visit.texts.gettext
    deed = Deed(
        service="marketplace",
        method="POST",
        path=path("/subscriptions/{id}/abandon", id=visit.id("subscription_id")),
        body={"reason": visit.form["reason"].strip()},
        question=gettext(marked("Give this order up?")),
        button=gettext(marked("Give it up")),
        says=lambda _: [gettext(marked("It can't be sent again afterwards. To buy the plan, order it anew."))],
        grave=True,
        then=_here(visit),
        notice="given-up",
    )
    return await carry_out(visit, deed, order)


async def _seats(visit: Visit) -> Response:
    gettext = visit.texts.gettext
    deed = Deed(
        service="marketplace",
        method="PUT",
        path=path("/subscriptions/{id}/seats", id=visit.id("subscription_id")),
        body={"seats": _count(visit.form["seats"])},
        question=gettext(marked("Change the number of seats?")),
        button=gettext(marked("Change it")),
        says=lambda outcome: seats_changed(visit, outcome),
        idle=gettext(marked("There are as many seats already.")),
        then=_here(visit),
        notice="seats-changed",
    )
    return await carry_out(visit, deed, order)


def seats_changed(visit: Visit, outcome: Outcome) -> list[str]:
    """Return what a change of seats does and costs, in sentences."""
    texts, said = visit.texts, []
    for event in outcome.events:
        if event.type == "SeatsAdded":
            sentence = marked("%(added)s more seats at once, %(seats)s in all. They cost %(price)s, due on %(day)s.")
            said.append(
                texts.gettext(sentence)
                % {
                    "added": event.data["added"],
                    "seats": event.data["seats"],
                    "price": _price(visit, event.data["instalment"]),
                    "day": _due(visit, event.data["instalment"]),
                }
            )
        elif event.type == "SeatDecreaseScheduled":
            sentence = marked("%(seats)s seats from the next term on, which begins on %(day)s.")
            said.append(
                texts.gettext(sentence) % {"seats": event.data["seats"], "day": _day(visit, event.data["takes_effect"])}
            )
    return said


async def _auto_renew_off(visit: Visit) -> Response:
    gettext = visit.texts.gettext
    deed = Deed(
        service="marketplace",
        method="POST",
        path=path("/subscriptions/{id}/disable-auto-renew", id=visit.id("subscription_id")),
        body={},
        question=gettext(marked("Turn auto-renew off?")),
        button=gettext(marked("Turn it off")),
        says=lambda outcome: disabled(visit, outcome),
        grave=True,
        then=_here(visit),
        notice="auto-renew-asked",
    )
    return await carry_out(visit, deed, order)


def disabled(visit: Visit, outcome: Outcome) -> list[str]:
    """Return what turning auto-renew off does, in sentences."""
    texts = visit.texts
    said = []
    for event in outcome.events:
        if event.type == "AutoRenewDisableRequested":
            ends = _day(visit, event.data["term_ends"])
            sentence = marked("It ends on %(day)s, if no seat is assigned now. All instalments are owed.")
            if event.data.get("binds") == "next_term":
                sentence = marked(
                    "It is too late for the term that ends on %(day)s: it renews once more, and then ends."
                )
            said.append(texts.gettext(sentence) % {"day": ends})
    return said


async def confirm_request(visit: Visit) -> Response:
    """Confirm a customer's request for seats: they are added at once."""
    gettext = visit.texts.gettext
    deed = Deed(
        service="marketplace",
        method="POST",
        path=f"{_request(visit)}/confirmation",
        body={},
        question=gettext(marked("Confirm this request?")),
        button=gettext(marked("Confirm")),
        says=lambda outcome: seats_changed(visit, outcome),
        then=_here(visit),
        notice="request-confirmed",
    )
    return await carry_out(visit, deed, order)


async def decline_request(visit: Visit) -> Response:
    """Decline a customer's request for seats, for a reason that it is told."""
    gettext, reason = visit.texts.gettext, {"reason": given(visit, "reason")}
    if not visit.form.require(visit.texts, "reason"):
        return await again(visit, order)
    deed = Deed(
        service="marketplace",
        method="POST",
        path=f"{_request(visit)}/decline",
        body={"reason": visit.form["reason"].strip()},
        question=gettext(marked("Decline this request?")),
        button=gettext(marked("Decline")),
        says=lambda _: [gettext(marked("The customer sees your reason: %(reason)s")) % reason],
        then=_here(visit),
        notice="request-declined",
    )
    return await carry_out(visit, deed, order)


def _request(visit: Visit) -> str:
    at = "/subscriptions/{subscription_id}/seats-requests/{request}"
    return path(at, subscription_id=visit.id("subscription_id"), request=visit.form["request"])


# ── What a dry run's events say ────────────────────────────────────────────────────────────────────────


def _day(visit: Visit, written: JsonValue) -> str:
    return visit.texts.day(date.fromisoformat(str(written)))


def _instalment(written: JsonValue) -> Instalment:
    return Instalment.model_validate(written)


def _price(visit: Visit, written: JsonValue) -> str:
    amount = _instalment(written).amount
    return visit.texts.money(amount.amount, amount.currency)


def _due(visit: Visit, written: JsonValue) -> str:
    return visit.texts.day(_instalment(written).due)
