"""What can be asked of entitlements: pools, seats, and a contract's credits."""

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
from shared.runtime.visibility import listed, sees
from shared.sql import Row, statements

SQL: Final = statements(__file__)

QUERIES: Final = APIRouter()

Phase: TypeAlias = Literal["upcoming", "active", "expired", "suspended", "ended"]
"""Upcoming: bought, its first term has not begun. Active: in its term. Expired: the term is over, seats can be used.
Suspended: they can't. Ended: all taken back."""


def _shown(row: Row, now: datetime) -> dict[str, object]:
    """The row as its customer has it at that time: what time alone begins is no event of the pool's."""
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
    product: str
    product_name: str
    seats: int
    assigned: int
    free: int
    starts: date
    ends: date
    phase: Phase
    until: date | None
    """The phase's last day; of an active pool the term's, after which it may renew."""
    updates: bool
    """Whether its users have the right to updates and upgrades; they get them from the first day on."""


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
    """Whether it can be used."""
    updates: bool
    """Whether it can be used with updates."""


class MySeats(BaseModel):
    items: list[MySeat]


@QUERIES.get("/pools")
async def pools(
    actor: CurrentActor,
    db: Database,
    request: Request,
    contract_id: Identifier | None = None,
    limit: Limit = 50,
    after: After = "",
) -> PoolList:
    """The pools of the caller's organisation, by subscription id; of a publisher's people, those of its contracts."""
    customer, publisher = listed(actor)
    rows = await db.fetch(SQL["pools"], customer, publisher, contract_id, after, limit)
    time_of = request.app.state.parts.clocks.time_of
    following = rows[-1]["subscription_id"] if len(rows) == limit else None
    items = [PoolSummary.model_validate(_shown(row, time_of(row["customer"]))) for row in rows]
    return PoolList(items=items, next=following)


@QUERIES.get("/pools/{subscription_id}")
async def pool(subscription_id: Identifier, actor: CurrentActor, db: Database, request: Request) -> PoolView:
    """How many seats were bought, who holds which, how many are free."""
    row = await db.fetchrow(SQL["pool"], subscription_id)
    if row is None or not sees(actor, customer=row["customer"], publisher=row["publisher"]):
        raise unknown("pool of seats")
    now = request.app.state.parts.clocks.time_of(row["customer"])
    return PoolView.model_validate(_shown(row, now) | {"holders": await _holders(db, subscription_id)})


async def _holders(db: Pool, subscription_id: str) -> list[SeatView]:
    rows = await db.fetch(SQL["holders"], subscription_id)
    return [SeatView(**dict(row)) for row in rows]


@QUERIES.get("/me/seats")
async def my_seats(actor: CurrentActor, db: Database, now: Now) -> MySeats:
    """The seats that the caller holds: whether they can be used, with updates, and until when."""
    rows = await db.fetch(SQL["my_seats"], actor.account_id)
    return MySeats(items=[_my_seat(_shown(row, now)) for row in rows])


def _my_seat(shown: dict[str, object]) -> MySeat:
    access = shown["phase"] in ("active", "expired")
    return MySeat.model_validate(shown | {"access": access, "updates": access and shown["has_right"]})


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
    """Positive for what came, negative for what went."""
    balance: int
    """The contract's whole balance after it."""
    reference: str
    """The grant's or the consumption's id; of what expired, whether its time was over or the contract's."""
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
    """What is left of which grant; those with nothing left are in the entries only."""
    entries: list[EntryView]
    next: int | None
    """Ask with `after` for the entries that follow."""


class Contract(NamedTuple):
    """Whose contract it is, and with which publisher."""

    customer: str
    publisher: str


async def visible_contract(db: Pool, actor: Actor, contract_id: str) -> Contract:
    """Return the contract, if the caller has to do with it. Raises Problem 404."""
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
    """What is left of the contract's credits, and the ledger that explains it."""
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
