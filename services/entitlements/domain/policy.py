"""Entitlements' policy: the figures that a publisher or distributor may set, with defaults."""

from dataclasses import dataclass
from typing import Final

from shared.events.fields import Days, Months
from shared.events.marketplace import Period


@dataclass(frozen=True, slots=True)
class Policy:
    """The figures that deciders are given.

    Events hold what was computed from them, so a replay needs no policy.
    """

    expired_days: Days = 15
    """The days after the term's last day in which seats can still be used."""
    suspended_days: Days = 30
    """The days after those in which seats are kept for their users and can't be used."""
    suspended_days_monthly: Days = 15
    """The same for plans of a monthly period."""
    credit_months: Months = 12
    """The months in which granted credits can be spent."""

    def suspended_for(self, period: Period) -> int:
        """Return the days of suspension of a subscription of this period."""
        return self.suspended_days_monthly if period == "monthly" else self.suspended_days


DEFAULT: Final = Policy()
