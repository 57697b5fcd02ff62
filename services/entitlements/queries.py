"""entitlements' queries: seat pools, seats, and a contract's credits."""

from datetime import date, datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from services.entitlements.domain.credits import utc_day
from shared.events.fields import Identifier, WrittenCount
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.http import After, CurrentActor, Database, Limit, Now
from shared.runtime.problems import unknown
from shared.runtime.visibility import listed, sees, supports
from shared.sql import Row, statements

SQL: Final = statements(__file__)

QUERIES: Final = APIRouter()

Phase: TypeAlias = Literal["upcoming", "active", "expired", "suspended", "ended"]
"""The phases of a seat pool.

- upcoming: bought, but its first term has not begun
- active: in a term
- expired: the last term is over, but the seats can still be used
- suspended: the seats can't be used, but are kept for their users
- ended: the seats were taken back
"""


def _shown(row: Row, now: datetime) -> dict[str, object]:
    """Return the row of a pool with its phase at `now`.

    No event marks the beginning of the first term, so that the table has an upcoming pool as active.
    """
    if row["phase"] == "active" and utc_day(now) < row["starts"]:
        return dict(row) | {"phase": "upcoming", "until": row["starts"] - timedelta(days=1)}
    return dict(row)


class SeatView(BaseModel):
    seat: int
    account_id: str
    assigned_by: str
    assigned_at: datetime
    event_id: str


class PoolSummary(BaseModel):
    subscription_id: str
    contract_id: str
    customer: str
    partner: str
    """The partner that ordered the subscription, and supports the customer."""
    product: str
    product_name: str
    seats: int
    assigned: int
    free: int
    starts: date
    ends: date
    phase: Phase
    until: date | None
    """The phase's last day; for an active pool the term's last day, after which it may renew."""
    updates: bool
    """Whether its users have the right to updates and upgrades, from the first day on."""


class PoolView(PoolSummary):
    holders: list[SeatView]


class PoolList(BaseModel):
    items: list[PoolSummary]
    next: str | None


class MySeat(BaseModel):
    subscription_id: str
    product: str
    product_name: str
    seat: int
    starts: date
    ends: date
    phase: Phase
    until: date | None
    access: bool
    """Whether the seat can be used now."""
    updates: bool
    """Whether it can be used now, with updates."""


class MySeats(BaseModel):
    items: list[MySeat]


@QUERIES.get("/pools")
async def pools(
    actor: CurrentActor,
    db: Database,
    request: Request,
    contract_id: Identifier | None = None,
    customer: Identifier | None = None,
    limit: Limit = 50,
    after: After = "",
) -> PoolList:
    """List the pools of the caller's organisation by subscription id.

    For people of a partner, list the pools of what the partner ordered, of one `customer` or of all; for people of a
    publisher, the pools of the publisher's contracts; for the operator, all.
    """
    partner, (owner, publisher) = None, listed(actor)
    if actor.organisation_kind == "partner":
        partner, owner = actor.organisation_id, None
    rows = await db.fetch(SQL["pools"], owner, publisher, contract_id, after, limit, partner, customer)
    time_of = request.app.state.parts.clocks.time_of
    following = rows[-1]["subscription_id"] if len(rows) == limit else None
    items = [PoolSummary.model_validate(_shown(row, time_of(row["customer"]))) for row in rows]
    return PoolList(items=items, next=following)


@QUERIES.get("/pools/{subscription_id}")
async def pool(subscription_id: Identifier, actor: CurrentActor, db: Database, request: Request) -> PoolView:
    """Return a pool: its number of seats, their holders, and the number of free seats."""
    row = await db.fetchrow(SQL["pool"], subscription_id)
    if row is None or not (
        sees(actor, customer=row["customer"], publisher=row["publisher"]) or supports(actor, row["partner"])
    ):
        raise unknown("pool of seats")
    now = request.app.state.parts.clocks.time_of(row["customer"])
    return PoolView.model_validate(_shown(row, now) | {"holders": await _holders(db, subscription_id)})


async def _holders(db: Pool, subscription_id: str) -> list[SeatView]:
    rows = await db.fetch(SQL["holders"], subscription_id)
    return [SeatView(**dict(row)) for row in rows]


@QUERIES.get("/me/seats")
async def my_seats(actor: CurrentActor, db: Database, now: Now) -> MySeats:
    """List the seats that the caller holds: whether and until when they can be used."""
    rows = await db.fetch(SQL["my_seats"], actor.account_id)
    return MySeats(items=[_my_seat(_shown(row, now)) for row in rows])


def _my_seat(pool: dict[str, object]) -> MySeat:
    access = pool["phase"] in ("active", "expired")
    return MySeat.model_validate(pool | {"access": access, "updates": access and pool["has_right"]})


class LotView(BaseModel):
    grant_id: str
    account_id: str | None
    granted: int
    remaining: int
    expires_on: date


class EntryView(BaseModel):
    kind: Literal["granted", "consumed", "expired"]
    grant_id: str
    account_id: str | None
    amount: int
    """Positive for a grant, negative for a consumption or an expiry."""
    balance: int
    """The contract's whole balance after this entry."""
    reference: str
    """The grant's or the consumption's id; for an expiry the reason, `time` or `contract`."""
    purpose: str
    at: datetime
    event_id: str
    version: int


class CreditsView(BaseModel):
    contract_id: str
    balance: int
    pool: int
    individual: dict[str, int]
    lots: list[LotView]
    """The grants that have credits left; all others are in the entries only."""
    entries: list[EntryView]
    next: int | None
    """Send it as `after` for the next entries; null at the end."""


class Contract(NamedTuple):
    """A contract's customer and publisher."""

    customer: str
    publisher: str


async def visible_contract(db: Pool, actor: Actor, contract_id: str) -> Contract:
    """Return the contract. Raises Problem 404 unless the caller may see it."""
    row = await db.fetchrow(SQL["contract"], contract_id)
    if row is None or not sees(actor, customer=row["customer"], publisher=row["publisher"]):
        raise unknown("contract")
    return Contract(row["customer"], row["publisher"])


@QUERIES.get("/contracts/{contract_id}/credits")
async def contract_credits(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    limit: Annotated[WrittenCount, Query(ge=1, le=500)] = 200,
    after: WrittenCount = 0,
) -> CreditsView:
    """Return the contract's credits, and the ledger of their grants, consumptions and expiries."""
    await visible_contract(db, actor, contract_id)
    lots = await db.fetch(SQL["credit_lots"], contract_id)
    entries = await db.fetch(SQL["credit_entries"], contract_id, after, limit)
    whole_page = len({entry["version"] for entry in entries}) == limit
    individual: dict[str, int] = {}
    for lot in lots:
        if lot["account_id"] is not None:
            individual[lot["account_id"]] = individual.get(lot["account_id"], 0) + lot["remaining"]
    balance = sum(lot["remaining"] for lot in lots)
    return CreditsView(
        contract_id=contract_id,
        balance=balance,
        pool=balance - sum(individual.values()),
        individual=individual,
        lots=[LotView(**dict(lot)) for lot in lots],
        entries=[EntryView(**dict(entry)) for entry in entries],
        next=entries[-1]["version"] if whole_page else None,
    )
