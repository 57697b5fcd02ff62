"""entitlements' queries: seat pools, seats, and a contract's credits."""

from datetime import date
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field, Strict

from services.entitlements.domain.credits import CREDITS
from services.entitlements.domain.seat_pool import SEAT_POOL
from services.entitlements.lists import (
    LISTS,
    POOLS,
    EntryView,
    PoolFilters,
    PoolView,
    SeatView,
    customer_of,
    sees_pool,
    shown,
    visible_contract,
)
from services.entitlements.past import pool_then
from shared.events.fields import Identifier
from shared.runtime import outcomes
from shared.runtime.as_of import AsOf
from shared.runtime.database import Pool
from shared.runtime.exports import ListRoute
from shared.runtime.histories import History, HistoryPage, history_of
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.problems import unknown
from shared.runtime.versions import shown_by_tables
from shared.runtime.written import WRITTEN, WrittenCount
from shared.sql import statements

SQL: Final = statements(__file__)

QUERIES: Final = APIRouter(route_class=ListRoute)

QUERIES.routes.extend(LISTS.routes)
QUERIES.routes.extend(outcomes.QUERIES.routes)


@QUERIES.get("/pools/{subscription_id}", dependencies=[shown_by_tables(SEAT_POOL, "{subscription_id}")])
async def pool(
    subscription_id: Identifier, actor: CurrentActor, db: Database, request: Request, as_of: AsOf
) -> PoolView:
    """Return a pool: its number of seats, their holders, and the number of free seats."""
    row = await POOLS.one(db, *PoolFilters().arguments(subscription_id=subscription_id))
    if row is None or not sees_pool(actor, row):
        raise unknown("pool of seats")
    if as_of is not None:
        return await as_of.show(SEAT_POOL, subscription_id, row["customer"], pool_then)
    now = request.app.state.parts.clocks.time_of(row["customer"])
    return PoolView.model_validate(shown(row, now) | {"holders": await _holders(db, subscription_id)})


@QUERIES.get("/pools/{subscription_id}/history")
async def pool_history(
    subscription_id: Identifier, actor: CurrentActor, db: Database, log: CurrentLog, page: HistoryPage
) -> History:
    """List what happened to a pool: who did what, when and why."""
    await customer_of(db, actor, subscription_id)
    return await history_of(log, SEAT_POOL, subscription_id, page)


async def _holders(db: Pool, subscription_id: str) -> list[SeatView]:
    rows = await db.fetch(SQL["holders_of"], subscription_id)
    return [SeatView(**dict(row)) for row in rows]


class LotView(BaseModel):
    grant_id: str
    account_id: str | None
    granted: int
    remaining: int
    expires_on: date


class CreditsView(BaseModel):
    contract_id: str
    balance: int
    pool: int
    individual: dict[str, int]
    time_zone: Literal["UTC"] = "UTC"
    """The zone of the days on which credits expire."""
    lots: list[LotView]
    """The grants that have credits left; all others are in the entries only."""
    entries: list[EntryView]
    next: int | None
    """Send it as `after` for the next entries; null at the end."""


@QUERIES.get("/contracts/{contract_id}/credits", dependencies=[shown_by_tables(CREDITS, "{contract_id}")])
async def contract_credits(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    limit: Annotated[int, Strict(), Field(ge=1, le=500), WRITTEN, Query()] = 200,
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
