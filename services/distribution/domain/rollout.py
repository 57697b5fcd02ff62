"""An approved update on its way to its users, phase by phase. One stream per rollout. It targets exactly the users that
its fleet has told it of last: those who hold a seat, in an active term, with the update right."""

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
"""Who decides when nobody has to: the thresholds that the approval set."""

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unstarted:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """Also one that is paused, or whose phases are all passed: it stays until it is stopped."""

    started: RolloutStarted
    phase: int = -1
    """The last phase that was started; earlier ones are passed."""
    targets: Mapping[str, TargetAdded] = field(default_factory=dict)
    gone: Mapping[str, TargetRemoved] = field(default_factory=dict)
    machines: Mapping[tuple[str, str], InstallSucceeded | InstallFailed] = field(default_factory=dict)
    """What each machine of a user reported last."""
    forgiven: frozenset[tuple[str, str]] = frozenset()
    """The machines whose failure no longer counts: until they report anew."""
    paused: RolloutPaused | None = None
    completed: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    started: RolloutStarted
    stopped: RolloutStopped


State: TypeAlias = Unstarted | Running | Stopped
INITIAL: Final[State] = Unstarted()


def evolve(state: State, event: Event) -> State:
    """The state after `event`."""
    if isinstance(event, RolloutStarted):
        return Running(started=event)
    return _running(state, event) if isinstance(state, Running) else state


def _running(state: Running, event: Event) -> State:
    match event:
        case TargetAdded(account_id=account_id):
            return replace(state, targets={**state.targets, account_id: event}, gone=_without(state.gone, account_id))
        case TargetRemoved(account_id=account_id):
            return replace(state, targets=_without(state.targets, account_id), gone={**state.gone, account_id: event})
        case InstallSucceeded() | InstallFailed():
            machine = (event.account_id, event.machine)
            return replace(state, machines={**state.machines, machine: event}, forgiven=state.forgiven - {machine})
        case PhaseStarted(phase=phase):
            return replace(state, phase=phase)
        case RolloutPaused():
            return replace(state, paused=event)
        case RolloutResumed():
            failed = (each for each, report in state.machines.items() if isinstance(report, InstallFailed))
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
    """How a phase stands. A user has the update once every machine of theirs that reported has it."""

    targets: int
    succeeded: int
    failed: int
    """Also those who have been forgiven since."""
    counting: int
    """Of those who failed, how many count towards the error threshold."""


def count(state: Running, phase: int) -> Count:
    """How the phase stands."""
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
    """The user's phase: by group, or by a share that is the same whenever it is asked for."""
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
    """The update was approved: it goes to these users, from account to group."""

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
    """These users are to get the update, and no others, as the fleet stands now; nobody any more, where it is over."""

    targets: Mapping[str, str]
    reasons: Mapping[str, str]
    over: str = ""
    over_by: str = ""


@dataclass(frozen=True, slots=True)
class PauseRollout:
    """Offer the update to nobody for now."""

    reason: Text
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class ResumeRollout:
    """Go on; failures up to now don't count any more."""

    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class StopRollout:
    """End the rollout for good."""

    reason: Text
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportInstall:
    """A machine's agent says for its user whether the update could be installed."""

    rollout_id: DerivedIdentifier
    version: Code
    machine: Name
    succeeded: bool
    account_id: Annotated[str, SUPPLIED]
    error: Text = ""


Command: TypeAlias = StartRollout | FollowFleet | PauseRollout | ResumeRollout | StopRollout | ReportInstall

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """What follows from `command` in `state`."""
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
    return _going_on((started, *_added(started, command.targets), first), INITIAL)


def _added(started: RolloutStarted, targets: Mapping[str, str]) -> list[Event]:
    return [
        TargetAdded(rollout_id=started.rollout_id, account_id=who, group_id=group, phase=phase_of(started, who, group))
        for who, group in sorted(targets.items())
    ]


def _follow(command: FollowFleet, state: Running) -> tuple[Event, ...]:
    started = state.started
    if command.over:
        return (_stopped(started, command.over_by or started.publisher, command.over),)
    gone = [
        TargetRemoved(
            rollout_id=started.rollout_id,
            account_id=who,
            reason=command.reasons.get(who, "The user holds no seat of the product any more."),
        )
        for who in sorted(state.targets.keys() - command.targets.keys())
    ]
    new = {who: group for who, group in command.targets.items() if who not in state.targets}
    return _going_on((*gone, *_added(started, new)), state)


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
            return _going_on((RolloutResumed(rollout_id=started.rollout_id, resumed_by=by),), state)
        case unreachable:
            assert_never(unreachable)


def _report(command: ReportInstall, state: State) -> Decision[Event]:
    if isinstance(state, Stopped):
        return _over(state.stopped)
    target = state.targets.get(command.account_id) if isinstance(state, Running) else None
    if target is None or isinstance(state, Unstarted):
        gone = state.gone.get(command.account_id) if isinstance(state, Running) else None
        return Rejected(
            rules.NOT_A_TARGET,
            "You are not to get this update by this rollout" + (f": {gone.reason}" if gone else "."),
            "Ask an administrator of your contract.",
            (gone,) if gone else (),
        )
    started = state.started
    if command.version != started.version:
        return Rejected(
            rules.VERSION_MISMATCH, f"The rollout is of version {started.version}.", "Report that one.", (started,)
        )
    if target.phase > state.phase:
        return Rejected(
            rules.PHASE_NOT_STARTED, "The update is not offered to you yet.", "Wait for your phase.", (target,)
        )
    machine = (command.account_id, command.machine)
    before = state.machines.get(machine)
    known = before is not None and not command.succeeded and machine not in state.forgiven
    if isinstance(before, InstallSucceeded) or known:
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
    return _going_on((report,), state)


def _going_on(events: Sequence[Event], state: State) -> tuple[Event, ...]:
    """The events, and what the thresholds make of them: a pause, or phases passed and started until one is not."""
    after = _folded(events, state)
    all_ = list(events)
    while isinstance(after, Running) and (more := _threshold(after)):
        all_ += more
        after = _folded(more, after)
    return tuple(all_)


def _folded(events: Sequence[Event], state: State) -> State:
    return reduce(evolve, events, state)


def _threshold(state: Running) -> tuple[Event, ...]:
    """What a phase's threshold brings about. A phase without users is passed only where other phases have some: while
    the rollout has no target at all, nobody can try the update, and it waits."""
    if state.paused is not None or state.completed or not state.targets:
        return ()
    rollout_id, phases = state.started.rollout_id, state.started.phases
    for number in range(state.phase + 1):
        stands = count(state, number)
        if stands.counting and 100 * stands.counting >= phases[number].error_percent * stands.targets:
            reason = f"In phase {number + 1}, {stands.counting} of {stands.targets} users failed to install the update."
            return (RolloutPaused(rollout_id=rollout_id, paused_by=THRESHOLDS, reason=reason),)
    stands = count(state, state.phase)
    if 100 * stands.succeeded < phases[state.phase].success_percent * stands.targets:
        return ()
    passed = PhasePassed(
        rollout_id=rollout_id,
        phase=state.phase,
        targets=stands.targets,
        succeeded=stands.succeeded,
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
        "Approve the update anew, if it is to go on.",
        (stopped,),
    )


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, RolloutStarted) else ""


ROLLOUT: Final = Stream(category="rollout", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
