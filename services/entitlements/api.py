"""entitlements' routes and queries. What they administer, `shared.runtime.access` guards."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from services.entitlements.domain import rules
from services.entitlements.domain.credits import CREDITS, ConsumeCredits, GrantCredits, utc_day
from services.entitlements.domain.seat_pool import SEAT_POOL, AssignSeat, UnassignSeat
from services.entitlements.facts import account, last_steps, pools_for
from services.entitlements.policies import policy_of
from shared.events.fields import Identifier, WrittenCount
from shared.runtime.access import require_access
from shared.runtime.database import Pool
from shared.runtime.http import After, CurrentActor, Database, Limit, Now
from shared.runtime.problems import Problem, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.visibility import SELLERS, listed, sees
from shared.sql import Row, statements

SQL: Final = statements(__file__)

COMMANDS: Final = CommandRoutes()
QUERIES: Final = APIRouter()


async def _administered(context: RequestContext[object], subscription_id: str) -> None:
    """Raise Problem 404 or 403 unless the caller may assign the pool's seats."""
    row = await context.db.fetchrow(SQL["administered_pool"], subscription_id)
    if row is None or not sees(context.actor, customer=row["customer"], publisher=row["publisher"]):
        raise unknown("pool of seats")
    await require_access(context.db, context.actor, row["contract_id"], assign_seats=True)


@COMMANDS.route("POST", "/pools/{subscription_id}/seats/bulk", SEAT_POOL, bulk=True)
@COMMANDS.route("POST", "/pools/{subscription_id}/seats", SEAT_POOL)
async def assign_seat(context: RequestContext[AssignSeat], subscription_id: str) -> Addressed[AssignSeat]:
    await _administered(context, subscription_id)
    user = await account(context.db, context.asked.account_id)
    return Addressed(subscription_id, replace(context.asked, assigned_by=context.actor.account_id, user=user))


@COMMANDS.route("DELETE", "/pools/{subscription_id}/seats/{account_id}", SEAT_POOL)
@COMMANDS.route("POST", "/pools/{subscription_id}/seats/unassign/bulk", SEAT_POOL, bulk=True)
async def unassign_seat(context: RequestContext[UnassignSeat], subscription_id: str) -> Addressed[UnassignSeat]:
    await _administered(context, subscription_id)
    return Addressed(subscription_id, replace(context.asked, unassigned_by=context.actor.account_id))


class _Contract(NamedTuple):
    """Whose contract it is, and with which publisher."""

    customer: str
    publisher: str


async def _contract(context: RequestContext[object], contract_id: str) -> _Contract:
    """Return the contract, if the caller has to do with it. Raises Problem 404."""
    row = await context.db.fetchrow(SQL["contract"], contract_id)
    if row is None or not sees(context.actor, customer=row["customer"], publisher=row["publisher"]):
        raise unknown("contract")
    return _Contract(row["customer"], row["publisher"])


@COMMANDS.route("POST", "/contracts/{contract_id}/credits/grants/bulk", CREDITS, bulk=True)
@COMMANDS.route("POST", "/contracts/{contract_id}/credits/grants", CREDITS)
async def grant_credits(context: RequestContext[GrantCredits]) -> Addressed[GrantCredits]:
    asked = context.asked
    contract = await _contract(context, asked.contract_id)
    if context.actor.organisation_kind not in SELLERS:
        raise Problem(
            403,
            rule=rules.NOT_A_PUBLISHER,
            reason="Only the publisher or the operator grants credits.",
            remedy="Ask the publisher.",
        )
    command = replace(
        asked,
        customer=contract.customer,
        granted_by=context.actor.account_id,
        now=context.time_of(contract.customer),
        policy=policy_of(contract.publisher),
        user=None if asked.account_id is None else await account(context.db, asked.account_id),
        over=await last_steps(context.db, context.log, asked.contract_id),
    )
    return Addressed(asked.contract_id, command)


@COMMANDS.route("POST", "/contracts/{contract_id}/credits/consumptions", CREDITS, scopes=("credits:consume",))
async def consume_credits(context: RequestContext[ConsumeCredits]) -> Addressed[ConsumeCredits]:
    asked, actor = context.asked, context.actor
    contract = await _contract(context, asked.contract_id)
    account_id, now = asked.account_id or actor.account_id, context.time_of(contract.customer)
    if actor.organisation_kind not in SELLERS and account_id != actor.account_id:
        raise Problem(
            403,
            rule=rules.CREDITS_OF_ANOTHER,
            reason="You can spend credits for yourself only.",
            remedy="Leave account_id out.",
        )
    pools = await pools_for(context.db, context.log, asked.contract_id, account_id, utc_day(now))
    return Addressed(asked.contract_id, replace(asked, account_id=account_id, now=now, pools=pools))


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
