"""The rollout of an approved update, phase by phase, one stream per rollout.

It targets exactly the users whom its fleet named last: those who hold a seat, in an active term, with the update right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Final, TypeAlias, assert_never

from services.distribution.domain import rules
from services.distribution.domain.rollout_state import (
    INITIAL,
    THRESHOLDS,
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
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import (
    InstallFailed,
    InstallSucceeded,
    PhasePassed,
    PhaseStarted,
    RolloutCompleted,
    RolloutPaused,
    RolloutPhase,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    TargetAdded,
    TargetRemoved,
)
from shared.events.fields import Code, DerivedIdentifier, Name, Text

__all__ = [
    "INITIAL",
    "ROLLOUT",
    "THRESHOLDS",
    "Command",
    "Count",
    "Event",
    "FollowFleet",
    "PauseRollout",
    "ReportInstall",
    "ResumeRollout",
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


@dataclass(frozen=True, slots=True)
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
    error: Text = ""


Command: TypeAlias = StartRollout | FollowFleet | PauseRollout | ResumeRollout | StopRollout | ReportInstall

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
        case PauseRollout() | ResumeRollout() | StopRollout():
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
    )
    first = PhaseStarted(rollout_id=command.rollout_id, phase=0, started_by=command.by)
    return _with_thresholds((started, *_added(started, command.targets), first), INITIAL)


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
    return _with_thresholds((*removed, *_added(started, new)), state)


def _steer(command: PauseRollout | ResumeRollout | StopRollout, state: Running) -> Decision[Event]:
    started = state.started
    match command:
        case StopRollout(reason, by):
            return (_stopped(started, by, reason),)
        case PauseRollout(reason, by):
            if state.paused is not None:
                return ()
            return (RolloutPaused(rollout_id=started.rollout_id, paused_by=by, reason=reason),)
        case ResumeRollout(by):
            if state.paused is None:
                return ()
            return _with_thresholds((RolloutResumed(rollout_id=started.rollout_id, resumed_by=by),), state)
        case unreachable:
            assert_never(unreachable)


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
        )
    else:
        report = InstallFailed(
            rollout_id=started.rollout_id,
            account_id=command.account_id,
            machine=command.machine,
            version=command.version,
            error=command.error,
        )
    return _with_thresholds((report,), state)


def _with_thresholds(events: Sequence[Event], state: State) -> tuple[Event, ...]:
    """Return the events, followed by those that the thresholds cause.

    These are a pause, or phases passed and started up to the first that is not passed.
    """
    after = _folded(events, state)
    result = list(events)
    while isinstance(after, Running) and (more := _threshold(after)):
        result += more
        after = _folded(more, after)
    return tuple(result)


def _folded(events: Sequence[Event], state: State) -> State:
    return reduce(evolve, events, state)


def _threshold(state: Running) -> tuple[Event, ...]:
    """Return the events that a threshold causes now: a pause, a passed phase, or none.

    A phase without users is passed if another phase has users. A rollout without any target waits, because nobody can
    try the update.
    """
    if state.paused is not None or state.completed or not state.targets:
        return ()
    rollout_id, phases = state.started.rollout_id, state.started.phases
    for number in range(state.phase + 1):
        counts = count(state, number)
        if counts.counting and 100 * counts.counting >= phases[number].error_percent * counts.targets:
            reason = f"In phase {number + 1}, {counts.counting} of {counts.targets} users failed to install the update."
            return (RolloutPaused(rollout_id=rollout_id, paused_by=THRESHOLDS, reason=reason),)
    counts = count(state, state.phase)
    if 100 * counts.succeeded < phases[state.phase].success_percent * counts.targets:
        return ()
    passed = PhasePassed(
        rollout_id=rollout_id,
        phase=state.phase,
        targets=counts.targets,
        succeeded=counts.succeeded,
        passed_by=THRESHOLDS,
    )
    if state.phase + 1 == len(phases):
        return (passed, RolloutCompleted(rollout_id=rollout_id, completed_by=THRESHOLDS))
    return (passed, PhaseStarted(rollout_id=rollout_id, phase=state.phase + 1, started_by=THRESHOLDS))


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
        ):
            return by
        case TargetAdded() | TargetRemoved() | InstallSucceeded() | InstallFailed():
            return ""
        case unreachable:
            assert_never(unreachable)


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, RolloutStarted) else ""


ROLLOUT: Final = Stream(category="rollout", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant, actor=_actor)
