"""Renewals ahead: what ends in each month, and auto-renew off for several at once."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from starlette.responses import Response

from services.console.deeds import LinesDeed, again, carry_out_lines
from services.console.doors import path
from services.console.pages.market.showing import if_shown, render
from services.console.shapes.sales import Renewals, Subscription, Subscriptions
from services.console.texts import marked
from services.console.visits import Visit

HEADER = "subscription_id"
NONE_CHOSEN = marked("Choose at least one subscription, or a file.")
AHEAD = timedelta(days=3 * 366)
"""How far ahead is looked: further than a term, for sandboxes whose clocks are ahead."""


async def renewals(visit: Visit) -> Response:
    """List the subscriptions whose terms end, by month, with the sums of each."""
    query = visit.request.query_params
    end = datetime.now(UTC).date() + AHEAD
    ahead = await visit.see("marketplace", "/renewals", Renewals, ends_before=end.isoformat())
    until = {"ends_from": ahead.ends_from.isoformat(), "ends_before": ahead.ends_before.isoformat()}
    month = _month(query.get("month", ""))
    if month is not None:
        until = {"ends_from": max(month, ahead.ends_from).isoformat(), "ends_before": _after(month).isoformat()}
    asked = {name: value for name in ("q", "after", "auto_renew") if (value := query.get(name, "").strip())}
    asked |= {"status": "confirmed", "sort": "ends", **until}
    if visit.wants_csv:
        return await visit.export_as("marketplace", "/subscriptions", "renewals", asked)
    found = await visit.see("marketplace", "/subscriptions", Subscriptions, **asked)
    return render(
        visit, "renewals.html", months=_shown(ahead, month), groups=_by_month(found.items), month=month, next=found.next
    )


def _month(written: str) -> date | None:
    try:
        month = date.fromisoformat(f"{written}-01")
    except ValueError:
        return None
    return month if month.year < date.max.year else None  # else there may be no month after it


def _after(month: date) -> date:
    """Return the first day of the month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _shown(ahead: Renewals, month: date | None) -> Renewals:
    if month is None:
        return ahead
    return ahead.model_copy(update={"months": [each for each in ahead.months if each.month == month]})


def _by_month(items: Sequence[Subscription]) -> Mapping[date, Sequence[Subscription]]:
    ending = [each for each in items if each.term is not None]
    grouped = groupby(ending, key=lambda each: each.term.ends.replace(day=1) if each.term else date.min)
    return {month: list(each) for month, each in grouped}


async def turn_off(visit: Visit) -> Response:
    """Turn auto-renew off for the chosen subscriptions or those of a file, after a preview."""
    chosen = [each for each in visit.form["chosen[]"].splitlines() if each]
    lines, shown = visit.form["file"], list[str]()
    if chosen:
        lines = "\n".join((HEADER, *chosen)) + "\n"
        found = await asyncio.gather(
            *(if_shown(visit.see("marketplace", path("/subscriptions/{id}", id=each), Subscription)) for each in chosen)
        )
        shown = [HEADER, *(f"{each.customer_name}: {each.plan.product_name}" if each else "" for each in found)]
    if visit.form.wrong or not lines.strip():
        visit.form.faults.extend([] if visit.form.wrong else [visit.texts.gettext(NONE_CHOSEN)])
        return await again(visit, renewals)
    gettext = visit.texts.gettext
    deed = LinesDeed(
        service="marketplace",
        path="/subscriptions/disable-auto-renew/bulk",
        lines=lines,
        shown=shown,
        added=1 if chosen else 0,
        question=gettext(marked("Turn auto-renew off?")),
        button=gettext(marked("Turn it off")),
        then="/renewals",
    )
    return await carry_out_lines(visit, deed, renewals)
