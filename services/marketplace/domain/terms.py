"""A term's dates and instalments.

A day that a month does not have becomes the month's last day. So a term from 29 February ends on 27 February, and the
next one starts on the 28th; in a leap year it starts on the 29th again.
"""

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias

from shared import days
from shared.events import (
    CancelBy,
    CartCheckedOut,
    Instalment,
    Money,
    Plan,
    SeatsRequestConfirmed,
    SeatsRequestDeclined,
    SeatsRequested,
    SubscriptionConfirmed,
    SubscriptionOrdered,
    SubscriptionRenewed,
)
from shared.events.fields import time_zones
from shared.events.marketplace import Billing

INSTALMENTS = 12

Falls: TypeAlias = Literal["past", "today", "ahead"]
"""Whether a day on which something is due is over, is today, or is still to come, for the customer."""


def months_after(day: date, months: int) -> date:
    """Return the same day `months` later, or the last day of that month if it is shorter."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def term_ends(starts: date, term: int = 1) -> date:
    """Return the last day of a term, given the first term's first day.

    Terms follow without a gap.

    Args:
        starts: the first day of the first term.
        term: the term's number, from 1.
    """
    return months_after(starts, 12 * term) - timedelta(days=1)


def instalments(total: Money, starts: date, billing: Billing) -> tuple[Instalment, ...]:
    """Return the instalments of a term: the total at the start, or twelve monthly parts.

    The parts add up to the total exactly: the first ones are a minor unit larger where it does not divide by twelve.
    """
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


def zone_of(order: CartCheckedOut | SubscriptionOrdered) -> str:
    """Return the zone of the order's dates.

    An order from before zones were checked may have any text as its zone. Its dates are in UTC then, as they were.
    """
    return order.time_zone if order.time_zone in time_zones() else "UTC"


def falls(due: date, today: date) -> Falls:
    """Return how a day on which something is due lies to the customer's today."""
    return "today" if due == today else "ahead" if due > today else "past"


def still_owed(parts: Iterable[Instalment], currency: str, today: date) -> Money:
    """Return the sum of the instalments that are due after today."""
    return Money(
        amount=sum(part.amount.amount for part in parts if falls(part.due, today) == "ahead"), currency=currency
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term of a confirmed subscription."""

    number: int
    starts: date
    ends: date
    cancel_by: CancelBy
    plan: Plan
    """The plan, with the price of this term."""
    seats: int
    instalments: tuple[Instalment, ...]
    next_seats: int
    """The number of seats with which the next term begins."""
    time_zone: str
    """The zone of the term's dates."""
    reminded: frozenset[int] = frozenset()
    """The reminders of this term that were recorded, in days before its last day."""
    seats_request: SeatsRequested | SeatsRequestConfirmed | SeatsRequestDeclined | None = None
    """The latest request for more seats, or its answer. An open one outlasts the term."""

    @property
    def over_at(self) -> datetime:
        """The first UTC instant after the term's last day. The next term begins with it."""
        return days.ends(self.ends, self.time_zone)

    @property
    def next_starts(self) -> date:
        """The next term's first day."""
        return self.ends + timedelta(days=1)

    def today(self, now: datetime) -> date:
        """Return the customer's day."""
        return days.day_of(now, self.time_zone)

    def still_owed(self, now: datetime) -> Money:
        """Return the sum of the term's instalments that are due after the customer's day."""
        return still_owed(self.instalments, self.plan.price.currency, self.today(now))

    def next_plan(self, price: Money | None) -> Plan:
        """Return the plan of the next term.

        Args:
            price: the catalogue's price of a seat on that term's first day; None where the plan was withdrawn. With
                None, or a price in another currency, the plan keeps its present price.
        """
        if price is None or price.currency != self.plan.price.currency:
            return self.plan
        return self.plan.model_copy(update={"price": price})


def term_of(event: SubscriptionConfirmed | SubscriptionRenewed) -> Term:
    """Return the term that begins with `event`.

    An event from before zones were named ends its term in the zone of its deadline.
    """
    return Term(
        number=event.term if isinstance(event, SubscriptionRenewed) else 1,
        starts=event.starts,
        ends=event.ends,
        cancel_by=event.cancel_by,
        plan=event.plan,
        seats=event.seats,
        instalments=event.instalments,
        next_seats=event.seats,
        time_zone=event.time_zone or event.cancel_by.time_zone,
    )
