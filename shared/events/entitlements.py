"""entitlements' events: what may be used."""

from datetime import date
from typing import Literal

from shared.events.base import Event, Record
from shared.events.marketplace import HeldSeat, Period


class SeatPoolOpened(Event):
    """A confirmed subscription gives its customer so many seats."""

    subscription_id: str
    contract_id: str
    customer: str
    product: str
    product_name: str
    seats: int
    starts: date
    ends: date
    partner: str = ""
    publisher: str = ""
    period: Period = "annual"


class SeatPoolResized(Event):
    """The pool has so many seats from now on, in the running term."""

    subscription_id: str
    contract_id: str
    seats: int


class SeatPoolRenewed(Event):
    """The pool serves the next term. Seats above the new number were un-assigned before."""

    subscription_id: str
    contract_id: str
    seats: int
    ends: date


class SeatPoolExpired(Event):
    """The term is over; for a while (up to this day, included) the seats can be used all the same."""

    subscription_id: str
    contract_id: str
    customer: str
    product: str
    access_until: date


class SeatPoolSuspended(Event):
    """The seats can't be used any more; who holds them is kept until this day, in case of a new order."""

    subscription_id: str
    contract_id: str
    customer: str
    product: str
    kept_until: date


class SeatPoolEnded(Event):
    """Nothing is left of the subscription's seats, for good."""

    subscription_id: str
    contract_id: str
    customer: str
    product: str


class PoolCsnNoted(Event):
    """The seats' buyer or seller holds this number of their publisher; with none given, no valid one any more."""

    subscription_id: str
    organisation_id: str
    csn: str | None
    as_of: int
    """The version of the organisation's standing in marketplace that says so: an older one is news no more."""


class UpdateRightGranted(Event):
    """The subscription's users may have updates and upgrades: it was bought, and this CSN is valid."""

    subscription_id: str
    contract_id: str
    product: str
    csn: str


class UpdateRightLost(Event):
    """The subscription's users get no more updates until the purchase and a valid CSN come together again."""

    subscription_id: str
    contract_id: str
    product: str
    reason: str


class SeatAssigned(Event):
    """The seat is this named user's."""

    subscription_id: str
    contract_id: str
    seat: int
    account_id: str
    assigned_by: str


class SeatUnassigned(Event):
    """The seat is free again."""

    subscription_id: str
    contract_id: str
    seat: int
    account_id: str
    unassigned_by: str


class SeatPoolCleared(Event):
    """Asked whether auto-renew may be turned off: no seat is assigned, the way is clear."""

    subscription_id: str
    request: str
    """The id of the event that asked."""


class SeatPoolHeld(Event):
    """Asked whether auto-renew may be turned off: it may not, these seats are assigned."""

    subscription_id: str
    request: str
    held: tuple[HeldSeat, ...]


class CreditsGranted(Event):
    """The contract has so many cloud credits more: one user's own, or (with no account) its pool's."""

    contract_id: str
    customer: str
    grant_id: str
    account_id: str | None
    amount: int
    expires_on: date
    """The last day on which they can be spent."""
    granted_by: str
    next_expiry: date | None
    """When the next of the contract's credits expire, after this."""


class CreditDraw(Record):
    """So many credits of one grant."""

    grant_id: str
    amount: int


class CreditsConsumed(Event):
    """The user spent credits: their own first, then the contract's pool, each by earliest expiry."""

    contract_id: str
    customer: str
    consumption_id: str
    account_id: str
    amount: int
    purpose: str
    drawn: tuple[CreditDraw, ...]
    """Where they came from; adds up to `amount`."""
    next_expiry: date | None


class CreditsExpired(Event):
    """What was left of a grant can't be spent any more: its time was over, or the contract's."""

    contract_id: str
    customer: str
    grant_id: str
    account_id: str | None
    amount: int
    reason: Literal["time", "contract"]
    next_expiry: date | None
