"""distribution's queries, for a contract's administrators and for its users' machines."""

import json
from datetime import datetime
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel

from services.distribution.domain.entitlements import EntitledPool, term_begins
from services.distribution.domain.groups import DEFAULT_GROUP
from services.distribution.windows import is_open
from shared.events import MaintenanceWindow, RolloutPhase
from shared.events.fields import DerivedIdentifier, Identifier, OptionalName, Publisher
from shared.runtime.access import require_access
from shared.runtime.http import After, CurrentActor, Database, Limit, Now
from shared.runtime.problems import unknown
from shared.runtime.scopes import machines
from shared.sql import Queryable, Row, statements

SQL: Final = statements(__file__)

QUERIES: Final = APIRouter()


class UpdateView(BaseModel):
    publisher: str
    update_id: str
    product: str
    kind: str
    title: str
    version: str
    platform: str
    severity: str
    sha256: str
    size_bytes: int
    location: str
    published_at: datetime
    component: str
    event_id: str


class UpdateList(BaseModel):
    items: list[UpdateView]
    next: str | None


def _view(row: Row) -> UpdateView:
    return UpdateView(**dict(row))


async def _visible(db: Queryable, contract_id: str, now: datetime) -> tuple[list[str], list[str], list[str]]:
    """Return which updates the contract's administrators can see, as three parallel columns.

    The columns are products, publishers and kinds of updates.
    """
    rows = await db.fetch(SQL["owned_products"], contract_id)
    pools = [
        EntitledPool(
            product=row["product"],
            publisher=row["publisher"],
            in_term=row["in_term"] and term_begins(row["starts"]) <= now,
        )
        for row in rows
    ]
    visible = [(pool.product, pool.publisher, kind) for pool in pools for kind in pool.kinds_shown]
    products = [product for product, _, _ in visible]
    publishers = [publisher for _, publisher, _ in visible]
    kinds: list[str] = [kind for _, _, kind in visible]
    return products, publishers, kinds


@QUERIES.get("/contracts/{contract_id}/updates")
async def available_updates(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    now: Now,
    limit: Limit = 50,
    after: After = "",
) -> UpdateList:
    """List the updates and extensions available for the products that the contract owns.

    Of the versions of one product on one platform only the newest is available.
    """
    await require_access(db, actor, contract_id)
    rows = await db.fetch(SQL["available_updates"], *await _visible(db, contract_id, now), after, limit)
    following = rows[-1]["event_id"] if len(rows) == limit else None
    return UpdateList(items=[_view(row) for row in rows], next=following)


@QUERIES.get("/contracts/{contract_id}/updates/{publisher}/{update_id}")
async def available_update(
    contract_id: Identifier, publisher: Publisher, update_id: Identifier, actor: CurrentActor, db: Database, now: Now
) -> UpdateView:
    """Return one of the available updates."""
    await require_access(db, actor, contract_id)
    row = await db.fetchrow(SQL["available_update"], *await _visible(db, contract_id, now), publisher, update_id)
    if row is None:
        raise unknown("update", "See GET /contracts/{contract_id}/updates for those that are available.")
    return _view(row)


# ── Groups, policies, decisions ────────────────────────────────────────────────────────────────────────


class GroupView(BaseModel):
    group_id: str
    name: str
    members: list[str]
    """Empty for the default group, which has every user that is in no other group."""


class GroupList(BaseModel):
    items: list[GroupView]


class PolicyView(BaseModel):
    group_id: str
    cadence: str
    period: str | None
    days: int
    critical_period: str | None
    critical_days: int
    windows: list[MaintenanceWindow]
    set_by: str | None


class PolicyList(BaseModel):
    items: list[PolicyView]


class DecisionView(BaseModel):
    publisher: str
    update_id: str
    group_id: str
    decision: str
    starts_at: datetime | None
    reason: str | None
    rollout_id: str | None
    decided_by: str
    event_id: str


class DecisionList(BaseModel):
    items: list[DecisionView]
    next: str | None


@QUERIES.get("/contracts/{contract_id}/groups")
async def groups(contract_id: Identifier, actor: CurrentActor, db: Database) -> GroupList:
    """List the groups of the contract's users, the default group first."""
    await require_access(db, actor, contract_id)
    rows = await db.fetch(SQL["groups"], contract_id, DEFAULT_GROUP)
    return GroupList(items=[GroupView(group_id=r["group_id"], name=r["name"], members=r["members"]) for r in rows])


@QUERIES.get("/contracts/{contract_id}/policies")
async def policies(contract_id: Identifier, actor: CurrentActor, db: Database) -> PolicyList:
    """List the groups' policies: cadence, minimum age of updates and maintenance windows."""
    await require_access(db, actor, contract_id)
    rows = await db.fetch(SQL["groups"], contract_id, DEFAULT_GROUP)
    return PolicyList(
        items=[
            PolicyView(
                group_id=r["group_id"],
                cadence=r["cadence"],
                period=r["period"],
                days=r["days"],
                critical_period=r["critical_period"],
                critical_days=r["critical_days"],
                windows=_windows(r["windows"]),
                set_by=r["policy_set_by"],
            )
            for r in rows
        ]
    )


def _windows(stored: str | None) -> list[MaintenanceWindow]:
    return [MaintenanceWindow.from_row(json.dumps(window)) for window in json.loads(stored or "[]")]


@QUERIES.get("/contracts/{contract_id}/decisions")
async def decisions(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    limit: Limit = 50,
    after: After = "",
) -> DecisionList:
    """List the latest decision about each update for each group, in the order of the decisions."""
    await require_access(db, actor, contract_id)
    rows = await db.fetch(SQL["decisions"], contract_id, after, limit)
    following = rows[-1]["cursor"] if len(rows) == limit else None
    return DecisionList(items=[DecisionView(**dict(row)) for row in rows], next=following)


# ── Rollouts ───────────────────────────────────────────────────────────────────────────────────────────


class RolloutSummary(BaseModel):
    rollout_id: str
    publisher: str
    update_id: str
    version: str
    groups: list[str]
    phases: list[RolloutPhase]
    status: str
    phase: int
    """The number of the current phase, from 1; 0 before the first phase."""
    reason: str | None
    targets: int
    succeeded: int
    failed: int
    started_by: str
    event_id: str


class RolloutList(BaseModel):
    items: list[RolloutSummary]
    next: str | None


class TargetView(BaseModel):
    account_id: str
    group_id: str
    phase: int
    removed: str | None
    succeeded: int
    """The number of the user's machines that reported success."""
    failed: int
    """The number of the user's machines that reported a failure."""


class HistoryView(BaseModel):
    type: str
    at: datetime
    actor: str
    data: dict[str, object]
    event_id: str


class RolloutView(RolloutSummary):
    users: list[TargetView]
    history: list[HistoryView]


def _summary(row: Row) -> dict[str, object]:
    return dict(row) | {"phases": [RolloutPhase.from_row(json.dumps(phase)) for phase in json.loads(row["phases"])]}


@QUERIES.get("/contracts/{contract_id}/rollouts")
async def rollouts(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    limit: Limit = 50,
    after: After = "",
) -> RolloutList:
    """List the contract's rollouts with their status, in the order of their starts."""
    await require_access(db, actor, contract_id)
    rows = await db.fetch(SQL["rollouts"], contract_id, after, limit)
    following = rows[-1]["event_id"] if len(rows) == limit else None
    return RolloutList(items=[RolloutSummary.model_validate(_summary(row)) for row in rows], next=following)


@QUERIES.get("/contracts/{contract_id}/rollouts/{rollout_id}")
async def rollout(
    contract_id: Identifier, rollout_id: DerivedIdentifier, actor: CurrentActor, db: Database
) -> RolloutView:
    """Return one rollout with its present and former targets and all of its events."""
    await require_access(db, actor, contract_id)
    row = await db.fetchrow(SQL["rollout"], contract_id, rollout_id)
    if row is None:
        raise unknown("rollout", "See GET /contracts/{contract_id}/rollouts.")
    users = await db.fetch(SQL["targets"], rollout_id)
    history = await db.fetch(SQL["history"], rollout_id)
    parts = {
        "users": [TargetView(**dict(user)) for user in users],
        "history": [HistoryView(**dict(event) | {"data": json.loads(event["data"])}) for event in history],
    }
    return RolloutView.model_validate(_summary(row) | parts)


# ── For the users' machines ────────────────────────────────────────────────────────────────────────────


class Offer(BaseModel):
    rollout_id: str
    publisher: str
    update_id: str
    product: str
    title: str
    version: str
    platform: str
    sha256: str
    size_bytes: int
    location: str


class OfferList(BaseModel):
    items: list[Offer]


@QUERIES.get("/me/updates", openapi_extra=machines("read", "installs:report"))
async def my_updates(actor: CurrentActor, db: Database, now: Now, machine: OptionalName = "") -> OfferList:
    """List the updates that the caller's machines, or this one, should install now.

    Updates outside of their group's maintenance windows, and those that the machine has reported as installed, are
    left out.
    """
    rows = await db.fetch(SQL["my_updates"], actor.account_id, machine, DEFAULT_GROUP)
    return OfferList(items=[Offer(**dict(row)) for row in rows if is_open(_windows(row["windows"]), now)])
