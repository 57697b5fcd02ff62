"""distribution's tables, folded from events."""

import json
from datetime import datetime
from typing import Any, Final, TypeAlias, assert_never

from shared.eventlog.projection import Connection, Projection
from shared.events import (
    GroupCreated,
    GroupPolicySet,
    InstallFailed,
    InstallSucceeded,
    PhasePassed,
    PhaseStarted,
    RolloutCompleted,
    RolloutPaused,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolOpened,
    SeatPoolRenewed,
    TargetAdded,
    TargetRemoved,
    UpdateApproved,
    UpdateHeld,
    UpdatePublished,
    UpdateScheduled,
    UpdateWithdrawn,
    UserPutInGroup,
    UserRemovedFromGroup,
)
from shared.events.envelope import Envelope
from shared.events.registry import DISTRIBUTION, ENTITLEMENTS
from shared.runtime.access import access_projection

AVAILABILITY: Final = Projection(
    "availability", topics=(DISTRIBUTION, ENTITLEMENTS), tables=("updates", "owned_products")
)
FLEETS: Final = Projection(
    "fleets", topics=(DISTRIBUTION,), tables=("fleet_groups", "fleet_members", "fleet_decisions")
)
ROLLOUTS: Final = Projection(
    "rollouts",
    topics=(DISTRIBUTION,),
    tables=("rollouts", "rollout_targets", "rollout_installs", "rollout_history"),
)
ACCESS: Final = access_projection()


@AVAILABILITY.on(UpdatePublished)
async def _published(tx: Connection, event: UpdatePublished, of: Envelope) -> None:
    await tx.execute(
        "insert into updates (publisher, update_id, product, kind, title, version, platform, severity, sha256, "
        "size_bytes, location, published_at, event_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
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
        of.id,
    )


@AVAILABILITY.on(UpdateWithdrawn)
async def _withdrawn(tx: Connection, event: UpdateWithdrawn, _of: Envelope) -> None:
    await tx.execute(
        "update updates set withdrawn = $3 where publisher = $1 and update_id = $2",
        event.publisher,
        event.update_id,
        event.reason,
    )


@AVAILABILITY.on(SeatPoolOpened)
async def _owned(tx: Connection, event: SeatPoolOpened, of: Envelope) -> None:
    """A contract owns a product from the moment that its seats exist."""
    await tx.execute(
        "insert into owned_products (contract_id, subscription_id, customer, product, publisher, starts, ends, "
        "in_term, event_id) values ($1, $2, $3, $4, $5, $6, $7, true, $8)",
        event.contract_id,
        event.subscription_id,
        event.customer,
        event.product,
        event.publisher,
        event.starts,
        event.ends,
        of.id,
    )


@AVAILABILITY.on(SeatPoolRenewed)
async def _renewed(tx: Connection, event: SeatPoolRenewed, _of: Envelope) -> None:
    await tx.execute(
        "update owned_products set ends = $2, in_term = true where subscription_id = $1",
        event.subscription_id,
        event.ends,
    )


@AVAILABILITY.on(SeatPoolExpired)
async def _expired(tx: Connection, event: SeatPoolExpired, _of: Envelope) -> None:
    await tx.execute("update owned_products set in_term = false where subscription_id = $1", event.subscription_id)


@AVAILABILITY.on(SeatPoolEnded)
async def _ended(tx: Connection, event: SeatPoolEnded, _of: Envelope) -> None:
    await tx.execute("delete from owned_products where subscription_id = $1", event.subscription_id)


# ── Fleets ─────────────────────────────────────────────────────────────────────────────────────────────


@FLEETS.on(GroupCreated)
async def _group(tx: Connection, event: GroupCreated, _of: Envelope) -> None:
    await tx.execute(
        "insert into fleet_groups (contract_id, group_id, name) values ($1, $2, $3)",
        event.contract_id,
        event.group_id,
        event.name,
    )


@FLEETS.on(GroupPolicySet)
async def _policy(tx: Connection, event: GroupPolicySet, _of: Envelope) -> None:
    """The default group has no row before its first policy."""
    await tx.execute(
        "insert into fleet_groups (contract_id, group_id, cadence, period, days, critical_period, critical_days, "
        "windows, policy_set_by) values ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
        "on conflict (contract_id, group_id) do update set cadence = excluded.cadence, period = excluded.period, "
        "days = excluded.days, critical_period = excluded.critical_period, critical_days = excluded.critical_days, "
        "windows = excluded.windows, policy_set_by = excluded.policy_set_by",
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
async def _member(tx: Connection, event: UserPutInGroup, _of: Envelope) -> None:
    await tx.execute(
        "insert into fleet_members (contract_id, account_id, group_id) values ($1, $2, $3) "
        "on conflict (contract_id, account_id) do update set group_id = excluded.group_id",
        event.contract_id,
        event.account_id,
        event.group_id,
    )


@FLEETS.on(UserRemovedFromGroup)
async def _no_member(tx: Connection, event: UserRemovedFromGroup, _of: Envelope) -> None:
    await tx.execute(
        "delete from fleet_members where contract_id = $1 and account_id = $2", event.contract_id, event.account_id
    )


@FLEETS.on(UpdateApproved)
async def _approved(tx: Connection, event: UpdateApproved, of: Envelope) -> None:
    await _decide(tx, event, of, "approved", event.approved_by, rollout_id=event.rollout_id)


@FLEETS.on(UpdateHeld)
async def _held(tx: Connection, event: UpdateHeld, of: Envelope) -> None:
    await _decide(tx, event, of, "held", event.held_by, reason=event.reason)


@FLEETS.on(UpdateScheduled)
async def _scheduled(tx: Connection, event: UpdateScheduled, of: Envelope) -> None:
    await _decide(tx, event, of, "scheduled", event.scheduled_by, starts_at=event.starts_at)


async def _decide(
    tx: Connection,
    event: UpdateApproved | UpdateHeld | UpdateScheduled,
    of: Envelope,
    decision: str,
    by: str,
    *,
    starts_at: datetime | None = None,
    reason: str | None = None,
    rollout_id: str | None = None,
) -> None:
    await tx.execute(
        "insert into fleet_decisions (contract_id, publisher, update_id, group_id, decision, starts_at, reason, "
        "rollout_id, decided_by, event_id) select $1, $2, $3, unnest($4::text[]), $5, $6, $7, $8, $9, $10 "
        "on conflict (contract_id, publisher, update_id, group_id) do update set decision = excluded.decision, "
        "starts_at = excluded.starts_at, reason = excluded.reason, rollout_id = excluded.rollout_id, "
        "decided_by = excluded.decided_by, event_id = excluded.event_id",
        event.contract_id,
        event.publisher,
        event.update_id,
        list(event.groups),
        decision,
        starts_at,
        reason,
        rollout_id,
        by,
        of.id,
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
@ROLLOUTS.on(RolloutPaused)
@ROLLOUTS.on(RolloutResumed)
@ROLLOUTS.on(RolloutStopped)
@ROLLOUTS.on(RolloutCompleted)
async def _rollout(tx: Connection, event: _Rollout, of: Envelope) -> None:
    await tx.execute(
        "insert into rollout_history (rollout_id, version, type, at, actor, data, event_id) "
        "values ($1, $2, $3, $4, $5, $6, $7)",
        event.rollout_id,
        of.version,
        of.type,
        of.time,
        of.actor,
        event.data().decode(),
        of.id,
    )
    match event:
        case RolloutStarted():
            await _started(tx, event, of)
        case PhaseStarted(rollout_id=rollout_id, phase=phase):
            await tx.execute("update rollouts set phase = $2 where rollout_id = $1", rollout_id, phase)
        case RolloutPaused(rollout_id=rollout_id, reason=reason):
            await _stands(tx, rollout_id, "paused", reason)
        case RolloutResumed(rollout_id=rollout_id):
            await _stands(tx, rollout_id, "running")
        case RolloutCompleted(rollout_id=rollout_id):
            await tx.execute("update rollouts set completed = true where rollout_id = $1", rollout_id)
            await _stands(tx, rollout_id, "completed")
        case RolloutStopped(rollout_id=rollout_id, reason=reason):
            await _stands(tx, rollout_id, "stopped", reason)
            await tx.execute(
                "update rollout_targets set removed = $2 where rollout_id = $1 and removed is null", rollout_id, reason
            )
        case TargetAdded() | TargetRemoved():
            await _target(tx, event)
        case InstallSucceeded() | InstallFailed():
            await _installed(tx, event, of)
        case PhasePassed():
            pass
        case unreachable:
            assert_never(unreachable)


async def _started(tx: Connection, event: RolloutStarted, of: Envelope) -> None:
    await tx.execute(
        "insert into rollouts (rollout_id, contract_id, publisher, update_id, version, groups, phases, status, phase, "
        "started_by, event_id) values ($1, $2, $3, $4, $5, $6, $7, 'running', -1, $8, $9)",
        event.rollout_id,
        event.contract_id,
        event.publisher,
        event.update_id,
        event.version,
        list(event.groups),
        _json([phase.model_dump() for phase in event.phases]),
        event.started_by,
        of.id,
    )


async def _stands(tx: Connection, rollout_id: str, status: str, reason: str | None = None) -> None:
    """What is resumed after its last phase was passed is completed all the same."""
    await tx.execute(
        "update rollouts set status = case when completed and $2 = 'running' then 'completed' else $2 end, "
        "reason = $3 where rollout_id = $1",
        rollout_id,
        status,
        reason,
    )


async def _target(tx: Connection, event: TargetAdded | TargetRemoved) -> None:
    if isinstance(event, TargetRemoved):
        await tx.execute(
            "update rollout_targets set removed = $3 where rollout_id = $1 and account_id = $2",
            event.rollout_id,
            event.account_id,
            event.reason,
        )
        return
    await tx.execute(
        "insert into rollout_targets (rollout_id, account_id, group_id, phase) values ($1, $2, $3, $4) "
        "on conflict (rollout_id, account_id) do update set group_id = excluded.group_id, phase = excluded.phase, "
        "removed = null",
        event.rollout_id,
        event.account_id,
        event.group_id,
        event.phase,
    )


async def _installed(tx: Connection, event: InstallSucceeded | InstallFailed, of: Envelope) -> None:
    failed = isinstance(event, InstallFailed)
    await tx.execute(
        "insert into rollout_installs (rollout_id, account_id, machine, succeeded, error, at) "
        "values ($1, $2, $3, $4, $5, $6) on conflict (rollout_id, account_id, machine) do update set "
        "succeeded = excluded.succeeded, error = excluded.error, at = excluded.at",
        event.rollout_id,
        event.account_id,
        event.machine,
        not failed,
        event.error if isinstance(event, InstallFailed) else "",
        of.time,
    )


def _json(values: list[dict[str, Any]]) -> str:
    return json.dumps(values, ensure_ascii=False)
