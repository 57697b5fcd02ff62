"""Marketplace's policy: the figures that a publisher or distributor may set, with defaults."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from shared.events.fields import Days, Months, Seats


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The particulars of one publisher that deciders are given.

    No code depends on which publisher it is.
    """

    csn_pattern: str = r"[!-~]{1,64}"
    """The regular expression that a whole CSN matches."""
    commitment_months: Months = 12
    seats_at_most: Seats = 999
    """The largest number of seats of a subscription."""
    start_days_ahead: Days = 31
    """The largest number of days from today to a term's start."""
    cancel_business_days: Days = 5
    """The number of business days from the last day to turn auto-renew off to the term's last day.

    Auto-renew can be turned off on that day.
    """
    late_disable_auto_renew: Literal["carry_over", "refuse"] = "carry_over"
    """Whether a request after the deadline binds the next term or is refused."""
    ask_again_after: timedelta = timedelta(minutes=10)
    """How long to wait for the seat pool's answer before it is asked again."""
    order_again_after: timedelta = timedelta(hours=1)
    """How long to wait for the publisher's answer before an order is sent again."""
    reminder_days: tuple[Days, ...] = (90, 60, 30)
    """The numbers of days before the term's last day on which its renewal is announced."""
    distributor: str = "the distributor"

    def __post_init__(self) -> None:
        """Raise ValueError where `csn_pattern` is no regular expression."""
        try:
            re.compile(self.csn_pattern)
        except re.error as wrong:
            raise ValueError(f"csn_pattern: {wrong}") from None


DEFAULT = Policy()


@dataclass(frozen=True, slots=True)
class PublisherPolicies:
    """The policies of several publishers, for a command about the plans of more than one."""

    own: Mapping[str, Policy] = field(default_factory=dict)

    def of(self, publisher: str) -> Policy:
        """Return the publisher's policy."""
        return self.own.get(publisher, DEFAULT)


EVERY_DEFAULT = PublisherPolicies()
