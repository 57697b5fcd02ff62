"""What the publisher or the distributor may set: the rules' figures and words, as data, with the usual ones given."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shared.events.fields import Days, Months, Seats


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """One publisher's particulars, handed to the deciders; nothing asks which publisher it is."""

    csn_pattern: str = r"[!-~]{1,64}"
    """What a customer-specific number looks like, whole. It says nothing else."""
    commitment_months: Months = 12
    seats_at_most: Seats = 999
    """For one subscription."""
    start_days_ahead: Days = 31
    cancel_business_days: Days = 5
    """Auto-renew can be turned off until so many business days before the term's last day, that day included."""
    late_disable_auto_renew: Literal["carry_over", "refuse"] = "carry_over"
    """What a request after the deadline does: bind the next term, or nothing."""
    ask_again_after: timedelta = timedelta(minutes=10)
    """How long the seat pool is waited for, before it is asked once more."""
    order_again_after: timedelta = timedelta(hours=1)
    """How long the publisher is waited for, before an order that it left open is sent once more."""
    reminder_days: tuple[Days, ...] = (90, 60, 30)
    """So many days before the term's last day its renewal is announced, with the date to turn it off by."""
    distributor: str = "the distributor"

    def __post_init__(self) -> None:
        """Raise ValueError where `csn_pattern` is no regular expression."""
        try:
            re.compile(self.csn_pattern)
        except re.error as wrong:
            raise ValueError(f"csn_pattern: {wrong}") from None


DEFAULT = Policy()
