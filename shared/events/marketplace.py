"""marketplace's events: what is bought."""

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
    """One service plan of the catalogue, named by its 15-character product ID (stored without hyphens)."""

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
    """For one seat and the whole commitment."""


class PlanListed(Event):
    """The publisher offers this plan, as it reads here, from now on (a later one replaces it)."""

    plan: Plan
    said_at: Instant | None = None
    """The publisher's own time of it, set where the fact is recorded: a late arrival is told by it."""
    valid_from: Day | None = None
    """Set where a price that was announced for this day came in."""


class PlanPriceAnnounced(Event):
    """From this day on (in UTC) the plan costs so much; what runs has the new price from its next term."""

    product_id: ProductId
    publisher: Publisher
    price: Price
    valid_from: Day
    said_at: Instant | None = None


class PlanWithdrawn(Event):
    """The publisher offers the plan no longer; what was bought stays."""

    product_id: ProductId
    publisher: Publisher
    said_at: Instant | None = None


class CsnIssued(Event):
    """The publisher has given the organisation a customer-specific number: specialised products are open to it."""

    csn: Code
    organisation_id: Identifier
    publisher: Publisher
    said_at: Instant | None = None


class CsnRevoked(Event):
    """The publisher has taken the number back."""

    csn: Code
    organisation_id: Identifier
    publisher: Publisher
    reason: Text = ""
    said_at: Instant | None = None


class CartLine(Record):
    line: Number
    plan: Plan
    seats: Seats


class CartOpened(Event):
    """A partner's clerk began to put an order together."""

    cart_id: Identifier
    partner: Identifier
    opened_by: ActorId


class CartLineAdded(Event):
    """Exactly this plan, for so many named users, is in the partner's cart (again: with another number of seats)."""

    cart_id: Identifier
    partner: Identifier
    line: CartLine


class CartLineRemoved(Event):
    cart_id: Identifier
    line: Number


class OrderLine(Record):
    """A cart's line on its way to becoming a subscription of its own."""

    subscription_id: Identifier
    plan: Plan
    seats: Seats
    total: Money


class CartCheckedOut(Event):
    """The partner ordered what is in the cart, for this customer; each line becomes one order, in this sequence."""

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
    time_zone: TimeZone = "UTC"
    """Where the customer's business days are counted: the purchaser's country and zone."""


class SubscriptionOrdered(Event):
    """One plan was ordered for a customer and awaits the publisher's word. (Again, the same but for its time: it had
    not answered. Its answer may name any of these; what the order is known by is `subscription_id`.)"""

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
    number: Number
    due: Day
    amount: Money


Instalments: TypeAlias = Annotated[
    tuple[Instalment, ...], Field(min_length=1, max_length=120), distinct(attrgetter("number"), "instalment's number")
]


class CancelBy(Record):
    """The last moment to turn auto-renew off for a term, computed once, with the calendar that it was computed by."""

    last_day: Day
    deadline: Instant
    """The first UTC instant that is too late: the end of `last_day` in `time_zone`."""
    time_zone: TimeZone
    calendar: Name
    calendar_version: Name


class SubscriptionConfirmed(Event):
    """The publisher accepted the order: the term runs, auto-renew is on, the instalments are owed."""

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


class SubscriptionOrderFailed(Event):
    """The publisher turned the order down, for this reason; it may be corrected and sent again."""

    subscription_id: Identifier
    partner: Identifier
    reason: Text


class AutoRenewDisableRequested(Event):
    """Somebody entitled to asked; the seat pool now says whether the way is clear. (Again: it had not answered.)"""

    subscription_id: Identifier
    requested_by: ActorId
    requested_at: Instant
    term_ends: Day
    deadline: Instant
    binds: Literal["this_term", "next_term"] = "this_term"
    """Asked before the deadline, the subscription ends with the running term; afterwards, with the one after it."""
    publisher: OptionalPublisher = ""


class HeldSeat(Record):
    """A seat that somebody holds: who, and the event that gave it to them."""

    seat: Number
    account_id: Identifier
    because: OptionalIdentifier


HeldSeats: TypeAlias = Annotated[tuple[HeldSeat, ...], Field(max_length=999), distinct(attrgetter("seat"), "seat")]


class AutoRenewDisabled(Event):
    """The subscription ends on this day, for good; the charges run to that day all the same."""

    subscription_id: Identifier
    ends: Day
    requested_by: ActorId


class AutoRenewDisableRefused(Event):
    """Auto-renew stays on: these seats are assigned."""

    subscription_id: Identifier
    rule: Code
    reason: Text
    held: HeldSeats


class SeatsAdded(Event):
    """More seats joined the running term at once, up to its end; they are charged for the rest of it."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    added: Seats
    seats: Seats
    """How many there are from now on."""
    term: Number
    instalment: Instalment
    """What they cost up to the term's end, after the term's other instalments."""
    added_by: ActorId


class SeatDecreaseScheduled(Event):
    """From the next term on there are so many seats; until its start a later number replaces it."""

    subscription_id: Identifier
    seats: Seats
    takes_effect: Day
    requested_by: ActorId


class RenewalReminded(Event):
    """The term ends in so many days or less; until when auto-renew can be turned off stands in `cancel_by`."""

    subscription_id: Identifier
    contract_id: Identifier
    partner: Identifier
    customer: Identifier
    term: Number
    days_before: Days
    ends: Day
    cancel_by: CancelBy


class SubscriptionRenewed(Event):
    """The next term began, for so many seats, at the price of the day; its instalments are owed."""

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


class SubscriptionEnded(Event):
    """The last term is over, and none follows."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    ended: Day
    """The last term's last day."""


MarketplaceEvent: TypeAlias = (
    PlanListed
    | PlanPriceAnnounced
    | PlanWithdrawn
    | CsnIssued
    | CsnRevoked
    | CartOpened
    | CartLineAdded
    | CartLineRemoved
    | CartCheckedOut
    | SubscriptionOrdered
    | SubscriptionConfirmed
    | SubscriptionOrderFailed
    | AutoRenewDisableRequested
    | AutoRenewDisabled
    | AutoRenewDisableRefused
    | SeatsAdded
    | SeatDecreaseScheduled
    | RenewalReminded
    | SubscriptionRenewed
    | SubscriptionEnded
    | OperationPerformed
)
"""Every event that can be on marketplace's topic."""
