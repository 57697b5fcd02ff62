"""The events of entitlements: seats, update rights and credits."""

from operator import attrgetter
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from shared.events.base import Event, Record
from shared.events.fields import (
    ActorId,
    Code,
    Count,
    CreditAmount,
    Day,
    ForeignIdentifier,
    Identifier,
    Name,
    Number,
    OptionalIdentifier,
    OptionalName,
    OptionalPublisher,
    OptionalTimeZone,
    Seats,
    Text,
    TimeZone,
    distinct,
)
from shared.events.marketplace import HeldSeats, Period
from shared.events.operations import OperationPerformed


class SeatPoolOpened(Event):
    """A confirmed subscription gave its customer a pool of seats."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    product: Code
    product_name: Name
    seats: Seats
    starts: Day
    ends: Day
    partner: OptionalIdentifier = ""
    publisher: OptionalPublisher = ""
    period: Period = "annual"
    time_zone: TimeZone = "UTC"


class SeatPoolResized(Event):
    """The pool has more seats from now on, in the running term."""

    subscription_id: Identifier
    contract_id: Identifier
    seats: Seats


class SeatPoolRenewed(Event):
    """The pool's next term began. Seats above the new number were un-assigned before."""

    subscription_id: Identifier
    contract_id: Identifier
    seats: Seats
    ends: Day
    time_zone: OptionalTimeZone = None
    """None in an event from before it was named: the pool keeps its zone."""


class SeatPoolExpired(Event):
    """The last term is over. Seats can still be used until `access_until`, that day included."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    product: Code
    access_until: Day
    time_zone: TimeZone = "UTC"


class SeatPoolSuspended(Event):
    """The seats can't be used any more. They are kept for their users until `kept_until`."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    product: Code
    kept_until: Day
    time_zone: TimeZone = "UTC"


class SeatPoolEnded(Event):
    """The subscription's seats ended for good."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    product: Code


class PoolCsnNoted(Event):
    """The pool's customer or partner holds this CSN of the publisher; None: no valid one."""

    subscription_id: Identifier
    organisation_id: Identifier
    csn: Code | None
    as_of: Count
    """The version of the organisation's standing in marketplace that states it. Lower versions are ignored."""


class UpdateRightGranted(Event):
    """The subscription's users got the right to updates: it was bought, and this CSN is valid."""

    subscription_id: Identifier
    contract_id: Identifier
    product: Code
    csn: Code


class UpdateRightLost(Event):
    """The subscription's users lost the right to updates.

    It is granted again once the seats can be used and a CSN is valid.
    """

    subscription_id: Identifier
    contract_id: Identifier
    product: Code
    reason: Text


class SeatAssigned(Event):
    """The seat was assigned to this user."""

    subscription_id: Identifier
    contract_id: Identifier
    seat: Number
    account_id: Identifier
    assigned_by: ActorId


class SeatUnassigned(Event):
    """The seat was taken from this user and is free."""

    subscription_id: Identifier
    contract_id: Identifier
    seat: Number
    account_id: Identifier
    unassigned_by: ActorId


class SeatPoolCleared(Event):
    """The pool answered that auto-renew may be turned off, because no seat is assigned."""

    subscription_id: Identifier
    request: Identifier
    """The id of the AutoRenewDisableRequested event that is answered."""


class SeatPoolHeld(Event):
    """The pool answered that auto-renew may not be turned off, because these seats are assigned."""

    subscription_id: Identifier
    request: Identifier
    held: HeldSeats


class CreditsGranted(Event):
    """Cloud credits were granted to one user or, with no account, to the contract's pool."""

    contract_id: Identifier
    customer: Identifier
    grant_id: ForeignIdentifier
    account_id: Identifier | None
    amount: CreditAmount
    expires_on: Day
    """The last day on which the credits can be spent."""
    granted_by: ActorId
    next_expiry: Day | None
    """The day on which the next of the contract's credits expire, after this event; None: there are none."""
    time_zone: TimeZone = "UTC"


class CreditDraw(Record):
    """The credits that a consumption took from one grant."""

    grant_id: ForeignIdentifier
    amount: CreditAmount


DRAWS: Final = 1000
"""The largest number of grants that one consumption draws on."""


class CreditsConsumed(Event):
    """The user spent credits: the user's own first, then the pool's, each by earliest expiry."""

    contract_id: Identifier
    customer: Identifier
    consumption_id: ForeignIdentifier
    account_id: Identifier
    amount: CreditAmount
    purpose: OptionalName
    drawn: Annotated[tuple[CreditDraw, ...], Field(max_length=DRAWS), distinct(attrgetter("grant_id"), "grant")]
    """The grants that the credits came from. They add up to `amount`."""
    next_expiry: Day | None
    time_zone: TimeZone = "UTC"


class CreditsExpired(Event):
    """The rest of a grant was written off: it expired, or the contract ended."""

    contract_id: Identifier
    customer: Identifier
    grant_id: ForeignIdentifier
    account_id: Identifier | None
    amount: CreditAmount
    reason: Literal["time", "contract"]
    next_expiry: Day | None
    time_zone: TimeZone = "UTC"


EntitlementsEvent: TypeAlias = (
    SeatPoolOpened
    | SeatPoolResized
    | SeatPoolRenewed
    | SeatPoolExpired
    | SeatPoolSuspended
    | SeatPoolEnded
    | PoolCsnNoted
    | UpdateRightGranted
    | UpdateRightLost
    | SeatAssigned
    | SeatUnassigned
    | SeatPoolCleared
    | SeatPoolHeld
    | CreditsGranted
    | CreditsConsumed
    | CreditsExpired
    | OperationPerformed
)
"""Every event type of entitlements' topic."""
