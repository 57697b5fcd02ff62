"""The page that moves a sandbox's clock, after it has shown what falls due until then."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from starlette.responses import Response

from services.console.deeds import Deed, Outcome, again, carry_out
from services.console.doors import Refused, Unreachable, part_of_page
from services.console.shapes.due import Due, DueInstalments, EndingTerms
from services.console.texts import Texts, marked
from services.console.visits import Visit

STEPS: Final = (1, 7, 30, 365)
"""The numbers of days that a button moves the clock by."""
SHOWN: Final = 12
"""How many things that fall due are listed before the clock is moved."""
ROWS: Final = "100"
_FORM: Final = "%Y-%m-%dT%H:%M"
"""The form of a date and time in a form's field, in the person's zone."""
NOT_A_TIME: Final = marked("Enter a date and a time.")


async def clock(visit: Visit) -> Response:
    """Show the organisation's clock, and ask how far to move it."""
    now = visit.clock.now if visit.clock else datetime.now(UTC)
    visit.form.values.setdefault("to", _written(visit.texts, now + timedelta(days=1)))
    return visit.page("clock/clock.html", now=now, steps=STEPS)


async def move(visit: Visit) -> Response:
    """Ask for confirmation with what falls due until then, and move the clock."""
    texts, form = visit.texts, visit.form
    now = visit.clock.now if visit.clock else datetime.now(UTC)
    step = form.values.pop("by", "")
    if step in map(str, STEPS):
        form.values["to"] = _written(texts, now + timedelta(days=int(step)))
    to = _read(texts, form["to"])
    if to is None:
        form.errors["to"] = texts.gettext(NOT_A_TIME)
        return await again(visit, clock)
    deed = Deed(
        service="identity",
        method="POST",
        path="/clock",
        body={"to": to.isoformat()},
        question=texts.gettext("Move the clock to %(time)s?") % {"time": texts.time(to)},
        button=texts.gettext("Move the clock"),
        says=partial(_sentences, texts, await _due(visit, now, to)),
        idle=texts.gettext("The clock shows this time already."),
        grave=True,
        then="/clock",
        notice="clock-moved",
    )
    return await carry_out(visit, deed, clock)


def _sentences(texts: Texts, due: Sequence[str], _: Outcome) -> Sequence[str]:
    """Return what the move does, and what falls due until then."""
    moves = texts.gettext(
        "All services follow it, for everybody in the organisation. What is due by then happens at once."
    )
    return [moves, *due]


async def _due(visit: Visit, now: datetime, to: datetime) -> list[str]:
    """Return what falls due for the organisation until then, in sentences, the earliest first."""
    texts, account = visit.texts, visit.account
    if account is None or account.organisation_kind != "customer":
        return []  # the orders of a partner go by their customers' clocks
    day, end = _day(texts, now), _day(texts, to) + timedelta(days=1)
    try:
        async with part_of_page():
            ask = partial(visit.see, "marketplace", limit=ROWS)
            terms = await ask("/subscriptions", EndingTerms, status="confirmed", sort="ends")
            days = {"due_from": day.isoformat(), "due_before": end.isoformat()}
            instalments = await ask("/instalments", DueInstalments, **days)
    except (Refused, Unreachable):
        return [texts.gettext("What falls due until then can't be shown at present.")]
    found = [*instalments.due(), *terms.due()]
    within = sorted(each for each in found if day < each.day < end)
    sentences = [_sentence(texts, each) for each in within[:SHOWN]]
    if (left := len(within) - SHOWN) > 0:
        more = texts.ngettext("%(num)d more falls due until then.", "%(num)d more fall due until then.", left)
        sentences.append(more % {"num": left})
    if terms.next or instalments.next or any(each.kind == "renews" for each in within):
        sentences.append(texts.gettext("What follows from renewals, and what exceeds the first 100, is left out."))
    return sentences or [texts.gettext("Nothing of your subscriptions falls due until then.")]


_SENTENCES: Final = {
    "instalment": marked("%(day)s: an instalment of %(amount)s for %(product)s is due."),
    "cancel-by": marked("%(day)s: the last day to turn off auto-renew of %(product)s."),
    "renews": marked("%(day)s: the term of %(product)s ends, and it renews."),
    "ends": marked("%(day)s: %(product)s ends."),
}


def _sentence(texts: Texts, due: Due) -> str:
    amount = texts.money(due.amount, due.currency) if due.currency else ""
    return texts.gettext(_SENTENCES[due.kind]) % {"day": texts.day(due.day), "amount": amount, "product": due.product}


def _day(texts: Texts, moment: datetime) -> date:
    return moment.astimezone(texts.zone or ZoneInfo("UTC")).date()


def _written(texts: Texts, moment: datetime) -> str:
    """Return a point in time as the field has it, in the person's zone."""
    return moment.astimezone(texts.zone or ZoneInfo("UTC")).strftime(_FORM)


def _read(texts: Texts, written: str) -> datetime | None:
    """Return the point in time of a field in the person's zone, or None if it has none."""
    try:
        local = datetime.strptime(written.strip()[:16], _FORM).replace(tzinfo=texts.zone or ZoneInfo("UTC"))
        return local.astimezone(UTC) if local.year < date.max.year else None  # there are days after it
    except (ValueError, OverflowError):
        return None
