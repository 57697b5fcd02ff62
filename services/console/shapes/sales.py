"""The answers of marketplace's routes to partners, as far as the pages read them."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel


class Money(BaseModel):
    """An amount of the currency's minor units."""

    amount: int
    currency: str


class ServicePlan(BaseModel):
    """A plan, with its price for a seat."""

    product_id: str
    publisher: str
    product: str
    product_name: str
    period: str
    support: str
    billing: str
    category: str
    price: Money
    orderable: bool


class PriceFrom(BaseModel):
    """A price of a seat, from a day on."""

    price: Money
    valid_from: date | None


class PricedPlan(ServicePlan):
    """A plan with its prices. Of marketplace's `GET /catalogue/{product_id}`."""

    prices: list[PriceFrom]


class Plans(BaseModel):
    """A page of the catalogue. Of marketplace's `GET /catalogue`."""

    items: list[ServicePlan]
    next: str | None


class WizardChoice(BaseModel):
    """One choice of a step."""

    value: str
    label: str


class WizardSteps(BaseModel):
    """What can still be chosen. Of marketplace's `GET /wizard`."""

    plans: int
    plan: ServicePlan | None
    next: str | None
    choices: dict[str, list[WizardChoice]]
    remaining: list[str]


class OwnCsn(BaseModel):
    """A CSN that a publisher has issued or revoked."""

    publisher: str
    csn: str
    valid: bool
    reason: str


class Standing(BaseModel):
    """What publishers open to the organisation. Of marketplace's `GET /standing`."""

    csns: list[OwnCsn]


class Term(BaseModel):
    """A term of twelve months."""

    number: int
    starts: date
    ends: date


class Deadline(BaseModel):
    """The last day on which auto-renew can be turned off."""

    last_day: date
    time_zone: str


class Instalment(BaseModel):
    """A part of a term's price, and the day on which it is due."""

    number: int
    due: date
    amount: Money


class Charge(Instalment):
    """An instalment of a subscription, and how its day lies to the customer's today."""

    falls: Literal["past", "today", "ahead"]


class LineRefusal(BaseModel):
    """Why the checkout would refuse a cart or one of its lines."""

    line: int | None
    rule: str
    reason: str
    remedy: str


class LineOfCart(BaseModel):
    """A line of a cart, as it would be ordered."""

    line: int
    plan: ServicePlan
    seats: int
    price_a_seat: Money
    total: Money
    term: Term
    instalments: list[Instalment]
    cancel_by: Deadline | None
    csn: str | None
    subscription_id: str | None
    opens_contract: bool | None


class Cart(BaseModel):
    """A cart as its checkout decides it. Of marketplace's `GET /carts/{cart_id}`."""

    cart_id: str
    status: str
    lines: list[LineOfCart]
    total: Money | None
    refusals: list[LineRefusal]
    customer: str | None
    purchaser: str | None
    starts: date
    time_zone: str


class CartInList(BaseModel):
    """A cart and what is in it."""

    cart_id: str
    opened_by: str
    opened_at: datetime
    changed_at: datetime
    seats: int
    products: list[str]
    total: Money | None


class Carts(BaseModel):
    """A page of the partner's carts. Of marketplace's `GET /carts`."""

    items: list[CartInList]
    next: str | None


class Abandoned(BaseModel):
    """Why a partner has given an order up."""

    reason: str = ""


class RefusedSeat(BaseModel):
    """A seat that keeps auto-renew from being turned off, and its user."""

    seat: int
    account_id: str


class AutoRenewRefusal(BaseModel):
    """The seat pool's refusal to turn auto-renew off."""

    reason: str
    held: list[RefusedSeat]


class AutoRenew(BaseModel):
    """Whether a subscription renews by itself."""

    state: str
    cancel_by: Deadline
    in_time: bool
    ends: date | None
    refused: AutoRenewRefusal | None


class Subscription(BaseModel):
    """An order, and what it became. Of marketplace's `GET /subscriptions/{subscription_id}`."""

    subscription_id: str
    status: str
    failure_reason: str | None
    abandoned: Abandoned | None
    publisher_reference: str | None
    contract_id: str
    partner: str
    customer: str
    customer_name: str
    purchaser: str
    plan: ServicePlan
    seats: int
    seats_next_term: int | None
    total: Money
    csn: str | None
    starts: date
    time_zone: str
    term: Term | None
    auto_renew: AutoRenew | None
    instalments: list[Charge]
    still_owed: Money


class EndPreview(BaseModel):
    """What turning auto-renew off would do.

    Of marketplace's `GET /subscriptions/{subscription_id}/cancel-preview`.
    """

    in_time: bool
    last_permitted_day: date
    would_end: date | None
    still_owed: Money
    seats_to_unassign: list[RefusedSeat]


class SupportAnswer(BaseModel):
    """Who supports whom. Of marketplace's `GET /subscriptions/{subscription_id}/support`."""

    customer: str


class Subscriptions(BaseModel):
    """A page of orders. Of marketplace's `GET /orders` and `GET /subscriptions`."""

    items: list[Subscription]
    next: str | None


class Happening(BaseModel):
    """An entry of a history."""

    at: datetime
    actor: str
    type: str
    event_id: str


class SubscriptionHistory(BaseModel):
    """What happened to a subscription.

    Of marketplace's `GET /subscriptions/{subscription_id}/history`.
    """

    items: list[Happening]
    next: str | None


class RenewalMonth(BaseModel):
    """The terms of one currency that end in a month."""

    month: date
    renewing: int
    ending: int
    seats: int
    amount: Money


class Renewals(BaseModel):
    """The terms that end, by month. Of marketplace's `GET /renewals`."""

    ends_from: date
    ends_before: date
    months: list[RenewalMonth]


class Customer(BaseModel):
    """A customer of a partner."""

    customer: str
    name: str
    status: str
    since: datetime | None
    released_at: datetime | None
    csn_publishers: list[str]
    subscriptions: int
    open_orders: int
    seats_requests: int
    next_ends: date | None


class Customers(BaseModel):
    """A page of a partner's customers. Of marketplace's `GET /customers`."""

    items: list[Customer]
    next: str | None


class SeatsRequest(BaseModel):
    """A customer's request for more seats."""

    request: str
    subscription_id: str
    customer: str
    customer_name: str
    product_name: str
    seats: int
    seats_now: int
    requested_by: str
    requested_at: datetime
    status: str
    reason: str


class SeatsRequests(BaseModel):
    """A page of requests for seats. Of marketplace's `GET /seats-requests`."""

    items: list[SeatsRequest]
    next: str | None


class DueInstalment(BaseModel):
    """An instalment of one of the customer's subscriptions."""

    subscription_id: str
    product_name: str
    number: int
    due: date
    falls: Literal["past", "today", "ahead"]
    amount: Money


class DueInstalments(BaseModel):
    """The instalments that fall due in some days. Of marketplace's `GET /instalments`."""

    due_from: date
    due_before: date
    items: list[DueInstalment]
    next: str | None
