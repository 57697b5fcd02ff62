"""The answers of marketplace's routes, as far as the pages read them."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel


class Money(BaseModel):
    """An amount in minor units, as every answer has it."""

    amount: int
    currency: str


class SubscriptionPlan(BaseModel):
    """What was bought."""

    product_id: str
    publisher: str
    product_name: str
    period: str
    support: str
    billing: str


class Term(BaseModel):
    """A term of a subscription."""

    number: int
    starts: date
    ends: date


class LastDay(BaseModel):
    """The last day on which auto-renew can be turned off."""

    last_day: date
    deadline: datetime
    time_zone: str


class HeldSeat(BaseModel):
    """An assigned seat and its user."""

    seat: int
    account_id: str


class DisableRefused(BaseModel):
    """Why auto-renew stays on."""

    reason: str
    held: list[HeldSeat]


class AutoRenew(BaseModel):
    """Whether a subscription renews by itself."""

    state: str
    cancel_by: LastDay
    in_time: bool
    ends: date | None
    refused: DisableRefused | None


class InstalmentOwed(BaseModel):
    """A part of the price, its day, and how that lies to the customer's today."""

    number: int
    due: date
    amount: Money
    falls: Literal["past", "today", "ahead"]


class Subscription(BaseModel):
    """A subscription. Of marketplace's `GET /subscriptions/{subscription_id}`."""

    subscription_id: str
    status: str
    failure_reason: str | None
    contract_id: str
    partner: str
    plan: SubscriptionPlan
    seats: int
    seats_next_term: int | None
    total: Money
    csn: str | None
    starts: date
    time_zone: str
    term: Term | None
    auto_renew: AutoRenew | None
    instalments: list[InstalmentOwed]
    still_owed: Money

    @property
    def can_turn_off(self) -> bool:
        """Whether auto-renew is on, so that turning it off can be asked for."""
        return self.status == "confirmed" and self.auto_renew is not None and self.auto_renew.state == "on"


class Subscriptions(BaseModel):
    """A page of subscriptions. Of marketplace's `GET /subscriptions`."""

    items: list[Subscription]
    next: str | None = None


class CancelPreview(BaseModel):
    """What turning auto-renew off would do.

    Of marketplace's `GET /subscriptions/{subscription_id}/cancel-preview`.
    """

    possible_now: bool
    in_time: bool
    last_permitted_day: date
    time_zone: str
    would_end: date | None
    still_owed: Money
    next_term: Money | None
    seats_to_unassign: list[HeldSeat]


class SeatsRequest(BaseModel):
    """A request for more seats."""

    subscription_id: str
    partner_name: str
    product_name: str
    seats: int
    seats_now: int
    requested_by: str
    requested_at: datetime
    status: str
    reason: str


class SeatsRequests(BaseModel):
    """The requests for seats. Of marketplace's `GET /seats-requests`."""

    items: list[SeatsRequest]
    next: str | None = None


class Partner(BaseModel):
    """A partner of the organisation."""

    partner: str
    name: str
    status: str
    since: datetime | None
    released_at: datetime | None
    subscriptions: int


class Partners(BaseModel):
    """The partners of the organisation. Of marketplace's `GET /partners`."""

    items: list[Partner]
    next: str | None = None


class InstalmentDue(BaseModel):
    """An instalment that falls due."""

    subscription_id: str
    product_name: str
    number: int
    due: date
    falls: Literal["past", "today", "ahead"]
    amount: Money


class InstalmentsDue(BaseModel):
    """The instalments that fall due soon. Of marketplace's `GET /instalments`."""

    items: list[InstalmentDue]
    next: str | None = None
