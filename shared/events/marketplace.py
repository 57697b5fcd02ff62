"""marketplace's events: what is bought."""

from datetime import date
from typing import Literal

from shared.events.base import Event, Instant, Money, Record
from shared.events.identity import AgreementKind

Period = Literal["monthly", "annual", "three_year"]
Support = Literal["basic", "advanced"]
Billing = Literal["upfront", "instalments"]
Category = Literal["open", "specialised"]


class Plan(Record):
    """One service plan of the catalogue, named by its 15-character product ID (stored without hyphens)."""

    product_id: str
    publisher: str
    programme: str
    product: str
    product_name: str
    period: Period
    support: Support
    billing: Billing
    commitment_months: int
    category: Category
    agreement: AgreementKind
    price: Money
    """For one seat and the whole commitment."""


class PlanListed(Event):
    """The publisher offers this plan, as it reads here, from now on (a later one replaces it)."""

    plan: Plan
    said_at: Instant | None = None
    """The publisher's own time of it, set where the fact is recorded: a late arrival is told by it."""
    valid_from: date | None = None
    """Set where a price that was announced for this day came in."""


class PlanPriceAnnounced(Event):
    """From this day on (in UTC) the plan costs so much; what runs has the new price from its next term."""

    product_id: str
    publisher: str
    price: Money
    valid_from: date
    said_at: Instant | None = None


class PlanWithdrawn(Event):
    """The publisher offers the plan no longer; what was bought stays."""

    product_id: str
    publisher: str
    said_at: Instant | None = None


class CsnIssued(Event):
    """The publisher has given the organisation a customer-specific number: specialised products are open to it."""

    csn: str
    organisation_id: str
    publisher: str
    said_at: Instant | None = None


class CsnRevoked(Event):
    """The publisher has taken the number back."""

    csn: str
    organisation_id: str
    publisher: str
    reason: str = ""
    said_at: Instant | None = None


class CartLine(Record):
    line: int
    plan: Plan
    seats: int


class CartOpened(Event):
    """A partner's clerk began to put an order together."""

    cart_id: str
    partner: str
    opened_by: str


class CartLineAdded(Event):
    """Exactly this plan, for so many named users, is in the partner's cart (again: with another number of seats)."""

    cart_id: str
    partner: str
    line: CartLine


class CartLineRemoved(Event):
    cart_id: str
    line: int


class OrderLine(Record):
    """A cart's line on its way to becoming a subscription of its own."""

    subscription_id: str
    plan: Plan
    seats: int
    total: Money


class CartCheckedOut(Event):
    """The partner ordered what is in the cart, for this customer; each line becomes one order, in this sequence."""

    cart_id: str
    partner: str
    ordered_by: str
    customer: str
    purchaser: str
    starts: date
    csn: str | None
    lines: tuple[OrderLine, ...]
    total: Money
    country: str = ""
    time_zone: str = "UTC"
    """Where the customer's business days are counted: the purchaser's country and zone."""


class SubscriptionOrdered(Event):
    """One plan was ordered for a customer and awaits the publisher's word. (Again, the same but for its time: it had
    not answered. Its answer may name any of these; what the order is known by is `subscription_id`.)"""

    subscription_id: str
    cart_id: str
    contract_id: str
    partner: str
    ordered_by: str
    customer: str
    purchaser: str
    plan: Plan
    seats: int
    total: Money
    starts: date
    csn: str | None
    country: str = ""
    time_zone: str = "UTC"
    ordered_at: Instant | None = None
    """When it was sent, by the customer's clock."""


class Instalment(Record):
    number: int
    due: date
    amount: Money


class CancelBy(Record):
    """The last moment to turn auto-renew off for a term, computed once, with the calendar that it was computed by."""

    last_day: date
    deadline: Instant
    """The first UTC instant that is too late: the end of `last_day` in `time_zone`."""
    time_zone: str
    calendar: str
    calendar_version: str


class SubscriptionConfirmed(Event):
    """The publisher accepted the order: the term runs, auto-renew is on, the instalments are owed."""

    subscription_id: str
    publisher_reference: str
    contract_id: str
    partner: str
    customer: str
    purchaser: str
    plan: Plan
    seats: int
    total: Money
    starts: date
    ends: date
    """The term's last day."""
    instalments: tuple[Instalment, ...]
    cancel_by: CancelBy


class SubscriptionOrderFailed(Event):
    """The publisher turned the order down, for this reason; it may be corrected and sent again."""

    subscription_id: str
    partner: str
    reason: str


class AutoRenewDisableRequested(Event):
    """Somebody entitled to asked; the seat pool now says whether the way is clear. (Again: it had not answered.)"""

    subscription_id: str
    requested_by: str
    requested_at: Instant
    term_ends: date
    deadline: Instant
    binds: Literal["this_term", "next_term"] = "this_term"
    """Asked before the deadline, the subscription ends with the running term; afterwards, with the one after it."""
    publisher: str = ""


class HeldSeat(Record):
    """A seat that somebody holds: who, and the event that gave it to them."""

    seat: int
    account_id: str
    because: str


class AutoRenewDisabled(Event):
    """The subscription ends on this day, for good; the charges run to that day all the same."""

    subscription_id: str
    ends: date
    requested_by: str


class AutoRenewDisableRefused(Event):
    """Auto-renew stays on: these seats are assigned."""

    subscription_id: str
    rule: str
    reason: str
    held: tuple[HeldSeat, ...]


class SeatsAdded(Event):
    """More seats joined the running term at once, up to its end; they are charged for the rest of it."""

    subscription_id: str
    contract_id: str
    customer: str
    added: int
    seats: int
    """How many there are from now on."""
    term: int
    instalment: Instalment
    """What they cost up to the term's end, after the term's other instalments."""
    added_by: str


class SeatDecreaseScheduled(Event):
    """From the next term on there are so many seats; until its start a later number replaces it."""

    subscription_id: str
    seats: int
    takes_effect: date
    requested_by: str


class RenewalReminded(Event):
    """The term ends in so many days or less; until when auto-renew can be turned off stands in `cancel_by`."""

    subscription_id: str
    contract_id: str
    partner: str
    customer: str
    term: int
    days_before: int
    ends: date
    cancel_by: CancelBy


class SubscriptionRenewed(Event):
    """The next term began, for so many seats, at the price of the day; its instalments are owed."""

    subscription_id: str
    contract_id: str
    partner: str
    customer: str
    term: int
    """The term's number, from 2."""
    plan: Plan
    seats: int
    total: Money
    starts: date
    ends: date
    instalments: tuple[Instalment, ...]
    cancel_by: CancelBy


class SubscriptionEnded(Event):
    """The last term is over, and none follows."""

    subscription_id: str
    contract_id: str
    customer: str
    ended: date
    """The last term's last day."""
