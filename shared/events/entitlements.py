"""entitlements' events: what may be used."""

from datetime import date

from shared.events.base import Event
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
