"""entitlements' events: what may be used."""

from datetime import date

from shared.events.base import Event
from shared.events.marketplace import HeldSeat


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
