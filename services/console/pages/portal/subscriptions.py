"""Subscriptions: the list, one with its term and instalments, more seats, a refund."""

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from services.console.deeds import Deed, LinesDeed, again, carry_out, carry_out_lines, do_now
from services.console.doors import Refused, path
from services.console.forms import whole_number
from services.console.names import names_of
from services.console.pages.portal import histories
from services.console.shapes.marketplace import (
    CancelPreview,
    InstalmentsDue,
    Partners,
    SeatsRequests,
    Subscription,
    Subscriptions,
)
from services.console.texts import marked
from services.console.visits import Visit

FILTERS: Final = ("status", "auto_renew", "contract_id")
NOT_A_NUMBER: Final = marked("Enter a whole number.")
NOTHING_CHOSEN: Final = marked("Choose at least one subscription.")

# ── The list ───────────────────────────────────────────────────────────────────────────────────────────


async def subscriptions(visit: Visit) -> Response:
    """List the organisation's subscriptions."""
    if visit.wants_csv:
        return await visit.export("marketplace", "/subscriptions", "subscriptions", *FILTERS)
    found = await visit.see_list("marketplace", "/subscriptions", Subscriptions, *FILTERS)
    return visit.page("portal/subscriptions.html", found=found)


async def turn_several_off(visit: Visit) -> Response:
    """Turn auto-renew off for the subscriptions that were chosen in the list."""
    texts, chosen = visit.texts, visit.form["chosen[]"].split()
    if not chosen:
        visit.form.faults.append(texts.gettext(NOTHING_CHOSEN))
        return await again(visit, subscriptions)
    products = await asyncio.gather(*(_product(visit, each) for each in chosen))
    deed = LinesDeed(
        service="marketplace",
        path="/subscriptions/disable-auto-renew/bulk",
        lines="\n".join(["subscription_id", *chosen]),
        shown=["", *products],
        added=1,
        question=texts.gettext("Turn auto-renew off for these subscriptions?"),
        button=texts.gettext("Turn auto-renew off"),
        then="/subscriptions",
    )
    return await carry_out_lines(visit, deed, subscriptions)


async def _product(visit: Visit, subscription_id: str) -> str:
    try:
        found = await visit.see("marketplace", path("/subscriptions/{id}", id=subscription_id), Subscription)
    except Refused:
        return subscription_id
    return found.plan.product_name


async def instalments(visit: Visit) -> Response:
    """List the instalments that fall due soon."""
    if visit.wants_csv:
        return await visit.export("marketplace", "/instalments", "instalments")
    found = await visit.see_list("marketplace", "/instalments", InstalmentsDue)
    return visit.page("portal/instalments.html", found=found)


# ── One subscription ───────────────────────────────────────────────────────────────────────────────────


async def subscription_of(visit: Visit) -> Subscription:
    """Return the subscription of the page's path."""
    return await visit.see("marketplace", path("/subscriptions/{id}", id=visit.id("subscription_id")), Subscription)


async def subscription_page(visit: Visit) -> Response:
    """Show a subscription: its term, price and instalments, and whether it renews."""
    found, partners, asked = await asyncio.gather(
        visit.see_then("marketplace", path("/subscriptions/{id}", id=visit.id("subscription_id")), Subscription),
        _partners(visit),
        visit.see("marketplace", "/seats-requests", SeatsRequests, subscription_id=visit.id("subscription_id")),
    )
    names = await names_of(visit, [each.requested_by for each in asked.items])
    return visit.page(
        "portal/subscription.html", found=found, partner=partners.get(found.partner, ""), asked=asked.items, names=names
    )


async def _partners(visit: Visit) -> Mapping[str, str]:
    """Return the names of the organisation's partners."""
    try:
        found = await visit.see("marketplace", "/partners", Partners, limit="200")
    except Refused:
        return {}
    return {each.partner: each.name for each in found.items}


async def subscription_history(visit: Visit) -> Response:
    """Show who did what to a subscription, when and why."""
    at = path("/subscriptions/{id}", id=visit.id("subscription_id"))
    partner = visit.account is not None and visit.account.organisation_kind == "partner"
    back = path("/orders/{id}", id=visit.id("subscription_id")) if partner else at
    return await histories.show(visit, "marketplace", at, visit.texts.gettext("Subscription"), back)


# ── Auto-renew ─────────────────────────────────────────────────────────────────────────────────────────


async def auto_renew_page(visit: Visit) -> Response:
    """Show what turning auto-renew off does, and what became of a request."""
    found, preview = await asyncio.gather(subscription_of(visit), _preview(visit))
    held = preview.seats_to_unassign if preview else []
    refused = found.auto_renew.refused.held if found.auto_renew and found.auto_renew.refused else []
    names = await names_of(visit, [each.account_id for each in (*held, *refused)])
    return visit.page(
        "portal/auto-renew.html", found=found, preview=preview, names=names, refused=refused, auto=found.auto_renew
    )


async def _preview(visit: Visit) -> CancelPreview | None:
    """Return the cancel preview; None for a subscription that has none."""
    at = path("/subscriptions/{id}/cancel-preview", id=visit.id("subscription_id"))
    try:
        return await visit.see("marketplace", at, CancelPreview)
    except Refused:
        return None


async def turn_off(visit: Visit) -> Response:
    """Turn auto-renew off, once the person has confirmed what that does."""
    texts, subscription_id = visit.texts, visit.id("subscription_id")
    preview = await _preview(visit)
    said: list[str] = []
    if preview is not None:
        if preview.would_end:
            said.append(texts.gettext("The subscription ends on %(day)s.") % {"day": texts.day(preview.would_end)})
        owed = texts.money(preview.still_owed.amount, preview.still_owed.currency)
        said.append(texts.gettext("After today, %(money)s falls due until then, as without this.") % {"money": owed})
        if count := len(preview.seats_to_unassign):
            said.append(
                texts.ngettext(
                    "%(num)d seat is assigned. It has to be taken away first, or this is refused.",
                    "%(num)d seats are assigned. They have to be taken away first, or this is refused.",
                    count,
                )
                % {"num": count}
            )
    deed = Deed(
        service="marketplace",
        method="POST",
        path=path("/subscriptions/{id}/disable-auto-renew", id=subscription_id),
        question=texts.gettext("Turn auto-renew off?"),
        button=texts.gettext("Turn auto-renew off"),
        says=lambda _: said,
        grave=True,
        then=path("/subscriptions/{id}/auto-renew", id=subscription_id),
        notice="auto-renew-asked",
    )
    return await carry_out(visit, deed, auto_renew_page)


# ── More seats, and a refund ───────────────────────────────────────────────────────────────────────────


async def more_seats_page(visit: Visit) -> Response:
    """Show the form that asks the partner for more seats."""
    found = await subscription_of(visit)
    visit.form.values = {"seats": ""} | visit.form.values
    return visit.page("portal/more-seats.html", found=found)


async def ask_seats(visit: Visit) -> Response:
    """Ask the partner for more seats."""
    texts, seats = visit.texts, whole_number(visit.form["seats"])
    if seats is None:
        visit.form.errors["seats"] = texts.gettext(NOT_A_NUMBER)
        return await again(visit, more_seats_page)
    subscription_id = visit.id("subscription_id")
    deed = Deed(
        service="marketplace",
        method="POST",
        path=path("/subscriptions/{id}/seats-requests", id=subscription_id),
        body={"seats": seats},
        question=texts.gettext("Ask your partner for these seats?"),
        button=texts.gettext("Ask for the seats"),
        says=lambda _: [
            texts.gettext(
                "There shall be %(seats)s seats in all. Once your partner confirms, each costs the rest of the term."
            )
            % {"seats": seats}
        ],
        then=path("/subscriptions/{id}", id=subscription_id),
        notice="seats-asked",
    )
    return await carry_out(visit, deed, more_seats_page)


async def refund_page(visit: Visit) -> Response:
    """Show the rule about refunds, and the form that puts a request on record."""
    found = await subscription_of(visit)
    visit.form.values = {"reason": ""} | visit.form.values
    return visit.page("portal/refund.html", found=found)


async def ask_refund(visit: Visit) -> Response:
    """Ask for a refund; the answer is the rule, with its record."""
    if not visit.form.require(visit.texts, "reason"):
        return await again(visit, refund_page)
    at = path("/subscriptions/{id}", id=visit.id("subscription_id"))
    deed = Deed(
        service="marketplace",
        method="POST",
        path=f"{at}/refund",
        body={"reason": visit.form["reason"].strip()},
        question=visit.texts.gettext("Put the request on record?"),
        button=visit.texts.gettext("Put the request on record"),
        then=at,
        notice="saved",
    )
    return await do_now(visit, deed, refund_page)
