"""entitlements' events: what may be used."""

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
    Seats,
    Text,
    distinct,
)
from shared.events.marketplace import HeldSeats, Period
from shared.events.operations import OperationPerformed


class SeatPoolOpened(Event):
    """A confirmed subscription gives its customer so many seats."""

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


class SeatPoolResized(Event):
    """The pool has so many seats from now on, in the running term."""

    subscription_id: Identifier
    contract_id: Identifier
    seats: Seats


class SeatPoolRenewed(Event):
    """The pool serves the next term. Seats above the new number were un-assigned before."""

    subscription_id: Identifier
    contract_id: Identifier
    seats: Seats
    ends: Day


class SeatPoolExpired(Event):
    """The term is over; for a while (up to this day, included) the seats can be used all the same."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    product: Code
    access_until: Day


class SeatPoolSuspended(Event):
    """The seats can't be used any more; who holds them is kept until this day, in case of a new order."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    product: Code
    kept_until: Day


class SeatPoolEnded(Event):
    """Nothing is left of the subscription's seats, for good."""

    subscription_id: Identifier
    contract_id: Identifier
    customer: Identifier
    product: Code


class PoolCsnNoted(Event):
    """The seats' buyer or seller holds this number of their publisher; with none given, no valid one any more."""

    subscription_id: Identifier
    organisation_id: Identifier
    csn: Code | None
    as_of: Count
    """The version of the organisation's standing in marketplace that says so: an older one is news no more."""


class UpdateRightGranted(Event):
    """The subscription's users may have updates and upgrades: it was bought, and this CSN is valid."""

    subscription_id: Identifier
    contract_id: Identifier
    product: Code
    csn: Code


class UpdateRightLost(Event):
    """The subscription's users get no more updates until the purchase and a valid CSN come together again."""

    subscription_id: Identifier
    contract_id: Identifier
    product: Code
    reason: Text


class SeatAssigned(Event):
    """The seat is this named user's."""

    subscription_id: Identifier
    contract_id: Identifier
    seat: Number
    account_id: Identifier
    assigned_by: ActorId


class SeatUnassigned(Event):
    """The seat is free again."""

    subscription_id: Identifier
    contract_id: Identifier
    seat: Number
    account_id: Identifier
    unassigned_by: ActorId


class SeatPoolCleared(Event):
    """Asked whether auto-renew may be turned off: no seat is assigned, the way is clear."""

    subscription_id: Identifier
    request: Identifier
    """The id of the event that asked."""


class SeatPoolHeld(Event):
    """Asked whether auto-renew may be turned off: it may not, these seats are assigned."""

    subscription_id: Identifier
    request: Identifier
    held: HeldSeats


class CreditsGranted(Event):
    """The contract has so many cloud credits more: one user's own, or (with no account) its pool's."""

    contract_id: Identifier
    customer: Identifier
    grant_id: ForeignIdentifier
    account_id: Identifier | None
    amount: CreditAmount
    expires_on: Day
    """The last day on which they can be spent."""
    granted_by: ActorId
    next_expiry: Day | None
    """When the next of the contract's credits expire, after this."""


class CreditDraw(Record):
    """So many credits of one grant."""

    grant_id: ForeignIdentifier
    amount: CreditAmount


DRAWS: Final = 1000
"""The most grants that one consumption draws on."""


class CreditsConsumed(Event):
    """The user spent credits: their own first, then the contract's pool, each by earliest expiry."""

    contract_id: Identifier
    customer: Identifier
    consumption_id: ForeignIdentifier
    account_id: Identifier
    amount: CreditAmount
    purpose: OptionalName
    drawn: Annotated[tuple[CreditDraw, ...], Field(max_length=DRAWS), distinct(attrgetter("grant_id"), "grant")]
    """Where they came from; adds up to `amount`."""
    next_expiry: Day | None


class CreditsExpired(Event):
    """What was left of a grant can't be spent any more: its time was over, or the contract's."""

    contract_id: Identifier
    customer: Identifier
    grant_id: ForeignIdentifier
    account_id: Identifier | None
    amount: CreditAmount
    reason: Literal["time", "contract"]
    next_expiry: Day | None


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
"""Every event that can be on entitlements' topic."""
