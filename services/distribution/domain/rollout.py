"""The rollout of an approved update, phase by phase, one stream per rollout.

It targets exactly the users whom its fleet named last: those who hold a seat, in an active term, with the update right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, TypeAlias, assert_never

from services.distribution.domain import rules
from services.distribution.domain.rollout_state import (
    INITIAL,
    Count,
    Event,
    Running,
    State,
    Stopped,
    Unstarted,
    count,
    evolve,
    phase_of,
)
from services.distribution.domain.thresholds import (
    SILENCE,
    THRESHOLDS,
    check_reports,
    lacks_users,
    next_phase,
    paused_by_policy,
    with_policy,
)
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import (
    FailuresRetried,
    InstallFailed,
    InstallSucceeded,
    PhasePassed,
    PhaseReportsDue,
    PhaseStarted,
    RolloutCompleted,
    RolloutMovedOn,
    RolloutPaused,
    RolloutPhase,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    TargetAdded,
    TargetExcluded,
    TargetRemoved,
)
from shared.events.fields import Code, DerivedIdentifier, Identifier, Name, Number, OptionalName, Text

__all__ = [
    "INITIAL",
    "ROLLOUT",
    "SILENCE",
    "THRESHOLDS",
    "CheckReports",
    "Command",
    "Count",
    "Event",
    "ExcludeTarget",
    "FollowFleet",
    "MoveOn",
    "PauseRollout",
    "ReportInstall",
    "ResumeRollout",
    "RetryFailed",
    "Running",
    "StartRollout",
    "State",
    "StopRollout",
    "Stopped",
    "Unstarted",
    "count",
    "decide",
    "evolve",
]

# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class StartRollout:
    """Start the rollout of an approved update.

    Args:
        targets: from account to group.
        silent_days: after so many days without a report the rollout pauses; 0: it never does.
        now: the customer's time, here and in the other commands.
    """

    rollout_id: str
    contract_id: str
    customer: str
    publisher: str
    update_id: str
    version: str
    groups: tuple[str, ...]
    phases: tuple[RolloutPhase, ...]
    targets: Mapping[str, str]
    by: str
    silent_days: int
    now: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowFleet:
    """Make the rollout target exactly these users, or stop it if its fleet has ended it.

    Args:
        targets: from account to group.
        reasons: for accounts that are not targets, why.
        over: why the rollout has ended for good; "" where it has not.
        over_by: the actor whose decision ended it.
    """

    targets: Mapping[str, str]
    reasons: Mapping[str, str]
    now: datetime
    over: str = ""
    over_by: str = ""


@dataclass(frozen=True, slots=True)
class PauseRollout:
    """Pause the rollout: until it is resumed, the update is offered to nobody."""

    reason: Text
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class ResumeRollout:
    """Resume a paused rollout. Failures reported before no longer count."""

    by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]


@dataclass(frozen=True, slots=True)
class StopRollout:
    """Stop the rollout for good."""

    reason: Text
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportInstall:
    """Report whether a user's machine could install the update."""

    rollout_id: DerivedIdentifier
    version: Code
    machine: Name
    succeeded: bool
    account_id: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    error: Text = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExcludeTarget:
    """Exclude a user, or one machine of the user, from the rollout."""

    account_id: Identifier
    reason: Text
    by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    machine: OptionalName = ""


@dataclass(frozen=True, slots=True)
class RetryFailed:
    """Forget the failures reported so far, as if these machines had not reported yet.

    If the rollout's policy has paused it, it is resumed.
    """

    by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveOn:
    """End the present phase before its success threshold, and begin the next one.

    If the rollout's policy has paused it, it is resumed.

    Args:
        phase: the number of the present phase, from 1.
    """

    phase: Number
    reason: Text
    by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]


@dataclass(frozen=True, slots=True)
class CheckReports:
    """Pause the rollout if its phase is silent, now that reports are due."""

    now: datetime


Steering: TypeAlias = PauseRollout | ResumeRollout | StopRollout | ExcludeTarget | RetryFailed | MoveOn
"""An administrator's command."""
Command: TypeAlias = StartRollout | FollowFleet | ReportInstall | CheckReports | Steering

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case StartRollout():
            return () if not isinstance(state, Unstarted) else _start(command)
        case FollowFleet():
            return _follow(command, state) if isinstance(state, Running) else ()
        case ReportInstall():
            return _report(command, state)
        case CheckReports(now):
            return check_reports(state, now) if isinstance(state, Running) else ()
        case PauseRollout() | ResumeRollout() | StopRollout() | ExcludeTarget() | RetryFailed() | MoveOn():
            pass
        case unreachable:
            assert_never(unreachable)
    match state:
        case Running():
            return _steer(command, state)
        case Stopped(_, stopped):
            return () if isinstance(command, StopRollout) else _over(stopped)
        case Unstarted():
            return Rejected(rules.ROLLOUT_UNKNOWN, "There is no such rollout.", "See the rollouts of the contract.")
        case unreachable_state:
            assert_never(unreachable_state)


def _start(command: StartRollout) -> tuple[Event, ...]:
    started = RolloutStarted(
        rollout_id=command.rollout_id,
        contract_id=command.contract_id,
        customer=command.customer,
        publisher=command.publisher,
        update_id=command.update_id,
        version=command.version,
        groups=command.groups,
        phases=command.phases,
        started_by=command.by,
        silent_days=command.silent_days,
    )
    first = PhaseStarted(rollout_id=command.rollout_id, phase=0, started_by=command.by)
    return with_policy((started, *_added(started, command.targets), first), INITIAL, command.now)


def _added(started: RolloutStarted, targets: Mapping[str, str]) -> list[Event]:
    return [
        TargetAdded(rollout_id=started.rollout_id, account_id=who, group_id=group, phase=phase_of(started, who, group))
        for who, group in sorted(targets.items())
    ]


def _follow(command: FollowFleet, state: Running) -> tuple[Event, ...]:
    started = state.started
    if command.over:
        return (_stopped(started, command.over_by or started.publisher, command.over),)
    removed = [
        TargetRemoved(
            rollout_id=started.rollout_id,
            account_id=who,
            reason=command.reasons.get(who, "The user holds no seat of the product any more."),
        )
        for who in sorted(state.targets.keys() - command.targets.keys())
    ]
    new = {who: group for who, group in command.targets.items() if who not in state.targets}
    return with_policy((*removed, *_added(started, new)), state, command.now)


def _steer(command: Steering, state: Running) -> Decision[Event]:
    started = state.started
    match command:
        case StopRollout(reason, by):
            return (_stopped(started, by, reason),)
        case PauseRollout(reason, by):
            if state.paused is not None:
                return ()
            return (RolloutPaused(rollout_id=started.rollout_id, paused_by=by, reason=reason, cause="decision"),)
        case ResumeRollout(by, now):
            if state.paused is None:
                return ()
            if lacks_users(state) and not state.completed:
                return Rejected(
                    rules.PHASE_WITHOUT_USERS,
                    f"Phase {state.phase + 1} has no users who could try the update.",
                    "Put somebody into it, or move on to the next phase.",
                    (state.paused,),
                )
            return with_policy((RolloutResumed(rollout_id=started.rollout_id, resumed_by=by),), state, now)
        case ExcludeTarget():
            return _exclude(command, state)
        case RetryFailed():
            return _retry(command, state)
        case MoveOn():
            return _move_on(command, state)
        case unreachable:
            assert_never(unreachable)


def _exclude(command: ExcludeTarget, state: Running) -> Decision[Event]:
    target = (command.account_id, command.machine)
    if target in state.excluded:
        return ()
    if command.account_id not in state.targets:
        removed = state.removed.get(command.account_id)
        return Rejected(
            rules.TARGET_UNKNOWN,
            "The user is not among the users of this rollout" + (f": {removed.reason}" if removed else "."),
            "See the users of the rollout.",
            (removed,) if removed else (),
        )
    if command.machine and target not in state.machines:
        return Rejected(
            rules.TARGET_UNKNOWN,
            "No machine of this name has reported to the rollout for the user.",
            "See the machines of the rollout's users.",
        )
    excluded = TargetExcluded(
        rollout_id=state.started.rollout_id,
        account_id=command.account_id,
        machine=command.machine,
        reason=command.reason,
        excluded_by=command.by,
    )
    return with_policy((excluded,), state, command.now)


def _retry(command: RetryFailed, state: Running) -> Decision[Event]:
    failed = sum(isinstance(report, InstallFailed) for report in state.machines.values())
    if not failed:
        return Rejected(
            rules.NOTHING_FAILED, "No machine's latest report is a failure.", "Wait for reports, exclude, or move on."
        )
    retried = FailuresRetried(rollout_id=state.started.rollout_id, machines=failed, retried_by=command.by)
    resumed = () if lacks_users(state) else _resumed_by(command.by, state)
    return with_policy((retried, *resumed), state, command.now)


def _move_on(command: MoveOn, state: Running) -> Decision[Event]:
    if state.completed or command.phase != state.phase + 1:
        present = "every phase has ended" if state.completed else f"phase {state.phase + 1} is the present one"
        return Rejected(
            rules.PHASE_NOT_PRESENT,
            f"Phase {command.phase} cannot be ended: {present}.",
            "See the rollout as it is now.",
        )
    counts = count(state, state.phase)
    moved = RolloutMovedOn(
        rollout_id=state.started.rollout_id,
        phase=state.phase,
        targets=counts.targets,
        succeeded=counts.succeeded,
        reason=command.reason,
        moved_by=command.by,
    )
    events = (moved, *_resumed_by(command.by, state), *next_phase(state, command.by))
    return with_policy(events, state, command.now)


def _resumed_by(by: str, state: Running) -> tuple[Event, ...]:
    """Return the resumption, if the policy has paused it; an administrator's pause stays."""
    return (RolloutResumed(rollout_id=state.started.rollout_id, resumed_by=by),) if paused_by_policy(state) else ()


def _report(command: ReportInstall, state: State) -> Decision[Event]:
    if isinstance(state, Stopped):
        return _over(state.stopped)
    target = state.targets.get(command.account_id) if isinstance(state, Running) else None
    if target is None or isinstance(state, Unstarted):
        removed = state.removed.get(command.account_id) if isinstance(state, Running) else None
        return Rejected(
            rules.NOT_A_TARGET,
            "You are not among the users of this rollout" + (f": {removed.reason}" if removed else "."),
            "Ask an administrator of your contract.",
            (removed,) if removed else (),
        )
    excluded = state.excluded.get((command.account_id, ""))
    if excluded is not None:
        return Rejected(
            rules.NOT_A_TARGET,
            f"You were excluded from this rollout: {excluded.reason}",
            "Ask an administrator of your contract.",
            (excluded,),
        )
    started = state.started
    if command.version != started.version:
        return Rejected(
            rules.VERSION_MISMATCH,
            f"The rollout is of version {started.version}.",
            "Report the installation of that version.",
            (started,),
        )
    if target.phase > state.phase:
        return Rejected(
            rules.PHASE_NOT_STARTED, "The update is not offered to you yet.", "Wait for your phase.", (target,)
        )
    machine = (command.account_id, command.machine)
    before = state.machines.get(machine)
    repeated = before is not None and not command.succeeded and machine not in state.forgiven
    if isinstance(before, InstallSucceeded) or repeated:
        return ()
    report: Event
    if command.succeeded:
        report = InstallSucceeded(
            rollout_id=started.rollout_id,
            account_id=command.account_id,
            machine=command.machine,
            version=command.version,
            reported_at=command.now,
        )
    else:
        report = InstallFailed(
            rollout_id=started.rollout_id,
            account_id=command.account_id,
            machine=command.machine,
            version=command.version,
            error=command.error,
            reported_at=command.now,
        )
    return with_policy((report,), state, command.now)


def _stopped(started: RolloutStarted, by: str, reason: str) -> RolloutStopped:
    return RolloutStopped(rollout_id=started.rollout_id, contract_id=started.contract_id, stopped_by=by, reason=reason)


def _over(stopped: RolloutStopped) -> Rejected:
    return Rejected(
        rules.ROLLOUT_STOPPED,
        f"The rollout was stopped: {stopped.reason}",
        "Approve the update again to start another rollout.",
        (stopped,),
    )


def _actor(event: Event) -> str:
    match event:
        case (
            RolloutStarted(started_by=by)
            | PhaseStarted(started_by=by)
            | PhasePassed(passed_by=by)
            | RolloutPaused(paused_by=by)
            | RolloutResumed(resumed_by=by)
            | RolloutStopped(stopped_by=by)
            | RolloutCompleted(completed_by=by)
            | RolloutMovedOn(moved_by=by)
            | FailuresRetried(retried_by=by)
            | TargetExcluded(excluded_by=by)
        ):
            return by
        case TargetAdded() | TargetRemoved() | InstallSucceeded() | InstallFailed() | PhaseReportsDue():
            return ""
        case unreachable:
            assert_never(unreachable)


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, RolloutStarted) else ""


ROLLOUT: Final = Stream(category="rollout", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant, actor=_actor)
