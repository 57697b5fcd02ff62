"""The events of marketplace: plans, carts, orders and subscriptions."""

from operator import attrgetter
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from shared.events.base import Event, Instant, Money, Price, Record
from shared.events.fields import (
    ActorId,
    Code,
    Day,
    Days,
    Identifier,
    Months,
    Name,
    Number,
    OptionalCountry,
    OptionalIdentifier,
    OptionalPublisher,
    OptionalTimeZone,
    ProductId,
    Publisher,
    Seats,
    Text,
    TimeZone,
    distinct,
)
from shared.events.identity import AgreementKind
from shared.events.operations import OperationPerformed

Period = Literal["monthly", "annual", "three_year"]
Support = Literal["basic", "advanced"]
Billing = Literal["upfront", "instalments"]
Category = Literal["open", "specialised"]


class Plan(Record):
    """A service plan of the catalogue. Its product ID has 15 characters, without hyphens."""

    product_id: ProductId
    publisher: Publisher
    programme: Code
    product: Code
    product_name: Name
    period: Period
    support: Support
    billing: Billing
    commitment_months: Months
    category: Category
    agreement: AgreementKind
    price: Price
    """The price of one seat for the whole commitment."""


class PlanListed(Event):
    """The publisher offers this plan from now on, in place of its earlier listing."""

    plan: Plan
    said_at: Instant | None = None
    """The time at which the publisher's system stated it. Marketplace sets it, and recognises late events by it."""
    valid_from: Day | None = None
    """The first day of an announced price, where the plan is listed because that day has come."""
    time_zone: Literal["UTC"] = "UTC"


class PlanPriceAnnounced(Event):
    """The publisher announced the plan's price from a day (in UTC) on.

    Running subscriptions have the new price from their next term on.
    """

    product_id: ProductId
    publisher: Publisher
    price: Price
    valid_from: Day
    said_at: Instant | None = None
    time_zone: Literal["UTC"] = "UTC"


class PlanWithdrawn(Event):
    """The publisher withdrew the plan. Subscriptions of it stay."""

    product_id: ProductId
    publisher: Publisher
    said_at: Instant | None = None


class CsnIssued(Event):
    """The publisher issued a CSN to the organisation, which opens specialised products to it."""

    csn: Code
    organisation_id: Identifier
    publisher: Publisher
    said_at: Instant | None = None


class CsnRevoked(Event):
    """The publisher revoked the CSN."""

    csn: Code
    organisation_id: Identifier
    publisher: Publisher
    reason: Text = ""
    said_at: Instant | None = None


class PartnerEngaged(Event):
    """The customer accepted the partner, which orders for it from now on."""

    customer: Identifier
    partner: Identifier
    engaged_by: ActorId


class PartnerReleased(Event):
    """The customer released the partner, which orders nothing more for it.

    What the partner ordered before goes on, and the partner supports it.
    """

    customer: Identifier
    partner: Identifier
    released_by: ActorId


class CartLine(Record):
    """A line of a cart: a plan and a number of seats."""

    line: Number
    plan: Plan
    seats: Seats


class CartOpened(Event):
    """A person of a partner opened a cart."""

    cart_id: Identifier
    partner: Identifier
    opened_by: ActorId


class CartLineAdded(Event):
    """A line was put into the cart, or its number of seats was changed."""

    cart_id: Identifier
    partner: Identifier
    line: CartLine


class CartLineRemoved(Event):
    """A line was removed from the cart."""

    cart_id: Identifier
    line: Number


class CartDiscarded(Event):
    """The cart was given up, with all of its lines. It does not change any more."""

    cart_id: Identifier
    partner: Identifier
    discarded_by: ActorId


class OrderLine(Record):
    """A line of a checked-out cart, which becomes a subscription of its own."""

    subscription_id: Identifier
    plan: Plan
    seats: Seats
    total: Money


class CartCheckedOut(Event):
    """The partner ordered the cart for this customer. Each line, in sequence, becomes one order."""

    cart_id: Identifier
    partner: Identifier
    ordered_by: ActorId
    customer: Identifier
    purchaser: Identifier
    starts: Day
    csn: Code | None
    lines: Annotated[tuple[OrderLine, ...], Field(min_length=1, max_length=50)]
    total: Money
    country: OptionalCountry = ""
    """Whose business days the deadline counts."""
    time_zone: TimeZone = "UTC"
    """The customer's, from the purchaser's profile: the zone of `starts` and of every date that follows from it."""


class SubscriptionOrdered(Event):
    """A plan was ordered for a customer, and the order was sent to the publisher.

    An order that the publisher has not answered is sent again, with another time. The answer may name any of these
    events; the order's own id is `subscription_id`.
    """

    subscription_id: Identifier
    cart_id: Identifier
    contract_id: Identifier
    partner: Identifier
    ordered_by: ActorId
    customer: Identifier
    purchaser: Identifier
    plan: Plan
    seats: Seats
    total: Money
    starts: Day
    csn: Code | None
    country: OptionalCountry = ""
    time_zone: TimeZone = "UTC"
    ordered_at: Instant | None = None
    """When it was sent, by the customer's clock."""


class Instalment(Record):
    """A part of a term's price, with the day on which it is due."""

    number: Number
    due: Day
    amount: Money


Instalments: TypeAlias = Annotated[
    tuple[Instalment, ...], Field(min_length=1, max_length=120), distinct(attrgetter("number"), "instalment's number")
]


class CancelBy(Record):
    """The deadline for turning auto-renew off for a term.

    It is computed once and stored with its calendar.
    """

    last_day: Day
    deadline: Instant
    """The first UTC instant after the deadline: the end of `last_day` in `time_zone`."""
    time_zone: TimeZone
    calendar: Name
    calendar_version: Name


class SubscriptionConfirmed(Event):
    """The publisher accepted the order: the term is fixed, auto-renew on, the instalments owed."""

    subscription_id: Identifier
    publisher_reference: Name
    contract_id: Identifier
    partner: Identifier
    customer: Identifier
    purchaser: Identifier
    plan: Plan
    seats: Seats
    total: Money
    starts: Day
    ends: Day
    """The term's last day."""
    instalments: Instalments
    cancel_by: CancelBy
    time_zone: OptionalTimeZone = None
    """The zone in which the term begins and ends, and the instalments are due: the order's."""


class SubscriptionOrderFailed(Event):
    """The publisher declined the order, for this reason. It may be corrected and sent again."""

    subscription_id: Identifier
    partner: Identifier
    reason: Text


class SubscriptionOrderAbandoned(Event):
    """The partner gave up an order that the publisher had declined. It is never sent again."""

    subscription_id: Identifier
    partner: Identifier
    customer: Identifier
    abandoned_by: ActorId
    reason: Text = ""


class AutoRenewDisableRequested(Event):
    """An entitled person asked to turn auto-renew off. The seat pool decides whether it may be.

    A request that the seat pool has not answered is sent again, with another time.
    """

    subscription_id: Identifier
    requested_by: ActorId
    requested_at: Instant
    term_ends: Day
    deadline: Instant
    binds: Literal["this_term", "next_term"] = "this_term"
    """Whether the subscription ends with the running term or, after the deadline, with the next one."""
    publisher: OptionalPublisher = ""
    time_zone: OptionalTimeZone = None


class HeldSeat(Record):
    """An assigned seat, its user, and the id of the event that assigned it."""

    seat: Number
    account_id: Identifier
    because: OptionalIdentifier


HeldSeats: TypeAlias = Annotated[tuple[HeldSeat, ...], Field(max_length=999), distinct(attrgetter("seat"), "seat")]


class AutoRenewDisabled(Event):
    """Auto-renew was turned off for good. The subscription, and its charges, end on this day."""

    subscription_id: Identifier
    ends: Day
    requested_by: ActorId
    time_zone: OptionalTimeZone = None


class AutoRenewDisableRefused(Event):
    """Auto-renew stays on, because these seats are assigned."""

    subscription_id: Identifier
    rule: Code
    reason: Text
    held: HeldSeats


class SeatsAdded(Event):
    """Seats were added to the running term. They are charged for the rest of it."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    added: Seats
    seats: Seats
    """The number of all seats from now on."""
    term: Number
    instalment: Instalment
    """The price of the added seats up to the term's end, numbered after the term's other instalments."""
    added_by: ActorId
    time_zone: OptionalTimeZone = None


class SeatDecreaseScheduled(Event):
    """Fewer seats were ordered from the next term on. A later change before then replaces it."""

    subscription_id: Identifier
    seats: Seats
    takes_effect: Day
    requested_by: ActorId
    time_zone: OptionalTimeZone = None


class SeatsRequested(Event):
    """The Contract Manager asked the partner for more seats.

    A later request replaces an open one.
    """

    subscription_id: Identifier
    contract_id: Identifier
    partner: Identifier
    customer: Identifier
    seats: Seats
    """The number of all seats that there shall be."""
    requested_by: ActorId


class SeatsRequestConfirmed(Event):
    """The partner added the seats that were asked for."""

    subscription_id: Identifier
    partner: Identifier
    customer: Identifier
    request: Identifier
    """The id of the SeatsRequested."""
    seats: Seats
    """The number of all seats from now on."""
    confirmed_by: ActorId


class SeatsRequestDeclined(Event):
    """The partner declined the request for seats, for this reason."""

    subscription_id: Identifier
    partner: Identifier
    customer: Identifier
    request: Identifier
    reason: Text
    declined_by: ActorId


class RenewalReminded(Event):
    """The renewal was announced: the term ends in `days_before` days or less.

    `cancel_by` says until when auto-renew can be turned off.
    """

    subscription_id: Identifier
    contract_id: Identifier
    partner: Identifier
    customer: Identifier
    term: Number
    days_before: Days
    ends: Day
    cancel_by: CancelBy
    time_zone: OptionalTimeZone = None


class SubscriptionRenewed(Event):
    """The next term began, at the price of its first day. Its instalments are owed."""

    subscription_id: Identifier
    contract_id: Identifier
    partner: Identifier
    customer: Identifier
    term: Number
    """The term's number, from 2."""
    plan: Plan
    seats: Seats
    total: Money
    starts: Day
    ends: Day
    instalments: Instalments
    cancel_by: CancelBy
    time_zone: OptionalTimeZone = None


class SubscriptionEnded(Event):
    """The subscription ended with its last term."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    ended: Day
    """The last term's last day."""
    time_zone: OptionalTimeZone = None


MarketplaceEvent: TypeAlias = (
    PlanListed
    | PlanPriceAnnounced
    | PlanWithdrawn
    | CsnIssued
    | CsnRevoked
    | PartnerEngaged
    | PartnerReleased
    | CartOpened
    | CartLineAdded
    | CartLineRemoved
    | CartCheckedOut
    | CartDiscarded
    | SubscriptionOrdered
    | SubscriptionConfirmed
    | SubscriptionOrderFailed
    | SubscriptionOrderAbandoned
    | AutoRenewDisableRequested
    | AutoRenewDisabled
    | AutoRenewDisableRefused
    | SeatsAdded
    | SeatDecreaseScheduled
    | SeatsRequested
    | SeatsRequestConfirmed
    | SeatsRequestDeclined
    | RenewalReminded
    | SubscriptionRenewed
    | SubscriptionEnded
    | OperationPerformed
)
"""Every event type of marketplace's topic."""
