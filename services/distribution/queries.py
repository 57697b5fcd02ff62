"""distribution's queries, for a contract's administrators and for its users' machines."""

import json
from functools import partial
from typing import Final

from fastapi import APIRouter

from services.distribution import publisher
from services.distribution.domain.fleet import FLEET
from services.distribution.domain.groups import DEFAULT_GROUP
from services.distribution.domain.rollout import ROLLOUT
from services.distribution.lists import (
    LISTS,
    ROLLOUTS,
    UPDATES,
    RolloutFilters,
    UpdateFilters,
    UpdateView,
    rollout_fields,
    visible_updates,
)
from services.distribution.past import group_in, group_then, rollout_then
from services.distribution.views import GroupWithPolicy, HistoryView, RolloutView, TargetView, progress_of
from shared.events import (
    Event,
    GroupCreated,
    GroupPolicySet,
    UpdateApproved,
    UpdateHeld,
    UpdateScheduled,
    UserPutInGroup,
    UserRemovedFromGroup,
)
from shared.events.fields import DerivedIdentifier, Identifier, Publisher
from shared.runtime import outcomes
from shared.runtime.access import require_access
from shared.runtime.as_of import AsOf
from shared.runtime.exports import ListRoute
from shared.runtime.histories import History, HistoryPage, history_of
from shared.runtime.http import CurrentActor, CurrentLog, Database, Now
from shared.runtime.problems import unknown
from shared.runtime.versions import shown_by_log, shown_by_tables
from shared.sql import Queryable, Row, statements

SQL: Final = statements(__file__)

QUERIES: Final = APIRouter(route_class=ListRoute)

QUERIES.routes.extend(LISTS.routes)
QUERIES.routes.extend(publisher.QUERIES.routes)
QUERIES.routes.extend(outcomes.QUERIES.routes)


@QUERIES.get(
    "/contracts/{contract_id}/updates/{publisher}/{update_id}", dependencies=[shown_by_tables(FLEET, "{contract_id}")]
)
async def available_update(
    contract_id: Identifier, publisher: Publisher, update_id: Identifier, actor: CurrentActor, db: Database, now: Now
) -> UpdateView:
    """Return one of the available updates."""
    await require_access(db, actor, contract_id)
    visible = await visible_updates(db, contract_id, now)
    where = UpdateFilters(publisher=publisher).arguments(contract_id, update_id)
    row = await UPDATES.one(db, *visible, *where, rows_for=(contract_id,))
    if row is None:
        raise unknown("update", "See GET /contracts/{contract_id}/updates for those that are available.")
    return UpdateView(**dict(row))


# ── Rollouts ───────────────────────────────────────────────────────────────────────────────────────────


@QUERIES.get("/contracts/{contract_id}/rollouts/{rollout_id}", dependencies=[shown_by_tables(ROLLOUT, "{rollout_id}")])
async def rollout(
    contract_id: Identifier, rollout_id: DerivedIdentifier, actor: CurrentActor, db: Database, as_of: AsOf
) -> RolloutView:
    """Return one rollout with its present and former targets and all of its events."""
    await require_access(db, actor, contract_id)
    row = await _rollout(db, contract_id, rollout_id)
    if as_of is not None:
        then = partial(rollout_then, product=row["product"], title=row["title"])
        return await as_of.show(ROLLOUT, rollout_id, actor.organisation_id, then)
    users = await db.fetch(SQL["targets"], rollout_id)
    history = await db.fetch(SQL["history"], rollout_id)
    targets = [TargetView(**dict(user) | {"machines": json.loads(user["machines"])}) for user in users]
    parts = {
        "users": targets,
        "progress": progress_of(targets, len(json.loads(row["phases"]))),
        "history": [HistoryView(**dict(event) | {"data": json.loads(event["data"])}) for event in history],
    }
    return RolloutView.model_validate(rollout_fields(row) | parts)


async def _rollout(db: Queryable, contract_id: str, rollout_id: str) -> Row:
    """Return the rollout, as the list has it. Raises Problem 404 if the contract has none."""
    row = await ROLLOUTS.one(db, contract_id, *RolloutFilters().arguments(rollout_id))
    if row is None:
        raise unknown("rollout", "See GET /contracts/{contract_id}/rollouts.")
    return row


@QUERIES.get("/contracts/{contract_id}/rollouts/{rollout_id}/history")
async def rollout_history(
    contract_id: Identifier,
    rollout_id: DerivedIdentifier,
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    page: HistoryPage,
) -> History:
    """List what happened to a rollout: who did what, when and why."""
    await require_access(db, actor, contract_id)
    await _rollout(db, contract_id, rollout_id)
    return await history_of(log, ROLLOUT, rollout_id, page)


# ── Groups ─────────────────────────────────────────────────────────────────────────────────────────────


@QUERIES.get("/contracts/{contract_id}/groups/{group_id}", dependencies=[shown_by_log(FLEET, "{contract_id}")])
async def group(
    contract_id: Identifier, group_id: Identifier, actor: CurrentActor, db: Database, log: CurrentLog, as_of: AsOf
) -> GroupWithPolicy:
    """Return a group with its members and its policy."""
    await require_access(db, actor, contract_id)
    present = group_in(await log.state(FLEET, contract_id), group_id)
    if present is None:
        raise unknown("group", "See GET /contracts/{contract_id}/groups.")
    if as_of is None:
        return present
    return await as_of.show(FLEET, contract_id, actor.organisation_id, partial(group_then, group_id=group_id))


@QUERIES.get("/contracts/{contract_id}/groups/{group_id}/history")
async def group_history(
    contract_id: Identifier,
    group_id: Identifier,
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    page: HistoryPage,
) -> History:
    """List what happened to a group, and what was decided for it: who did what, when and why."""
    await require_access(db, actor, contract_id)
    if group_id != DEFAULT_GROUP and not await db.fetchval(SQL["has_group"], contract_id, group_id):
        raise unknown("group", "See GET /contracts/{contract_id}/groups.")
    return await history_of(log, FLEET, contract_id, page, lambda event: group_id in _groups_of(event))


def _groups_of(event: Event) -> tuple[str, ...]:
    """Return the groups that an event of a fleet is about."""
    match event:
        case GroupCreated() | UserPutInGroup() | UserRemovedFromGroup() | GroupPolicySet():
            return (event.group_id,)
        case UpdateApproved() | UpdateHeld() | UpdateScheduled():
            return event.groups
        case _:
            return ()
