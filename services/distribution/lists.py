"""distribution's lists: updates, groups, decisions, rollouts, and what machines install."""

import json
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from services.distribution.domain.entitlements import EntitledPool
from services.distribution.domain.groups import DEFAULT_GROUP
from services.distribution.windows import is_open
from shared import days
from shared.events import MaintenanceWindow, RolloutPhase
from shared.events.distribution import Severity, UpdateKind
from shared.events.fields import DerivedIdentifier, Identifier, OptionalCode, OptionalName, OptionalPublisher
from shared.runtime.access import require_access
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, Database, Now
from shared.runtime.lists import By, Listing, Page, Search, searched
from shared.runtime.scopes import machines
from shared.sql import Queryable, Row, statements

SQL: Final = statements(__file__)

LISTS: Final = APIRouter(route_class=ListRoute)


# ── Updates ────────────────────────────────────────────────────────────────────────────────────────────


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


def update_view(row: Row) -> UpdateView:
    """Return the view of a row of `updates`."""
    return UpdateView(**dict(row))


async def visible_updates(db: Queryable, contract_id: str, now: datetime) -> tuple[list[str], list[str], list[str]]:
    """Return which updates the contract's administrators can see, as three parallel columns.

    The columns are products, publishers and kinds of updates.
    """
    rows = await db.fetch(SQL["owned_products"], contract_id)
    pools = [
        EntitledPool(
            product=row["product"],
            publisher=row["publisher"],
            in_term=row["in_term"] and days.begins(row["starts"], row["time_zone"]) <= now,
        )
        for row in rows
    ]
    visible = [(pool.product, pool.publisher, kind) for pool in pools for kind in pool.kinds_shown]
    products = [product for product, _, _ in visible]
    publishers = [publisher for _, publisher, _ in visible]
    kinds: list[str] = [kind for _, _, kind in visible]
    return products, publishers, kinds


UPDATES: Final = Listing(
    SQL["available_updates"],
    key="event_id",
    sorts={
        "event_id": By(),
        "published_at": By(datetime),
        "product": By(),
        "title": By(),
        "severity": By(),
        "size_bytes": By(int),
    },
    order="event_id",
)


@LISTS.get("/contracts/{contract_id}/updates")
async def available_updates(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    now: Now,
    page: Annotated[Page, Depends(UPDATES.page)],
    product: OptionalCode = "",
    publisher: OptionalPublisher = "",
    kind: UpdateKind | None = None,
    severity: Severity | None = None,
    platform: OptionalCode = "",
    q: Search = "",
) -> UpdateList:
    """List the updates and extensions available for the products that the contract owns.

    Of the versions of one product on one platform only the newest is available.
    """
    await require_access(db, actor, contract_id)
    where = (product or None, publisher or None, kind, severity, platform or None, searched(q))
    found = await UPDATES.fetch(db, page, *await visible_updates(db, contract_id, now), *where)
    return UpdateList(items=[update_view(row) for row in found.rows], next=found.next)


# ── Groups, policies, decisions ────────────────────────────────────────────────────────────────────────


class GroupView(BaseModel):
    group_id: str
    name: str
    members: list[str]
    """Empty for the default group, which has every user that is in no other group."""


class GroupList(BaseModel):
    items: list[GroupView]
    next: str | None


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
    next: str | None


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


def _windows(stored: str | None) -> list[MaintenanceWindow]:
    return [MaintenanceWindow.from_row(json.dumps(window)) for window in json.loads(stored or "[]")]


GROUPS: Final = Listing(
    SQL["groups"],
    key="group_id",
    sorts={"name": By(str, "by_name"), "group_id": By(), "cadence": By()},
    order="name",
    limit=200,  # who reads no `next` got all of them
)


@LISTS.get("/contracts/{contract_id}/groups")
async def groups(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(GROUPS.page)],
    member: Identifier | None = None,
    q: Search = "",
) -> GroupList:
    """List the groups of the contract's users, the default group first."""
    await require_access(db, actor, contract_id)
    found = await GROUPS.fetch(db, page, contract_id, DEFAULT_GROUP, member, searched(q))
    items = [GroupView(group_id=r["group_id"], name=r["name"], members=r["members"]) for r in found.rows]
    return GroupList(items=items, next=found.next)


@LISTS.get("/contracts/{contract_id}/policies")
async def policies(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(GROUPS.page)],
    member: Identifier | None = None,
    q: Search = "",
) -> PolicyList:
    """List the groups' policies: cadence, minimum age of updates and maintenance windows."""
    await require_access(db, actor, contract_id)
    found = await GROUPS.fetch(db, page, contract_id, DEFAULT_GROUP, member, searched(q))
    items = [
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
        for r in found.rows
    ]
    return PolicyList(items=items, next=found.next)


DECISIONS: Final = Listing(
    SQL["decisions"],
    key="cursor",
    sorts={
        "event_id": By(),
        "update_id": By(),
        "group_id": By(),
        "decision": By(),
        "starts_at": By(datetime, "by_starts_at"),
    },
    order="event_id",
)


@LISTS.get("/contracts/{contract_id}/decisions")
async def decisions(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(DECISIONS.page)],
    group_id: Identifier | None = None,
    decision: OptionalCode = "",
    publisher: OptionalPublisher = "",
    update_id: Identifier | None = None,
    q: Search = "",
) -> DecisionList:
    """List the latest decision about each update for each group, in the order of the decisions."""
    await require_access(db, actor, contract_id)
    where = (group_id, decision or None, publisher or None, update_id, searched(q))
    found = await DECISIONS.fetch(db, page, contract_id, *where)
    return DecisionList(items=[DecisionView(**dict(row)) for row in found.rows], next=found.next)


# ── Rollouts ───────────────────────────────────────────────────────────────────────────────────────────


RolloutStatus: TypeAlias = Literal["running", "paused", "completed", "stopped"]


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


def rollout_summary(row: Row) -> dict[str, object]:
    """Return the fields of a rollout's summary."""
    return dict(row) | {"phases": [RolloutPhase.from_row(json.dumps(phase)) for phase in json.loads(row["phases"])]}


ROLLOUTS: Final = Listing(
    SQL["rollouts"],
    key="rollout_id",
    sorts={
        "event_id": By(),
        "status": By(),
        "update_id": By(),
        "targets": By(int),
        "succeeded": By(int),
        "failed": By(int),
    },
    order="event_id",
)


@LISTS.get("/contracts/{contract_id}/rollouts")
async def rollouts(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(ROLLOUTS.page)],
    status: RolloutStatus | None = None,
    publisher: OptionalPublisher = "",
    update_id: Identifier | None = None,
    group_id: DerivedIdentifier | None = None,
    q: Search = "",
) -> RolloutList:
    """List the contract's rollouts with their status, in the order of their starts."""
    await require_access(db, actor, contract_id)
    where = (status, publisher or None, update_id, group_id, searched(q))
    found = await ROLLOUTS.fetch(db, page, contract_id, *where)
    items = [RolloutSummary.model_validate(rollout_summary(row)) for row in found.rows]
    return RolloutList(items=items, next=found.next)


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
    next: str | None


OFFERS: Final = Listing(
    key="rollout_id",
    sorts={"rollout_id": By(), "product": By(), "title": By(), "update_id": By()},
    order="rollout_id",
    limit=200,  # machines that read no `next` get all of them
)


@LISTS.get("/me/updates", openapi_extra=machines("read", "installs:report"))
async def my_updates(
    actor: CurrentActor,
    db: Database,
    now: Now,
    page: Annotated[Page, Depends(OFFERS.page)],
    machine: OptionalName = "",
) -> OfferList:
    """List the updates that the caller's machines, or this one, should install now.

    Updates outside of their group's maintenance windows, and those that the machine has reported as installed, are
    left out.
    """
    rows = await db.fetch(SQL["my_updates"], actor.account_id, machine, DEFAULT_GROUP)
    offers = [Offer(**dict(row)) for row in rows if is_open(_windows(row["windows"]), now)]
    mine = OFFERS.select(page, offers)
    return OfferList(items=mine.items, next=mine.next)
