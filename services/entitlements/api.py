"""entitlements' doors and queries. What they administer, `shared.runtime.access` guards."""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from fastapi import APIRouter, Query
from pydantic import BaseModel

from services.entitlements.domain.credits import CREDITS, ConsumeCredits, GrantCredits
from services.entitlements.domain.seat_pool import SEAT_POOL, AssignSeat, UnassignSeat
from shared.runtime.access import require_access
from shared.runtime.auth import Actor
from shared.runtime.doors import Call, Doors, Pool, Target
from shared.runtime.http import CurrentActor, Database, Limit
from shared.runtime.problems import Problem, unknown

SELLERS: Final = ("publisher", "operator")
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
    await _require_user(call, call.body.account_id, pool["customer"])
    return Target(pool["subscription_id"], assigned_by=call.actor.account_id)


async def _unassign(call: Call) -> Target:
    pool = await _administered(call)
    return Target(pool["subscription_id"], unassigned_by=call.actor.account_id)


async def _require_user(call: Call, account_id: str, customer: str) -> None:
    """Raises `user-unknown` unless it is an open account of the customer's organisation."""
    person = await call.db.fetchrow("select organisation_id, closed from people where account_id = $1", account_id)
    if person is None or person["organisation_id"] != customer or person["closed"]:
        raise Problem(
            409, rule="user-unknown", reason="No open account of the customer's organisation has this id.",
            remedy="Check the id; a person who has just signed up is known here a moment later.",
        )  # fmt: skip


DOORS.post("/pools/{subscription_id}/seats", SEAT_POOL, AssignSeat, supply=_assign, bulk=True)
DOORS.bulk("/pools/{subscription_id}/seats/unassign/bulk", SEAT_POOL, UnassignSeat, supply=_unassign)
DOORS.delete("/pools/{subscription_id}/seats/{account_id}", SEAT_POOL, UnassignSeat, supply=_unassign)


async def _contract_of(call: Call) -> Any:
    """The contract of the path, if the caller has to do with it."""
    row = await call.db.fetchrow("select * from contracts where contract_id = $1", call.path["contract_id"])
    if row is None or not _sees(call.actor, row["customer"]):
        raise unknown("contract")
    return row


async def _grant(call: Call) -> Target:
    contract = await _contract_of(call)
    if call.actor.organisation_kind not in SELLERS:
        raise Problem(
            403, rule="not-a-publisher", reason="Only the publisher or the operator grants credits.",
            remedy="Ask the publisher.",
        )  # fmt: skip
    customer = contract["customer"]
    if call.body.account_id is not None:
        await _require_user(call, call.body.account_id, customer)
    return Target(
        contract["contract_id"], customer=customer, granted_by=call.actor.account_id, now=call.time_of(customer)
    )


async def _consume(call: Call) -> Target:
    contract = await _contract_of(call)
    account_id = call.body.account_id or call.actor.account_id
    if account_id != call.actor.account_id and call.actor.organisation_kind not in SELLERS:
        raise Problem(
            403, rule="credits-of-another", reason="You can spend credits for yourself only.",
            remedy="Leave account_id out.",
        )  # fmt: skip
    holds = await call.db.fetchval(
        "select exists (select from seats s join pools p using (subscription_id) where s.account_id = $1 "
        "and p.contract_id = $2 and p.phase in ('active', 'expired'))",
        account_id, contract["contract_id"],
    )  # fmt: skip
    if not holds:
        raise Problem(
            409, rule="seat-needed", reason="The user holds no seat of this contract that can be used.",
            remedy="Ask an administrator of the contract for a seat.",
        )  # fmt: skip
    return Target(contract["contract_id"], account_id=account_id, now=call.time_of(contract["customer"]))


DOORS.post("/contracts/{contract_id}/credits/grants", CREDITS, GrantCredits, supply=_grant, bulk=True)
DOORS.post("/contracts/{contract_id}/credits/consumptions", CREDITS, ConsumeCredits, supply=_consume)


def _sees(actor: Actor, customer: str) -> bool:
    return actor.organisation_id == customer or actor.organisation_kind in SELLERS


Phase: TypeAlias = Literal["active", "expired", "suspended", "ended"]
"""Active: in its term. Expired: the term is over, seats can be used. Suspended: they can't. Ended: all taken back."""


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
    """Whether its users have the right to updates and upgrades."""


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
    phase: Phase
    until: date | None
    access: bool
    """Whether it can be used."""
    updates: bool


class MySeats(BaseModel):
    items: list[MySeat]


_SUMMARY: Final = """
    select p.subscription_id, p.contract_id, p.product, p.product_name, p.seats, p.starts, p.ends, p.customer,
           p.phase, p.until, p.update_csn is not null as updates,
           count(s.seat)::int as assigned, p.seats - count(s.seat)::int as free
    from pools p left join seats s using (subscription_id)"""


@QUERIES.get("/pools")
async def pools(
    actor: CurrentActor,
    db: Database,
    contract_id: str | None = None,
    limit: Limit = 50,
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
    """The seats that the caller holds: whether they can be used, with updates, and until when."""
    rows = await db.fetch(
        "select s.subscription_id, p.product, p.product_name, s.seat, p.ends, p.phase, p.until, "
        "p.phase in ('active', 'expired') as access, p.update_csn is not null as updates from seats s "
        "join pools p using (subscription_id) where s.account_id = $1 order by p.product, s.subscription_id",
        actor.account_id,
    )
    return MySeats(items=[MySeat(**dict(row)) for row in rows])


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
    contract_id: str,
    actor: CurrentActor,
    db: Database,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
    after: Annotated[int, Query(ge=0)] = 0,
) -> CreditsView:
    """What is left of the contract's credits, and the ledger that explains it."""
    customer = await db.fetchval("select customer from contracts where contract_id = $1", contract_id)
    if customer is None or not _sees(actor, customer):
        raise unknown("contract")
    lots = await db.fetch(
        "select grant_id, account_id, granted, remaining, expires_on from credit_lots "
        "where contract_id = $1 and remaining > 0 order by account_id nulls last, expires_on, grant_id",
        contract_id,
    )
    entries = await db.fetch(
        "select * from (select *, (sum(amount) over (order by version, line))::bigint as balance from credit_entries "
        "where contract_id = $1) as entries where version in (select distinct version from credit_entries "
        "where contract_id = $1 and version > $2 order by version limit $3) order by version, line",
        contract_id, after, limit,
    )  # fmt: skip
    whole_page = len({entry["version"] for entry in entries}) == limit
    individual: dict[str, int] = {}
    for lot in lots:
        if lot["account_id"] is not None:
            individual[lot["account_id"]] = individual.get(lot["account_id"], 0) + lot["remaining"]
    balance = sum(lot["remaining"] for lot in lots)
    return CreditsView(
        contract_id=contract_id, balance=balance, pool=balance - sum(individual.values()), individual=individual,
        lots=[LotView(**dict(lot)) for lot in lots], entries=[EntryView(**dict(entry)) for entry in entries],
        next=entries[-1]["version"] if whole_page else None,
    )  # fmt: skip
