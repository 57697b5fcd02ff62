"""Who uses what, in the specs of entitlements: a pool of two seats for a year, and what becomes of it."""

from datetime import date, timedelta
from typing import Any, Final

from services.entitlements.domain.seat_pool import OpenPool
from shared.events import (
    AccountOpened,
    SeatAssigned,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolOpened,
    SeatPoolSuspended,
    SeatUnassigned,
)
from tests.contracts.golden import sample

STARTS: Final = date(2026, 11, 21)
ENDS: Final = date(2027, 11, 20)

OF_THE_POOL: Final[dict[str, Any]] = {
    "subscription_id": "s",
    "contract_id": "c",
    "customer": "org",
    "product": "autocad",
}
BOUGHT: Final[dict[str, Any]] = {
    **OF_THE_POOL,
    "product_name": "AutoCAD",
    "seats": 2,
    "starts": STARTS,
    "ends": ENDS,
}
OPEN: Final = OpenPool(**BOUGHT)
OPENED: Final = SeatPoolOpened(**BOUGHT)
EXPIRED: Final = SeatPoolExpired(**OF_THE_POOL, access_until=ENDS + timedelta(days=15))
SUSPENDED: Final = SeatPoolSuspended(**OF_THE_POOL, kept_until=ENDS + timedelta(days=45))
ENDED: Final = SeatPoolEnded(**OF_THE_POOL)


def assigned(seat: int, account_id: str) -> SeatAssigned:
    return SeatAssigned(subscription_id="s", contract_id="c", seat=seat, account_id=account_id, assigned_by="mina")


def unassigned(seat: int, account_id: str) -> SeatUnassigned:
    return SeatUnassigned(subscription_id="s", contract_id="c", seat=seat, account_id=account_id, unassigned_by="mina")


def account(account_id: str, organisation_id: str = "org") -> AccountOpened:
    """The account, as the log knows it."""
    opened: AccountOpened = sample(AccountOpened)
    who = {"account_id": account_id, "organisation_id": organisation_id}
    return opened.model_copy(update=who).recorded(f"opened-{account_id}")
