"""distribution's read models."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias, assert_never

from services.distribution.domain.versions import precedence
from shared.eventlog.deliver.projection import Connection, Projection
from shared.events import (
    ApprovalLapsed,
    EntitlementNoted,
    FailuresRetried,
    FleetOpened,
    GroupCreated,
    GroupPolicySet,
    InstallFailed,
    InstallSucceeded,
    NextDecisionDue,
    PhasePassed,
    PhaseReportsDue,
    PhaseStarted,
    PoolCsnNoted,
    RolloutCompleted,
    RolloutMovedOn,
    RolloutPaused,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatPoolSuspended,
    TargetAdded,
    TargetExcluded,
    TargetRemoved,
    UpdateApproved,
    UpdateHeld,
    UpdatePublished,
    UpdateScheduled,
    UpdateWithdrawn,
    UserPutInGroup,
    UserRemovedFromGroup,
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import DISTRIBUTION, ENTITLEMENTS
from shared.runtime.access import access_projection
from shared.sql import statements

SQL: Final = statements(__file__)

AVAILABILITY: Final = Projection(
    "availability",
    topics=(DISTRIBUTION, ENTITLEMENTS),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.CREDITS,
        *subjects.POOL_ANSWERS,
        *subjects.SEATS,
        *subjects.UPDATE_RIGHTS,
        *subjects.DECISIONS,
        *subjects.GROUPS,
        *subjects.LINES,
        *subjects.OFFERS,
        *subjects.ROLLOUTS,
        EntitlementNoted,
        FleetOpened,
        NextDecisionDue,
        PoolCsnNoted,
        SeatPoolResized,
        SeatPoolSuspended,
    ),
    tables=("updates", "owned_products"),
)
FLEETS: Final = Projection(
    "fleets",
    topics=(DISTRIBUTION,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.LINES,
        *subjects.OFFERS,
        *subjects.ROLLOUTS,
        *subjects.UPDATES,
        ApprovalLapsed,
        EntitlementNoted,
        FleetOpened,
        NextDecisionDue,
    ),
    tables=("fleet_groups", "fleet_members", "fleet_decisions"),
)
ROLLOUTS: Final = Projection(
    "rollouts",
    topics=(DISTRIBUTION,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.DECISIONS,
        *subjects.GROUPS,
        *subjects.LINES,
        *subjects.OFFERS,
        *subjects.UPDATES,
        EntitlementNoted,
        FleetOpened,
        NextDecisionDue,
    ),
    tables=("rollouts", "rollout_targets", "rollout_installs", "rollout_exclusions", "rollout_history"),
)
ACCESS: Final = access_projection()


@AVAILABILITY.on(UpdatePublished)
async def _published(tx: Connection, event: UpdatePublished, envelope: Envelope) -> None:
    await tx.execute(
        SQL["publish_update"],
        event.publisher,
        event.update_id,
        event.product,
        event.kind,
        event.title,
        event.version,
        event.platform,
        event.severity,
        event.sha256,
        event.size_bytes,
        event.location,
        event.published_at,
        event.component,
        precedence(event.version, event.published_at, event.update_id),
        envelope.id,
    )


@AVAILABILITY.on(UpdateWithdrawn)
async def _withdrawn(tx: Connection, event: UpdateWithdrawn, _envelope: Envelope) -> None:
    await tx.execute(SQL["withdraw_update"], event.publisher, event.update_id, event.reason)


@AVAILABILITY.on(SeatPoolOpened)
async def _owned(tx: Connection, event: SeatPoolOpened, envelope: Envelope) -> None:
    """Add an owned product: a contract owns it from the opening of the seat pool on."""
    await tx.execute(
        SQL["own_product"],
        event.contract_id,
        event.subscription_id,
        event.customer,
        event.product,
        event.publisher,
        event.starts,
        event.ends,
        envelope.id,
        event.time_zone,
    )


@AVAILABILITY.on(SeatPoolRenewed)
async def _renewed(tx: Connection, event: SeatPoolRenewed, _envelope: Envelope) -> None:
    await tx.execute(SQL["renew_product"], event.subscription_id, event.ends)


@AVAILABILITY.on(SeatPoolExpired)
async def _expired(tx: Connection, event: SeatPoolExpired, _envelope: Envelope) -> None:
    await tx.execute(SQL["expire_product"], event.subscription_id)


@AVAILABILITY.on(SeatPoolEnded)
async def _ended(tx: Connection, event: SeatPoolEnded, _envelope: Envelope) -> None:
    await tx.execute(SQL["end_product"], event.subscription_id)


# ── Fleets ─────────────────────────────────────────────────────────────────────────────────────────────


@FLEETS.on(GroupCreated)
async def _group(tx: Connection, event: GroupCreated, _envelope: Envelope) -> None:
    await tx.execute(SQL["create_group"], event.contract_id, event.group_id, event.name)


@FLEETS.on(GroupPolicySet)
async def _policy(tx: Connection, event: GroupPolicySet, _envelope: Envelope) -> None:
    """Set the group's policy; the default group has no row before its first policy."""
    await tx.execute(
        SQL["set_policy"],
        event.contract_id,
        event.group_id,
        event.cadence,
        event.period,
        event.days,
        event.critical_period,
        event.critical_days,
        _json([window.model_dump() for window in event.windows]),
        event.set_by,
    )


@FLEETS.on(UserPutInGroup)
async def _member(tx: Connection, event: UserPutInGroup, _envelope: Envelope) -> None:
    await tx.execute(SQL["put_in_group"], event.contract_id, event.account_id, event.group_id)


@FLEETS.on(UserRemovedFromGroup)
async def _no_member(tx: Connection, event: UserRemovedFromGroup, _envelope: Envelope) -> None:
    await tx.execute(SQL["remove_from_group"], event.contract_id, event.account_id)


@FLEETS.on(UpdateApproved)
async def _approved(tx: Connection, event: UpdateApproved, envelope: Envelope) -> None:
    await _decide(tx, event, envelope, "approved", event.approved_by, rollout_id=event.rollout_id)


@FLEETS.on(UpdateHeld)
async def _held(tx: Connection, event: UpdateHeld, envelope: Envelope) -> None:
    await _decide(tx, event, envelope, "held", event.held_by, reason=event.reason)


@FLEETS.on(UpdateScheduled)
async def _scheduled(tx: Connection, event: UpdateScheduled, envelope: Envelope) -> None:
    await _decide(tx, event, envelope, "scheduled", event.scheduled_by, starts_at=event.starts_at)


async def _decide(
    tx: Connection,
    event: UpdateApproved | UpdateHeld | UpdateScheduled,
    envelope: Envelope,
    decision: str,
    by: str,
    *,
    starts_at: datetime | None = None,
    reason: str | None = None,
    rollout_id: str | None = None,
) -> None:
    await tx.execute(
        SQL["decide"],
        event.contract_id,
        event.publisher,
        event.update_id,
        list(event.groups),
        decision,
        starts_at,
        reason,
        rollout_id,
        by,
        envelope.id,
    )


# ── Rollouts ───────────────────────────────────────────────────────────────────────────────────────────

_Rollout: TypeAlias = (
    RolloutStarted
    | PhaseStarted
    | PhasePassed
    | TargetAdded
    | TargetRemoved
    | InstallSucceeded
    | InstallFailed
    | TargetExcluded
    | FailuresRetried
    | RolloutMovedOn
    | PhaseReportsDue
    | RolloutPaused
    | RolloutResumed
    | RolloutStopped
    | RolloutCompleted
)


@ROLLOUTS.on(RolloutStarted)
@ROLLOUTS.on(PhaseStarted)
@ROLLOUTS.on(PhasePassed)
@ROLLOUTS.on(TargetAdded)
@ROLLOUTS.on(TargetRemoved)
@ROLLOUTS.on(InstallSucceeded)
@ROLLOUTS.on(InstallFailed)
@ROLLOUTS.on(TargetExcluded)
@ROLLOUTS.on(FailuresRetried)
@ROLLOUTS.on(RolloutMovedOn)
@ROLLOUTS.on(PhaseReportsDue)
@ROLLOUTS.on(RolloutPaused)
@ROLLOUTS.on(RolloutResumed)
@ROLLOUTS.on(RolloutStopped)
@ROLLOUTS.on(RolloutCompleted)
async def _rollout(tx: Connection, event: _Rollout, envelope: Envelope) -> None:
    await tx.execute(
        SQL["add_history"],
        event.rollout_id,
        envelope.version,
        envelope.type,
        envelope.time,
        envelope.actor,
        event.data().decode(),
        envelope.id,
    )
    match event:
        case RolloutStarted():
            await _started(tx, event, envelope)
        case PhaseStarted(rollout_id=rollout_id, phase=phase):
            await tx.execute(SQL["set_phase"], rollout_id, phase)
        case RolloutPaused(rollout_id=rollout_id, reason=reason):
            await _set_status(tx, rollout_id, "paused", reason)
        case RolloutResumed(rollout_id=rollout_id):
            await _set_status(tx, rollout_id, "running")
        case RolloutCompleted(rollout_id=rollout_id):
            await tx.execute(SQL["complete"], rollout_id)
            await _set_status(tx, rollout_id, "completed")
        case RolloutStopped(rollout_id=rollout_id, reason=reason):
            await _set_status(tx, rollout_id, "stopped", reason)
            await tx.execute(SQL["remove_targets"], rollout_id, reason)
        case TargetAdded() | TargetRemoved():
            await _target(tx, event)
        case InstallSucceeded() | InstallFailed():
            await _installed(tx, event, envelope)
        case TargetExcluded():
            await _excluded(tx, event)
        case FailuresRetried(rollout_id=rollout_id):
            await tx.execute(SQL["forget_failures"], rollout_id)
        case PhasePassed() | RolloutMovedOn() | PhaseReportsDue():
            pass
        case unreachable:
            assert_never(unreachable)


async def _started(tx: Connection, event: RolloutStarted, envelope: Envelope) -> None:
    await tx.execute(
        SQL["start_rollout"],
        event.rollout_id,
        event.contract_id,
        event.publisher,
        event.update_id,
        event.version,
        list(event.groups),
        _json([phase.model_dump() for phase in event.phases]),
        event.started_by,
        envelope.id,
    )


async def _set_status(tx: Connection, rollout_id: str, status: str, reason: str | None = None) -> None:
    """Set the rollout's status.

    A rollout that is resumed after its last phase was passed is completed.
    """
    await tx.execute(SQL["set_status"], rollout_id, status, reason)


async def _target(tx: Connection, event: TargetAdded | TargetRemoved) -> None:
    if isinstance(event, TargetRemoved):
        await tx.execute(SQL["remove_target"], event.rollout_id, event.account_id, event.reason)
        return
    await tx.execute(SQL["add_target"], event.rollout_id, event.account_id, event.group_id, event.phase)


async def _excluded(tx: Connection, event: TargetExcluded) -> None:
    await tx.execute(SQL["exclude"], event.rollout_id, event.account_id, event.machine, event.reason, event.excluded_by)


async def _installed(tx: Connection, event: InstallSucceeded | InstallFailed, envelope: Envelope) -> None:
    failed = isinstance(event, InstallFailed)
    await tx.execute(
        SQL["report_install"],
        event.rollout_id,
        event.account_id,
        event.machine,
        not failed,
        event.error if isinstance(event, InstallFailed) else "",
        envelope.time,
    )


def _json(values: Sequence[Mapping[str, object]]) -> str:
    return json.dumps(values, ensure_ascii=False)
