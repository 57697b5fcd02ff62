"""What the publisher or the distributor may set: the rules' figures, as data, with the usual ones given."""

from dataclasses import dataclass
from typing import Final

from shared.events.fields import Days, Months
from shared.events.marketplace import Period


@dataclass(frozen=True, slots=True)
class Policy:
    """The figures, handed to the deciders. What follows from them stands in the events: a replay needs no policy."""

    expired_days: Days = 15
    """After the term's last day: seats can be used all the same."""
    suspended_days: Days = 30
    """After those: seats can't be used, who holds them is kept."""
    suspended_days_monthly: Days = 15
    """The same, for plans of a monthly period."""
    credit_months: Months = 12
    """How long granted credits can be spent."""

    def suspended_for(self, period: Period) -> int:
        """The days of suspension of a subscription of this period."""
        return self.suspended_days_monthly if period == "monthly" else self.suspended_days


DEFAULT: Final = Policy()
