"""What waits for a customer's people: what renews or ends, what is due, what runs short."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from services.console.areas import Attention
from services.console.doors import path
from services.console.shapes.entitlements import MySeats, Pools
from services.console.shapes.marketplace import (
    InstalmentDue,
    InstalmentsDue,
    Partners,
    SeatsRequests,
    Subscription,
    Subscriptions,
)
from services.console.visits import Visit

AHEAD: Final = timedelta(days=90)
"""How long before its term's end a subscription is pointed out."""
CLOSE: Final = timedelta(days=14)
"""How long before the last day to cancel by that is urgent."""
SHOWN: Final = 5
"""The number of subscriptions that are pointed out one by one."""


def today(visit: Visit) -> date:
    """Return the day of the organisation's clock."""
    return (visit.clock.now if visit.clock else datetime.now(UTC)).date()


async def terms_ending(visit: Visit) -> list[Attention]:
    """Say which subscriptions renew or end soon, and until when that can be changed."""
    asked = {"status": "confirmed", "sort": "ends", "limit": str(SHOWN)}
    found = await visit.see("marketplace", "/subscriptions", Subscriptions, **asked)
    until = today(visit) + AHEAD
    return [_term(visit, each) for each in found.items if each.term is not None and each.term.ends <= until]


def _term(visit: Visit, found: Subscription) -> Attention:
    texts, at = visit.texts, path("/subscriptions/{id}", id=found.subscription_id)
    values = {"product": found.plan.product_name, "day": texts.day(found.term.ends if found.term else found.starts)}
    renew = found.auto_renew
    if renew is None or renew.state == "off":
        return Attention(text=texts.gettext("%(product)s ends on %(day)s.") % values, path=at)
    if not renew.in_time:
        return Attention(text=texts.gettext("%(product)s renews after %(day)s.") % values, path=at)
    last = renew.cancel_by.last_day
    sentence = texts.gettext("%(product)s renews after %(day)s. Auto-renew can be turned off until %(last)s.")
    return Attention(
        text=sentence % {**values, "last": texts.day(last)},
        path=f"{at}/auto-renew",
        urgent=last - today(visit) <= CLOSE,
    )


async def own_seats(visit: Visit) -> Sequence[Attention]:
    """Say which of the person's own seats can't be used much longer, as the last term is over."""
    found = await visit.see("entitlements", "/me/seats", MySeats, phase="expired", limit=str(SHOWN))
    sentence = visit.texts.gettext("Your seat of %(product)s can be used until %(day)s.")
    return [
        Attention(
            text=sentence % {"product": each.product_name, "day": visit.texts.day(each.until or each.ends)}, path="/own"
        )
        for each in found.items
    ]


async def first_partner(visit: Visit) -> Sequence[Attention]:
    """Say what to do first while the organisation has engaged no partner."""
    found = await visit.see("marketplace", "/partners", Partners, limit="1")
    text = visit.texts.gettext("You have engaged no partner yet. A partner orders for you: engage one first.")
    return () if found.items else [Attention(text=text, path="/partners")]


async def instalments_due(visit: Visit) -> list[Attention]:
    """Say what is due today, and what falls due in the next month."""
    found = await visit.see("marketplace", "/instalments", InstalmentsDue, limit="200")
    now = [each for each in found.items if each.falls == "today"]
    soon = [each for each in found.items if each.falls == "ahead"]
    texts, said = visit.texts, []
    if count := len(now):
        text = texts.ngettext(
            "%(num)d instalment is due today: %(money)s.", "%(num)d instalments are due today: %(money)s.", count
        )
        said.append(_instalments(visit, text, now))
    if count := len(soon):
        text = texts.ngettext(
            "%(num)d instalment falls due in the next 31 days: %(money)s.",
            "%(num)d instalments fall due in the next 31 days: %(money)s.",
            count,
        )
        said.append(_instalments(visit, text, soon))
    return said


def _instalments(visit: Visit, text: str, due: Sequence[InstalmentDue]) -> Attention:
    """Return what is said of instalments, with their sums and the page that shows them."""
    sums: dict[str, int] = {}
    for each in due:
        sums[each.amount.currency] = sums.get(each.amount.currency, 0) + each.amount.amount
    money = ", ".join(visit.texts.money(amount, currency) for currency, amount in sorted(sums.items()))
    alone = f"{path('/subscriptions/{id}', id=due[0].subscription_id)}#instalments"
    at = alone if len(due) == 1 else "/instalments"
    return Attention(text=text % {"num": len(due), "money": money}, path=at)


async def pools_full(visit: Visit) -> list[Attention]:
    """Say how many pools have no free seat."""
    found = await visit.see("entitlements", "/pools", Pools, phase="active", free="false", limit="200")
    count, texts = len(found.items), visit.texts
    if not count:
        return []
    if count == 1:
        pool = found.items[0]
        text = texts.gettext("%(product)s has no free seat.") % {"product": pool.product_name}
        return [Attention(text=text, path=path("/seats/{id}", id=pool.subscription_id))]
    text = texts.ngettext("%(num)d product has no free seat.", "%(num)d products have no free seat.", count)
    return [Attention(text=text % {"num": count}, path="/seats?phase=active&free=false")]


async def seats_asked_for(visit: Visit) -> list[Attention]:
    """Say which requests for seats the partner has not answered."""
    found = await visit.see("marketplace", "/seats-requests", SeatsRequests, status="open", limit=str(SHOWN))
    sentence = visit.texts.gettext("Your request for %(seats)s seats of %(product)s waits for %(partner)s.")
    return [
        Attention(
            text=sentence
            % {"partner": each.partner_name, "product": each.product_name, "seats": visit.texts.number(each.seats)},
            path=path("/subscriptions/{id}", id=each.subscription_id),
        )
        for each in found.items
    ]
