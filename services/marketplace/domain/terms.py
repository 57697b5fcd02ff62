"""A term's dates and its money: months, anniversaries, instalments.

One rule carries a day over to a shorter month everywhere: the month's last day. So a term from 29 February ends on
27 February and the next starts on the 28th; where a leap year comes round, it is the 29th again.
"""

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from services.marketplace.domain.calendar import end_of
from shared.events import CancelBy, Instalment, Money, Plan, SubscriptionConfirmed, SubscriptionRenewed
from shared.events.marketplace import Billing

INSTALMENTS = 12


def months_after(day: date, months: int) -> date:
    """The same day so many months later, or that month's last day where it is shorter."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def term_ends(starts: date, term: int = 1) -> date:
    """The last day of the `term`-th year (from 1) of what started on `starts`: the terms follow without a gap."""
    return months_after(starts, 12 * term) - timedelta(days=1)


def instalments(total: Money, starts: date, billing: Billing) -> tuple[Instalment, ...]:
    """What is due when: all of it at the start, or a twelfth a month. The odd minor units go to the first ones, so that
    the sum is the total exactly."""
    if billing == "upfront":
        return (Instalment(number=1, due=starts, amount=total),)
    share, odd = divmod(total.amount, INSTALMENTS)
    return tuple(
        Instalment(
            number=n,
            due=months_after(starts, n - 1),
            amount=Money(amount=share + (1 if n <= odd else 0), currency=total.currency),
        )
        for n in range(1, INSTALMENTS + 1)
    )


def still_owed(parts: Iterable[Instalment], currency: str, now: datetime) -> Money:
    """Return what is due after today (in UTC)."""
    today = now.astimezone(UTC).date()
    return Money(amount=sum(part.amount.amount for part in parts if part.due > today), currency=currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term of a confirmed subscription."""

    number: int
    starts: date
    ends: date
    cancel_by: CancelBy
    plan: Plan
    """With the price that this term has."""
    seats: int
    instalments: tuple[Instalment, ...]
    next_seats: int
    """How many seats the next term begins with."""
    reminded: frozenset[int] = frozenset()

    @property
    def over_at(self) -> datetime:
        """The first UTC instant after the term, in the time zone that its deadline was counted in."""
        return end_of(self.ends, self.cancel_by.time_zone)

    @property
    def next_starts(self) -> date:
        """The next term's first day."""
        return self.ends + timedelta(days=1)

    def next_plan(self, price: Money | None) -> Plan:
        """Return the plan that the next term is for.

        Args:
            price: The catalogue's for a seat on that term's first day; None where the plan was withdrawn. A price in
                another currency counts as none: the plan keeps the price that it has.
        """
        if price is None or price.currency != self.plan.price.currency:
            return self.plan
        return self.plan.model_copy(update={"price": price})


def term_of(event: SubscriptionConfirmed | SubscriptionRenewed) -> Term:
    """Return the term that the event begins."""
    return Term(
        number=event.term if isinstance(event, SubscriptionRenewed) else 1,
        starts=event.starts,
        ends=event.ends,
        cancel_by=event.cancel_by,
        plan=event.plan,
        seats=event.seats,
        instalments=event.instalments,
        next_seats=event.seats,
    )
