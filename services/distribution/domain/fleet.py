"""A contract's fleet: its administrators' groups of users, policies, and decisions about updates. One stream per
contract. What entitlements says of its users is noted here, so that one order says whom a rollout targets."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Annotated, Final, TypeAlias, assert_never

from services.distribution.domain import rules
from services.distribution.domain.fleet_checks import malformed_phases, undecidable, unknown_groups
from services.distribution.domain.fleet_entitlements import NoteEntitlement, begun, note
from services.distribution.domain.fleet_state import (
    DEFAULT_GROUP,
    INITIAL,
    FleetEvent,
    Key,
    State,
    concerned,
    evolve,
    installs,
    next_due,
    start_of,
)
from services.distribution.domain.policy import Policy
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import (
    ApprovalLapsed,
    FleetOpened,
    GroupCreated,
    GroupPolicySet,
    NextDecisionDue,
    RolloutPhase,
    UpdateApproved,
    UpdateHeld,
    UpdateOffered,
    UpdatePublished,
    UpdateRecalled,
    UpdateScheduled,
    UserPutInGroup,
    UserRemovedFromGroup,
)
from shared.events.base import Instant
from shared.events.distribution import Cadence, GroupIds, MaintenanceWindows, RolloutPhases
from shared.events.fields import Identifier, Name, Publisher, Text

Event: TypeAlias = FleetEvent


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class CreateGroup:
    """Make a group of users, to decide for them apart from others."""

    name: Name
    contract_id: Identifier
    group_id: Annotated[str, SUPPLIED]
    customer: Annotated[str, SUPPLIED]
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class PutUserInGroup:
    """Put a user who holds a seat of the contract into the group, and out of any other."""

    account_id: Identifier
    contract_id: Identifier
    group_id: Identifier
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class RemoveUserFromGroup:
    """Put the user back into the default group."""

    contract_id: Identifier
    group_id: Identifier
    account_id: Identifier
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class SetGroupPolicy:
    """Have the group get updates by itself, in this rhythm, in these maintenance windows only (none: at any time)."""

    contract_id: Identifier
    group_id: Identifier
    cadence: Cadence
    customer: Annotated[str, SUPPLIED]
    by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    policy: Annotated[Policy, SUPPLIED]
    windows: MaintenanceWindows = ()


@dataclass(frozen=True, slots=True)
class ApproveUpdate:
    """Let these groups have the update now, by a rollout: in these phases, or all of them at once."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    by: Annotated[str, SUPPLIED]
    policy: Annotated[Policy, SUPPLIED]
    phases: RolloutPhases = ()


@dataclass(frozen=True, slots=True)
class HoldUpdate:
    """Keep the update from these groups, whatever their policy, and whoever of them it was on the way to."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    reason: Text
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class ScheduleUpdate:
    """Let these groups have the update from this instant on, whatever their policy."""

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
    """A product of the contract's has this update."""

    contract_id: str
    update: UpdatePublished
    now: datetime


@dataclass(frozen=True, slots=True)
class RecallUpdate:
    """The publisher withdrew the update, also one that was not offered here (yet)."""

    contract_id: str
    publisher: str
    update_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class LapseApproval:
    """The approval's rollout was stopped."""

    contract_id: str
    rollout_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ActOnWhatIsDue:
    """Time has come, in the customer's time: for schedules, policies and terms that begin."""

    contract_id: str
    now: datetime


Command: TypeAlias = (
    CreateGroup
    | PutUserInGroup
    | RemoveUserFromGroup
    | SetGroupPolicy
    | ApproveUpdate
    | HoldUpdate
    | ScheduleUpdate
    | NoteEntitlement
    | OfferUpdate
    | RecallUpdate
    | LapseApproval
    | ActOnWhatIsDue
)

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """What follows from `command` in `state`, and when to look again."""
    decision = _decide(command, state)
    if isinstance(decision, Rejected):
        return decision
    customer = getattr(command, "customer", "")
    if customer and not state.customer:
        decision = (FleetOpened(contract_id=command.contract_id, customer=customer), *decision)
    after = reduce(evolve, decision, state)
    due = next_due(after)
    if due == after.wake:
        return decision
    return (*decision, NextDecisionDue(contract_id=command.contract_id, customer=after.customer, due=due))


def _decide(command: Command, state: State) -> Decision[Event]:
    match command:
        case CreateGroup():
            return _create(command, state)
        case PutUserInGroup():
            return _put(command, state)
        case RemoveUserFromGroup(group_id=group_id, account_id=account_id):
            return () if state.group_of(account_id) != group_id else _remove(command, state)
        case SetGroupPolicy():
            return _set_policy(command, state)
        case ApproveUpdate():
            return _approve(command, state)
        case HoldUpdate():
            return _hold(command, state)
        case ScheduleUpdate():
            return _schedule(command, state)
        case NoteEntitlement():
            return note(command, state)
        case OfferUpdate():
            return _offer(command, state)
        case RecallUpdate(contract_id, publisher, update_id, reason):
            if (publisher, update_id) in state.recalled:
                return ()
            rollouts = concerned(state, key=(publisher, update_id))
            return (
                UpdateRecalled(
                    contract_id=contract_id, publisher=publisher, update_id=update_id, reason=reason, rollouts=rollouts
                ),
            )
        case LapseApproval(contract_id, rollout_id, reason):
            stopped = (n for n, approved in state.rollouts.items() if approved.rollout_id == rollout_id)
            return tuple(
                ApprovalLapsed(contract_id=contract_id, rollout_id=rollout_id, number=number, reason=reason)
                for number in stopped
            )
        case ActOnWhatIsDue():
            return _act(command, state)
        case unreachable:
            assert_never(unreachable)


def _create(command: CreateGroup, state: State) -> Decision[Event]:
    if command.group_id in state.groups:
        return ()
    name = command.name
    namesake = next((group for group in state.groups.values() if group.name == name), None)
    if namesake is not None:
        return Rejected(
            rules.GROUP_NAME_TAKEN, f"There is a group {name} already.", "Choose another name.", (namesake,)
        )
    return (GroupCreated(contract_id=command.contract_id, group_id=command.group_id, name=name, created_by=command.by),)


def _put(command: PutUserInGroup, state: State) -> Decision[Event]:
    refusal = unknown_groups((command.group_id,), state)
    if refusal is not None:
        return refusal
    if not state.managed(command.account_id):
        lost = state.lost(command.account_id)
        return Rejected(
            rules.USER_NOT_MANAGED,
            "The user holds no seat of this contract" + (" any more." if lost else "."),
            "Assign a seat first; one that has just been assigned is known here a moment later.",
            lost,
        )
    if state.group_of(command.account_id) == command.group_id:
        return ()
    if command.group_id == DEFAULT_GROUP:
        return _remove(command, state)
    groups = frozenset((state.group_of(command.account_id), command.group_id))
    return (
        UserPutInGroup(
            contract_id=command.contract_id,
            group_id=command.group_id,
            account_id=command.account_id,
            put_by=command.by,
            rollouts=concerned(state, groups=groups),
        ),
    )


def _remove(command: PutUserInGroup | RemoveUserFromGroup, state: State) -> Decision[Event]:
    group = state.group_of(command.account_id)
    if group == DEFAULT_GROUP:
        return ()
    return (
        UserRemovedFromGroup(
            contract_id=command.contract_id,
            group_id=group,
            account_id=command.account_id,
            removed_by=command.by,
            rollouts=concerned(state, groups=frozenset((group, DEFAULT_GROUP))),
        ),
    )


def _set_policy(command: SetGroupPolicy, state: State) -> Decision[Event]:
    refusal = unknown_groups((command.group_id,), state)
    if refusal is not None:
        return refusal
    figures, now = command.policy.figures(command.cadence), state.policies.get(command.group_id)
    wanted = GroupPolicySet(
        contract_id=command.contract_id,
        group_id=command.group_id,
        cadence=command.cadence,
        days=figures.days,
        critical_days=figures.critical_days,
        success_percent=command.policy.success_percent,
        error_percent=command.policy.error_percent,
        windows=command.windows,
        since=command.now,
        set_by=command.by,
        period=figures.period,
        critical_period=figures.critical_period,
    )
    unchanged = now is not None and wanted == now.model_copy(update={"since": command.now, "set_by": command.by})
    return () if unchanged else (wanted,)


def _approve(command: ApproveUpdate, state: State) -> Decision[Event]:
    key = (command.publisher, command.update_id)
    refusal = undecidable(key, command.groups, state) or malformed_phases(command.phases, command.groups)
    if refusal is not None:
        return refusal
    running = _running(key, command.groups, state)
    if len(running) == len(command.groups):
        return ()
    if running:
        return Rejected(
            rules.UPDATE_ALREADY_APPROVED,
            f"The update is on its way to {', '.join(running)} already.",
            "Approve it for the other groups only.",
            tuple(running.values()),
        )
    phases = command.phases or _at_once(command.policy)
    return (_approved(command.contract_id, key, command.groups, phases, state.numbers + 1, command.by),)


def _at_once(policy: Policy | GroupPolicySet) -> tuple[RolloutPhase, ...]:
    return (RolloutPhase(share=100, success_percent=policy.success_percent, error_percent=policy.error_percent),)


def _approved(
    contract_id: str, key: Key, groups: tuple[str, ...], phases: tuple[RolloutPhase, ...], number: int, by: str
) -> UpdateApproved:
    return UpdateApproved(
        contract_id=contract_id,
        publisher=key[0],
        update_id=key[1],
        groups=groups,
        phases=phases,
        number=number,
        rollout_id=f"{contract_id}-{number}",
        approved_by=by,
    )


def _running(key: Key, groups: tuple[str, ...], state: State) -> dict[str, UpdateApproved]:
    """The groups that the update is on its way to."""
    decided = {group: state.decided.get((key, group)) for group in groups}
    return {
        group: by for group, by in decided.items() if isinstance(by, UpdateApproved) and by.number in state.rollouts
    }


def _hold(command: HoldUpdate, state: State) -> Decision[Event]:
    key = (command.publisher, command.update_id)
    refusal = undecidable(key, command.groups, state)
    if refusal is not None:
        return refusal
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
            rollouts=concerned(state, key=key, groups=frozenset(groups)),
        ),
    )


def _schedule(command: ScheduleUpdate, state: State) -> Decision[Event]:
    key = (command.publisher, command.update_id)
    refusal = undecidable(key, command.groups, state) or malformed_phases(command.phases, command.groups)
    if refusal is not None:
        return refusal
    if command.starts_at <= command.now:
        return Rejected(
            rules.SCHEDULE_IN_THE_PAST, "The instant is over.", "Approve the update, or name a later instant."
        )
    wanted = UpdateScheduled(
        contract_id=command.contract_id,
        publisher=key[0],
        update_id=key[1],
        groups=command.groups,
        phases=command.phases or _at_once(command.policy),
        starts_at=command.starts_at.astimezone(UTC),
        scheduled_by=command.by,
        rollouts=concerned(state, key=key, groups=frozenset(command.groups)),
    )
    before = [state.decided.get((key, group)) for group in command.groups]
    same = all(
        isinstance(b, UpdateScheduled) and b.model_copy(update={"rollouts": wanted.rollouts}) == wanted for b in before
    )
    return () if same else (wanted,)


# ── What others say, and time ──────────────────────────────────────────────────────────────────────────


def _offer(command: OfferUpdate, state: State) -> Decision[Event]:
    update = command.update
    if (update.publisher, update.update_id) in state.offered:
        return ()
    return (
        UpdateOffered(
            contract_id=command.contract_id,
            publisher=update.publisher,
            update_id=update.update_id,
            product=update.product,
            kind=update.kind,
            version=update.version,
            severity=update.severity,
            published_at=update.published_at,
            offered_at=command.now,
        ),
    )


def _act(command: ActOnWhatIsDue, state: State) -> tuple[Event, ...]:
    """One approval for each group that something is due for: an automatic rollout has one phase, unless scheduled."""
    events: list[Event] = []
    for subscription_id, pool in state.pools.items():
        begins = start_of(pool)
        if begins is not None and begins <= command.now:
            events.append(begun(command.contract_id, subscription_id, pool, state))
    number = state.numbers
    scheduled: list[UpdateScheduled] = []
    for _, key, group in sorted(due for due in installs(state) if due[0] <= command.now):
        decided = state.decided.get((key, group))
        if isinstance(decided, UpdateScheduled):
            if decided in scheduled:
                continue
            scheduled.append(decided)
            groups = tuple(each for each in decided.groups if state.decided[key, each] == decided)
            phases, by = decided.phases, decided.scheduled_by
            if len(groups) < len(decided.groups) and not decided.phases[0].share:
                phases = tuple(phase for phase in phases if set(phase.groups) & set(groups))
        else:
            policy = state.policies[group]
            groups, by = (group,), f"policy:{policy.cadence}"
            phases = _at_once(policy)
        number += 1
        events.append(_approved(command.contract_id, key, groups, phases, number, by))
    return tuple(events)


def _tenant(event: FleetEvent) -> str:
    return event.customer if isinstance(event, FleetOpened) else ""


FLEET: Final = Stream("fleet", INITIAL, evolve, decide, tenant=_tenant)
