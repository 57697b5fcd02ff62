"""entitlements' doors and queries. What they administer, `shared.runtime.access` guards."""

from datetime import date, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel

from services.entitlements.domain.seat_pool import SEAT_POOL, AssignSeat, UnassignSeat
from shared.runtime.access import require_access
from shared.runtime.auth import Actor
from shared.runtime.doors import Call, Doors, Pool, Target
from shared.runtime.http import CurrentActor, Database
from shared.runtime.problems import Problem, unknown

DOORS: Final = Doors()
QUERIES: Final = APIRouter()


async def _administered(call: Call) -> Any:
    """The pool of the path, if the caller may assign its seats."""
    row = await call.db.fetchrow("select * from pools where subscription_id = $1", call.path["subscription_id"])
    if row is None:
        raise unknown("pool of seats")
    if not _sees(call.actor, row["customer"]):
        raise unknown("pool of seats")
    await require_access(call.db, call.actor, row["contract_id"], assign_seats=True)
    return row


async def _assign(call: Call) -> Target:
    pool = await _administered(call)
    organisation = await call.db.fetchval(
        "select organisation_id from people where account_id = $1", call.body.account_id
    )
    if organisation != pool["customer"]:
        raise Problem(
            409, rule="user-unknown", reason="No account of the customer's organisation has this id.",
            remedy="Check the id; a person who has just signed up is known here a moment later.",
        )  # fmt: skip
    return Target(pool["subscription_id"], assigned_by=call.actor.account_id)


async def _unassign(call: Call) -> Target:
    pool = await _administered(call)
    return Target(pool["subscription_id"], unassigned_by=call.actor.account_id)


DOORS.post("/pools/{subscription_id}/seats", SEAT_POOL, AssignSeat, supply=_assign)
DOORS.delete("/pools/{subscription_id}/seats/{account_id}", SEAT_POOL, UnassignSeat, supply=_unassign)


def _sees(actor: Actor, customer: str) -> bool:
    return actor.organisation_id == customer or actor.organisation_kind in ("publisher", "operator")


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
    ends: date


class MySeats(BaseModel):
    items: list[MySeat]


_SUMMARY: Final = """
    select p.subscription_id, p.contract_id, p.product, p.product_name, p.seats, p.starts, p.ends, p.customer,
           count(s.seat)::int as assigned, p.seats - count(s.seat)::int as free
    from pools p left join seats s using (subscription_id)"""


@QUERIES.get("/pools")
async def pools(
    actor: CurrentActor,
    db: Database,
    contract_id: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: str = "",
) -> PoolList:
    """The pools of the caller's organisation, by subscription id."""
    rows = await db.fetch(
        f"{_SUMMARY} where p.customer = $1 and ($2::text is null or p.contract_id = $2) and p.subscription_id > $3 "
        "group by p.subscription_id order by p.subscription_id limit $4",
        actor.organisation_id, contract_id, after, limit,
    )  # fmt: skip
    following = rows[-1]["subscription_id"] if len(rows) == limit else None
    return PoolList(items=[PoolSummary(**dict(row)) for row in rows], next=following)


@QUERIES.get("/pools/{subscription_id}")
async def pool(subscription_id: str, actor: CurrentActor, db: Database) -> PoolView:
    """How many seats were bought, who holds which, how many are free."""
    row = await db.fetchrow(f"{_SUMMARY} where p.subscription_id = $1 group by p.subscription_id", subscription_id)
    if row is None or not _sees(actor, row["customer"]):
        raise unknown("pool of seats")
    return PoolView(**dict(row), holders=await _holders(db, subscription_id))


async def _holders(db: Pool, subscription_id: str) -> list[SeatView]:
    rows = await db.fetch(
        "select seat, account_id, assigned_by, assigned_at, event_id from seats where subscription_id = $1 "
        "order by seat",
        subscription_id,
    )
    return [SeatView(**dict(row)) for row in rows]


@QUERIES.get("/me/seats")
async def my_seats(actor: CurrentActor, db: Database) -> MySeats:
    """The seats that the caller holds."""
    rows = await db.fetch(
        "select s.subscription_id, p.product, p.product_name, s.seat, p.ends from seats s "
        "join pools p using (subscription_id) where s.account_id = $1 order by p.product, s.subscription_id",
        actor.account_id,
    )
    return MySeats(items=[MySeat(**dict(row)) for row in rows])
