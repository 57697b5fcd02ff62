"""entitlements' doors and queries. What they administer, `shared.runtime.access` guards."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from services.entitlements.domain import rules
from services.entitlements.domain.credits import CREDITS, ConsumeCredits, GrantCredits, utc_day
from services.entitlements.domain.seat_pool import SEAT_POOL, AssignSeat, UnassignSeat
from services.entitlements.facts import account, last_steps, pools_for
from services.entitlements.policies import policy_of
from shared.events.fields import Identifier, WrittenCount
from shared.runtime.access import require_access
from shared.runtime.doors import Call, Doors, Pool, Target
from shared.runtime.http import After, CurrentActor, Database, Limit, Now
from shared.runtime.problems import Problem, unknown
from shared.runtime.visibility import SELLERS, listed, sees
from shared.sql import statements

SQL: Final = statements(__file__)

DOORS: Final = Doors()
QUERIES: Final = APIRouter()


async def _administered(call: Call) -> Any:
    """The pool of the path, if the caller may assign its seats."""
    row = await call.db.fetchrow(SQL["administered_pool"], call.path["subscription_id"])
    if row is None or not sees(call.actor, customer=row["customer"], publisher=row["publisher"]):
        raise unknown("pool of seats")
    await require_access(call.db, call.actor, row["contract_id"], assign_seats=True)
    return row


async def _assign(call: Call) -> Target:
    pool = await _administered(call)
    user = await account(call.db, call.body.account_id)
    return Target(pool["subscription_id"], assigned_by=call.actor.account_id, user=user)


async def _unassign(call: Call) -> Target:
    pool = await _administered(call)
    return Target(pool["subscription_id"], unassigned_by=call.actor.account_id)


DOORS.post("/pools/{subscription_id}/seats", SEAT_POOL, AssignSeat, supply=_assign, bulk=True)
DOORS.bulk("/pools/{subscription_id}/seats/unassign/bulk", SEAT_POOL, UnassignSeat, supply=_unassign)
DOORS.delete("/pools/{subscription_id}/seats/{account_id}", SEAT_POOL, UnassignSeat, supply=_unassign)


async def _contract_of(call: Call) -> Any:
    """The contract of the path, if the caller has to do with it."""
    row = await call.db.fetchrow(SQL["contract"], call.path["contract_id"])
    if row is None or not sees(call.actor, customer=row["customer"], publisher=row["publisher"]):
        raise unknown("contract")
    return row


async def _grant(call: Call) -> Target:
    contract = await _contract_of(call)
    if call.actor.organisation_kind not in SELLERS:
        raise Problem(
            403,
            rule=rules.NOT_A_PUBLISHER,
            reason="Only the publisher or the operator grants credits.",
            remedy="Ask the publisher.",
        )
    customer, to = contract["customer"], call.body.account_id
    return Target(
        contract["contract_id"],
        customer=customer,
        granted_by=call.actor.account_id,
        now=call.time_of(customer),
        policy=policy_of(contract["publisher"]),
        user=None if to is None else await account(call.db, to),
        over=await last_steps(call.db, call.log, contract["contract_id"]),
    )


async def _consume(call: Call) -> Target:
    contract = await _contract_of(call)
    account_id, now = call.body.account_id or call.actor.account_id, call.time_of(contract["customer"])
    if call.actor.organisation_kind not in SELLERS and account_id != call.actor.account_id:
        raise Problem(
            403,
            rule=rules.CREDITS_OF_ANOTHER,
            reason="You can spend credits for yourself only.",
            remedy="Leave account_id out.",
        )
    pools = await pools_for(call.db, call.log, contract["contract_id"], account_id, utc_day(now))
    return Target(contract["contract_id"], account_id=account_id, now=now, pools=pools)


DOORS.post("/contracts/{contract_id}/credits/grants", CREDITS, GrantCredits, supply=_grant, bulk=True)
DOORS.post(
    "/contracts/{contract_id}/credits/consumptions",
    CREDITS,
    ConsumeCredits,
    supply=_consume,
    scopes=("credits:consume",),
)


Phase: TypeAlias = Literal["upcoming", "active", "expired", "suspended", "ended"]
"""Upcoming: bought, its first term has not begun. Active: in its term. Expired: the term is over, seats can be used.
Suspended: they can't. Ended: all taken back."""


def _shown(row: Any, now: datetime) -> dict[str, Any]:
    """The row as its customer has it at that time: what time alone begins is no event of the pool's."""
    shown = dict(row)
    if shown["phase"] == "active" and utc_day(now) < shown["starts"]:
        shown |= {"phase": "upcoming", "until": shown["starts"] - timedelta(days=1)}
    return shown


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
    items = [PoolSummary(**_shown(row, time_of(row["customer"]))) for row in rows]
    return PoolList(items=items, next=following)


@QUERIES.get("/pools/{subscription_id}")
async def pool(subscription_id: Identifier, actor: CurrentActor, db: Database, request: Request) -> PoolView:
    """How many seats were bought, who holds which, how many are free."""
    row = await db.fetchrow(SQL["pool"], subscription_id)
    if row is None or not sees(actor, customer=row["customer"], publisher=row["publisher"]):
        raise unknown("pool of seats")
    now = request.app.state.parts.clocks.time_of(row["customer"])
    return PoolView(**_shown(row, now), holders=await _holders(db, subscription_id))


async def _holders(db: Pool, subscription_id: str) -> list[SeatView]:
    rows = await db.fetch(SQL["holders"], subscription_id)
    return [SeatView(**dict(row)) for row in rows]


@QUERIES.get("/me/seats")
async def my_seats(actor: CurrentActor, db: Database, now: Now) -> MySeats:
    """The seats that the caller holds: whether they can be used, with updates, and until when."""
    rows = await db.fetch(SQL["my_seats"], actor.account_id)
    return MySeats(items=[_my_seat(_shown(row, now)) for row in rows])


def _my_seat(shown: dict[str, Any]) -> MySeat:
    access = shown["phase"] in ("active", "expired")
    return MySeat(**shown, access=access, updates=access and shown["has_right"])


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


@QUERIES.get("/contracts/{contract_id}/credits")
async def contract_credits(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    limit: Annotated[WrittenCount, Query(ge=1, le=500)] = 200,
    after: WrittenCount = 0,
) -> CreditsView:
    """What is left of the contract's credits, and the ledger that explains it."""
    contract = await db.fetchrow(SQL["contract"], contract_id)
    if contract is None or not sees(actor, customer=contract["customer"], publisher=contract["publisher"]):
        raise unknown("contract")
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
