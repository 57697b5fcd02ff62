"""A term's dates and its money: months, anniversaries, instalments.

One rule carries a day over to a shorter month everywhere: the month's last day. So a term from 29 February ends on
27 February and the next starts on the 28th; where a leap year comes round, it is the 29th again.
"""

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from shared.events import Instalment, Money
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


def still_owed(parts: Sequence[Instalment], now: datetime) -> Money:
    """The instalments due after today (in UTC). Raises ValueError where there are none at all."""
    today = now.astimezone(UTC).date()
    owed = sum(part.amount.amount for part in parts if part.due > today)
    if not parts:
        raise ValueError("a term has instalments")
    return Money(amount=owed, currency=parts[0].amount.currency)
