"""The rollout of an approved update, phase by phase, one stream per rollout.

It targets exactly the users whom its fleet named last: those who hold a seat, in an active term, with the update right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from hashlib import sha256
from typing import Annotated, Final, TypeAlias, TypeVar, assert_never

from services.distribution.domain import rules
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

Event: TypeAlias = (
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

E = TypeVar("E", TargetAdded, TargetRemoved)

THRESHOLDS: Final = "thresholds"
"""The actor of decisions that follow from the approval's thresholds."""

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unstarted:
    """A rollout without any event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A rollout that was started and not stopped, including a paused or completed one."""

    started: RolloutStarted
    phase: int = -1
    """The index of the latest started phase. Earlier phases are passed."""
    targets: Mapping[str, TargetAdded] = field(default_factory=dict)
    removed: Mapping[str, TargetRemoved] = field(default_factory=dict)
    machines: Mapping[tuple[str, str], InstallSucceeded | InstallFailed] = field(default_factory=dict)
    """The latest report of each machine, by user and machine."""
    forgiven: frozenset[tuple[str, str]] = frozenset()
    """The machines whose failure was reported before the rollout was resumed. It does not count."""
    paused: RolloutPaused | None = None
    completed: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """A rollout that was stopped for good."""

    started: RolloutStarted
    stopped: RolloutStopped


State: TypeAlias = Unstarted | Running | Stopped
INITIAL: Final[State] = Unstarted()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    if isinstance(event, RolloutStarted):
        return Running(started=event)
    return _running(state, event) if isinstance(state, Running) else state


def _running(state: Running, event: Event) -> State:
    match event:
        case TargetAdded(account_id=account_id):
            return replace(
                state, targets={**state.targets, account_id: event}, removed=_without(state.removed, account_id)
            )
        case TargetRemoved(account_id=account_id):
            return replace(
                state, targets=_without(state.targets, account_id), removed={**state.removed, account_id: event}
            )
        case InstallSucceeded() | InstallFailed():
            machine = (event.account_id, event.machine)
            return replace(state, machines={**state.machines, machine: event}, forgiven=state.forgiven - {machine})
        case PhaseStarted(phase=phase):
            return replace(state, phase=phase)
        case RolloutPaused():
            return replace(state, paused=event)
        case RolloutResumed():
            failed = (machine for machine, report in state.machines.items() if isinstance(report, InstallFailed))
            return replace(state, paused=None, forgiven=frozenset(failed))
        case RolloutCompleted():
            return replace(state, completed=True)
        case RolloutStopped():
            return Stopped(state.started, event)
        case PhasePassed() | RolloutStarted():
            return state
        case unreachable:
            assert_never(unreachable)


def _without(users: Mapping[str, E], account_id: str) -> Mapping[str, E]:
    return {who: event for who, event in users.items() if who != account_id}


@dataclass(frozen=True, slots=True)
class Count:
    """The numbers of a phase's users by outcome.

    A user has succeeded once every machine of the user that reported has the update.
    """

    targets: int
    succeeded: int
    failed: int
    """All users with a failed machine, including failures from before the rollout was resumed."""
    counting: int
    """The failed users who count towards the error threshold."""


def count(state: Running, phase: int) -> Count:
    """Return the numbers of the phase's users by outcome."""
    users = {who for who, target in state.targets.items() if target.phase == phase}
    reported = {who for who, _ in state.machines} & users
    failed, counting = set(), set()
    for (who, machine), report in state.machines.items():
        if who in users and isinstance(report, InstallFailed):
            failed.add(who)
            if (who, machine) not in state.forgiven:
                counting.add(who)
    return Count(len(users), len(reported - failed), len(failed), len(counting))


def phase_of(started: RolloutStarted, account_id: str, group_id: str) -> int:
    """Return the index of the user's phase: by group, or by a share.

    The share is derived from a hash of the rollout and the account, so a user is always in the same phase.
    """
    lot = int.from_bytes(sha256(f"{started.rollout_id}\n{account_id}".encode()).digest()[:8]) % 100
    upto = 0
    for number, phase in enumerate(started.phases):
        upto += phase.share
        if group_id in phase.groups or lot < upto:
            return number
    return len(started.phases) - 1


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


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, RolloutStarted) else ""


ROLLOUT: Final = Stream(category="rollout", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
