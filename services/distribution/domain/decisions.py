"""Decisions about updates, a part of a fleet's stream.

Updates are offered to a contract; administrators, policies and schedules approve, hold or schedule them for its groups.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Annotated, TypeAlias, assert_never

from services.distribution.domain import rules
from services.distribution.domain.decision_state import Event, Key, State, evolve, key_of, superseding
from services.distribution.domain.entitlements import Entitlements
from services.distribution.domain.groups import Groups, unknown_groups
from services.distribution.domain.installs import approval, at_once
from services.distribution.domain.policy import Policy
from shared.eventlog.decision import SUPPLIED, Decision, Rejected
from shared.events import (
    ApprovalLapsed,
    RolloutPhase,
    UpdateApproved,
    UpdateHeld,
    UpdateOffered,
    UpdatePublished,
    UpdateRecalled,
    UpdateScheduled,
)
from shared.events.base import Instant
from shared.events.distribution import GroupIds, RolloutPhases
from shared.events.fields import Identifier, Publisher, Text

# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class ApproveUpdate:
    """Approve the update for these groups, and start its rollout.

    Without `phases` the rollout has one phase, which holds all users.
    """

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    by: Annotated[str, SUPPLIED]
    policy: Annotated[Policy, SUPPLIED]
    phases: RolloutPhases = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldUpdate:
    """Withhold the update from these groups, whatever their policies.

    Running rollouts of the update no longer target these groups.
    """

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    reason: Text
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleUpdate:
    """Approve the update for these groups at a later instant, whatever their policies."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    starts_at: Instant
    by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    policy: Annotated[Policy, SUPPLIED]
    phases: RolloutPhases = ()


@dataclass(frozen=True, slots=True)
class OfferUpdate:
    """Offer an update for a product of the contract.

    Args:
        earlier: updates that were offered before an offer named its platform, as they were published.
    """

    contract_id: str
    update: UpdatePublished
    now: datetime
    earlier: tuple[UpdatePublished, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RecallUpdate:
    """Record that the publisher withdrew the update, whether or not it was offered here."""

    contract_id: str
    publisher: str
    update_id: str
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True)
class LapseApproval:
    """End the approval whose rollout was stopped."""

    contract_id: str
    rollout_id: str
    reason: str


Command: TypeAlias = ApproveUpdate | HoldUpdate | ScheduleUpdate | OfferUpdate | RecallUpdate | LapseApproval


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State, groups: Groups, entitlements: Entitlements) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case ApproveUpdate() | HoldUpdate() | ScheduleUpdate():
            refusal = _undecidable(command, state, groups, entitlements)
            return refusal if refusal is not None else _decide_for_groups(command, state)
        case OfferUpdate():
            return _offer(command, state)
        case RecallUpdate():
            return _recall(command, state)
        case LapseApproval(contract_id, rollout_id, reason):
            stopped = (n for n, approved in state.rollouts.items() if approved.rollout_id == rollout_id)
            return tuple(
                ApprovalLapsed(contract_id=contract_id, rollout_id=rollout_id, number=number, reason=reason)
                for number in stopped
            )
        case unreachable:
            assert_never(unreachable)


def _decide_for_groups(command: ApproveUpdate | HoldUpdate | ScheduleUpdate, state: State) -> Decision[Event]:
    match command:
        case ApproveUpdate():
            return _approve(command, state)
        case HoldUpdate():
            return _hold(command, state)
        case ScheduleUpdate():
            return _schedule(command, state)
        case unreachable:
            assert_never(unreachable)


def _undecidable(
    command: ApproveUpdate | HoldUpdate | ScheduleUpdate, state: State, groups: Groups, entitlements: Entitlements
) -> Rejected | None:
    """Return why this can't be decided about the update for these groups; None when it can."""
    key = (command.publisher, command.update_id)
    if key in state.recalled:
        recalled = state.recalled[key]
        return Rejected(
            rules.UPDATE_WITHDRAWN,
            f"{recalled.publisher} withdrew the update: {recalled.reason}",
            "Choose another update.",
            (recalled,),
        )
    offered = state.offered.get(key)
    if offered is None:
        return Rejected(
            rules.UPDATE_NOT_AVAILABLE,
            f"No product of this contract has an update {key[1]}.",
            "List the available updates. A new one appears a moment after its publication.",
        )
    if not entitlements.owns(offered):
        ended = tuple(pool.ended for pool in entitlements.serving(offered) if pool.ended is not None)
        return Rejected(
            rules.PRODUCT_NOT_OWNED,
            f"The update is for {offered.product}, and this contract has no seats of it"
            + (" any more." if ended else "."),
            "Buy the product. New seats appear here a moment after the purchase.",
            ended,
        )
    if not entitlements.shows(offered):
        idle = tuple(pool.no_term for pool in entitlements.serving(offered) if pool.no_term and pool.ended is None)
        return Rejected(
            rules.TERM_NOT_ACTIVE,
            f"{key[1]} is an extension. Extensions are for subscribers only, and no term of {offered.product} is "
            "active.",
            "Try again during a term. A new term appears here a moment after it begins.",
            idle,
        )
    newer = superseding(state).get(key)
    if newer is not None:
        return Rejected(
            rules.UPDATE_SUPERSEDED,
            f"Version {newer.version} supersedes version {offered.version}.",
            f"Decide about {newer.update_id} instead.",
            (newer,),
        )
    refusal = unknown_groups(command.groups, groups)
    if refusal is not None or isinstance(command, HoldUpdate):
        return refusal
    return _malformed_phases(command.phases, command.groups)


def _malformed_phases(phases: tuple[RolloutPhase, ...], groups: tuple[str, ...]) -> Rejected | None:
    """Return why the phases are invalid; None when they are valid.

    Valid phases assign each user of the rollout to exactly one phase: by shares that add up to 100, or by groups.
    """
    if not phases:
        return None
    percents = [p for phase in phases for p in (phase.success_percent, phase.error_percent)]
    by_share = all(phase.share > 0 and not phase.groups for phase in phases) and sum(p.share for p in phases) == 100
    by_group = all(phase.share == 0 and phase.groups for phase in phases) and sorted(
        group for phase in phases for group in phase.groups
    ) == sorted(groups)
    if (by_share or by_group) and all(1 <= percent <= 100 for percent in percents):
        return None
    return Rejected(
        rules.PHASES_MALFORMED,
        "Either the phases have shares that add up to 100, or each of the rollout's groups is in exactly one phase. "
        "Thresholds are 1 to 100 percent.",
        "Correct the phases.",
    )


def _approve(command: ApproveUpdate, state: State) -> Decision[Event]:
    key = (command.publisher, command.update_id)
    running = _running(key, command.groups, state)
    if len(running) == len(command.groups):
        return ()
    if running:
        return Rejected(
            rules.UPDATE_ALREADY_APPROVED,
            f"The update is already approved for {', '.join(running)}.",
            "Approve it for the other groups only.",
            tuple(running.values()),
        )
    phases = command.phases or at_once(command.policy)
    return (approval(command.contract_id, key, command.groups, phases, state.numbers + 1, command.by),)


def _running(key: Key, groups: tuple[str, ...], state: State) -> dict[str, UpdateApproved]:
    """Return the update's approvals with a rollout that is not stopped, by group."""
    latest = {group: state.decided.get((key, group)) for group in groups}
    return {
        group: decision
        for group, decision in latest.items()
        if isinstance(decision, UpdateApproved) and decision.number in state.rollouts
    }


def _hold(command: HoldUpdate, state: State) -> Decision[Event]:
    key = (command.publisher, command.update_id)
    groups = tuple(g for g in command.groups if not isinstance(state.decided.get((key, g)), UpdateHeld))
    if not groups:
        return ()
    return (
        UpdateHeld(
            contract_id=command.contract_id,
            publisher=key[0],
            update_id=key[1],
            groups=groups,
            reason=command.reason,
            held_by=command.by,
            rollouts=state.concerned(key=key, groups=frozenset(groups)),
        ),
    )


def _schedule(command: ScheduleUpdate, state: State) -> Decision[Event]:
    key = (command.publisher, command.update_id)
    if command.starts_at <= command.now:
        return Rejected(
            rules.SCHEDULE_IN_THE_PAST,
            f"{command.starts_at.isoformat()} is in the past.",
            "Approve the update, or name a later instant.",
        )
    wanted = UpdateScheduled(
        contract_id=command.contract_id,
        publisher=key[0],
        update_id=key[1],
        groups=command.groups,
        phases=command.phases or at_once(command.policy),
        starts_at=command.starts_at.astimezone(UTC),
        scheduled_by=command.by,
        rollouts=state.concerned(key=key, groups=frozenset(command.groups)),
    )
    before = [state.decided.get((key, group)) for group in command.groups]
    same = all(
        isinstance(b, UpdateScheduled) and b.model_copy(update={"rollouts": wanted.rollouts}) == wanted for b in before
    )
    return () if same else (wanted,)


def _offer(command: OfferUpdate, state: State) -> Decision[Event]:
    """Return the offer, with the rollouts of older versions that it ends."""
    if (command.update.publisher, command.update.update_id) in state.offered:
        return ()
    before = {(earlier.publisher, earlier.update_id): earlier for earlier in command.earlier}
    named = [
        _offered(command.contract_id, before[key], offered.offered_at)
        for key, offered in state.offered.items()
        if key in before and not offered.platform
    ]
    offer = _offered(command.contract_id, command.update, command.now)
    superseded = superseding(reduce(evolve, (*named, offer), state))
    ended = tuple(
        number
        for number, approved in state.rollouts.items()
        if key_of(approved) in superseded and number not in state.ended
    )
    return (*named, offer.model_copy(update={"rollouts": ended}))


def _offered(contract_id: str, update: UpdatePublished, offered_at: datetime) -> UpdateOffered:
    return UpdateOffered(
        contract_id=contract_id,
        publisher=update.publisher,
        update_id=update.update_id,
        product=update.product,
        kind=update.kind,
        version=update.version,
        severity=update.severity,
        published_at=update.published_at,
        offered_at=offered_at,
        platform=update.platform,
        component=update.component,
    )


def _recall(command: RecallUpdate, state: State) -> Decision[Event]:
    key = (command.publisher, command.update_id)
    if key in state.recalled:
        return ()
    return (
        UpdateRecalled(
            contract_id=command.contract_id,
            publisher=command.publisher,
            update_id=command.update_id,
            reason=command.reason,
            rollouts=state.concerned(key=key),
            recalled_at=command.now,
        ),
    )
