"""distribution's lists: updates, groups, decisions, rollouts, and what machines install."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from services.distribution.domain.entitlements import EntitledPool
from services.distribution.domain.groups import DEFAULT_GROUP
from services.distribution.windows import opens_at
from shared import days
from shared.events import MaintenanceWindow, RolloutPhase
from shared.events.distribution import Severity, UpdateKind
from shared.events.fields import Address, DerivedIdentifier, Identifier, OptionalCode, OptionalName, OptionalPublisher
from shared.runtime.access import require_access
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, Database, Now
from shared.runtime.lists import By, Listing, ListOf, Page, Search, searched
from shared.runtime.people import person_of_list
from shared.runtime.scopes import machines
from shared.sql import Queryable, Row, statements

SQL: Final = statements(__file__)

LISTS: Final = APIRouter(route_class=ListRoute)

V = TypeVar("V", bound=BaseModel)


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
    supersedes: list[str]
    """The older versions that it replaces, the newest first, at most twenty."""
    approved: list[str]
    """The contract's groups for which it is approved."""
    held: list[str]
    scheduled: list[str]


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
    visible = sorted({(pool.product, pool.publisher, kind) for pool in pools for kind in pool.kinds_shown})
    products = [product for product, _, _ in visible]
    publishers = [publisher for _, publisher, _ in visible]
    kinds: list[str] = [kind for _, _, kind in visible]
    return products, publishers, kinds


UPDATES: Final = Listing(
    SQL["available_updates"],
    rows=SQL["update_rows"],
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


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFilters:
    """The filters of the list of available updates."""

    product: OptionalCode = ""
    publisher: OptionalPublisher = ""
    kind: UpdateKind | None = None
    severity: Severity | None = None
    platform: OptionalCode = ""
    decision: Literal["none", "approved", "held", "scheduled"] | None = None
    q: Search = ""

    def arguments(self, contract_id: str, update_id: str | None = None) -> tuple[str | None, ...]:
        """Return the values of the statement's parameters from `$9` on."""
        what = (self.product or None, self.publisher or None, self.kind, self.severity, self.platform or None)
        return (*what, searched(self.q), update_id, contract_id, self.decision)


@LISTS.get("/contracts/{contract_id}/updates")
async def available_updates(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    now: Now,
    page: Annotated[Page, Depends(UPDATES.page)],
    filters: Annotated[UpdateFilters, Depends()],
) -> ListOf[UpdateView]:
    """List the updates and extensions available for the products that the contract owns.

    Of the versions of one product on one platform only the newest is available.
    """
    await require_access(db, actor, contract_id)
    visible = await visible_updates(db, contract_id, now)
    where = filters.arguments(contract_id)
    return await UPDATES.show(db, page, UpdateView, *visible, *where, rows_for=(contract_id,))


# ── Groups, policies, decisions ────────────────────────────────────────────────────────────────────────


class GroupView(BaseModel):
    group_id: str
    name: str
    members: list[str]
    """Empty for the default group, which has every user that is in no other group."""


class PolicyView(BaseModel):
    group_id: str
    cadence: str
    period: str | None
    days: int
    critical_period: str | None
    critical_days: int
    windows: list[MaintenanceWindow]
    set_by: str | None


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


def _windows(stored: str | None) -> list[MaintenanceWindow]:
    return [MaintenanceWindow.from_row(json.dumps(window)) for window in json.loads(stored or "[]")]


def _policy_view(row: Row) -> PolicyView:
    return PolicyView.model_validate(dict(row) | {"windows": _windows(row["windows"]), "set_by": row["policy_set_by"]})


GROUPS: Final = Listing(
    SQL["groups"],
    key="group_id",
    sorts={"name": By(str, "by_name"), "group_id": By(), "cadence": By()},
    order="name",
    limit=200,  # who reads no `next` got all of them
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsAsked:
    """Which of a contract's groups are asked for."""

    contract_id: Identifier
    request: Request
    page: Annotated[Page, Depends(GROUPS.page)]
    member: Identifier | None = None
    member_email: Address | None = None
    """The member's e-mail address, in place of the account id."""
    q: Search = ""

    async def show(self, actor: Actor, db: Pool, view: type[V] | Callable[[Row], V]) -> ListOf[V]:
        """Return these groups. Raises Problem 403 unless the caller administers the contract."""
        await require_access(db, actor, self.contract_id)
        member = await person_of_list(self.request, self.member, self.member_email, of="member")
        return await GROUPS.show(db, self.page, view, self.contract_id, DEFAULT_GROUP, member, searched(self.q))


@LISTS.get("/contracts/{contract_id}/groups")
async def groups(actor: CurrentActor, db: Database, asked: Annotated[GroupsAsked, Depends()]) -> ListOf[GroupView]:
    """List the groups of the contract's users, the default group first."""
    return await asked.show(actor, db, GroupView)


@LISTS.get("/contracts/{contract_id}/policies")
async def policies(actor: CurrentActor, db: Database, asked: Annotated[GroupsAsked, Depends()]) -> ListOf[PolicyView]:
    """List the groups' policies: cadence, minimum age of updates and maintenance windows."""
    return await asked.show(actor, db, _policy_view)


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
) -> ListOf[DecisionView]:
    """List the latest decision about each update for each group, in the order of the decisions."""
    await require_access(db, actor, contract_id)
    where = (group_id, decision or None, publisher or None, update_id, searched(q))
    return await DECISIONS.show(db, page, DecisionView, contract_id, *where)


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
    product: str
    title: str
    """The update's."""


def rollout_fields(row: Row) -> dict[str, object]:
    """Return the fields of a rollout's summary."""
    return dict(row) | {"phases": [RolloutPhase.from_row(json.dumps(phase)) for phase in json.loads(row["phases"])]}


def _rollout_summary(row: Row) -> RolloutSummary:
    return RolloutSummary.model_validate(rollout_fields(row))


ROLLOUTS: Final = Listing(
    SQL["rollouts"],
    key="rollout_id",
    sorts={
        "event_id": By(),
        "status": By(),
        "update_id": By(),
        "title": By(),
        "targets": By(int),
        "succeeded": By(int),
        "failed": By(int),
    },
    order="event_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFilters:
    """The filters of a contract's rollouts."""

    status: RolloutStatus | None = None
    publisher: OptionalPublisher = ""
    update_id: Identifier | None = None
    group_id: DerivedIdentifier | None = None
    q: Search = ""

    def arguments(self, rollout_id: str | None = None) -> tuple[str | None, ...]:
        """Return the values of the statement's parameters from `$7` on."""
        return (self.status, self.publisher or None, self.update_id, self.group_id, searched(self.q), rollout_id)


@LISTS.get("/contracts/{contract_id}/rollouts")
async def rollouts(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(ROLLOUTS.page)],
    filters: Annotated[RolloutFilters, Depends()],
) -> ListOf[RolloutSummary]:
    """List the contract's rollouts with their status, in the order of their starts."""
    await require_access(db, actor, contract_id)
    return await ROLLOUTS.show(db, page, _rollout_summary, contract_id, *filters.arguments())


# ── For the users' machines ────────────────────────────────────────────────────────────────────────────


Waits: TypeAlias = Literal["phase", "resumption", "window"]


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
    waits_for: Waits | None
    """What has to come before it is installed: the user's phase, the end of a pause, or a maintenance window."""
    opens_at: datetime | None
    """When the next maintenance window opens, if it waits for one."""
    installed_on: list[str]
    """The user's machines that have it."""
    failed_on: list[str]
    """The user's machines that could not install it."""


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
    due: Literal["now", "any"] = "now",
) -> ListOf[Offer]:
    """List the updates that the caller's machines, or this one, should install now.

    Updates outside of their group's maintenance windows, and those that the machine has reported as installed, are
    left out. With `due=any` those that come later are listed, too, with what they wait for.
    """
    rows = await db.fetch(SQL["my_updates"], actor.account_id, machine, DEFAULT_GROUP, due == "any")
    offers = [_offer(row, now) for row in rows]
    return OFFERS.select(page, [offer for offer in offers if due == "any" or offer.waits_for is None])


def _offer(row: Row, now: datetime) -> Offer:
    opens = opens_at(_windows(row["windows"]), now)
    waits_for: Waits | None = "window" if opens is not None else None
    if row["paused"]:
        waits_for = "resumption"
    if not row["begun"]:
        waits_for = "phase"
    return Offer(**dict(row), waits_for=waits_for, opens_at=opens if waits_for == "window" else None)
