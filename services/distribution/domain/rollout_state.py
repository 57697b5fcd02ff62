"""The state of a rollout, its fold, and the numbers of its users by outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Final, TypeAlias, TypeVar, assert_never

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
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    TargetAdded,
    TargetExcluded,
    TargetRemoved,
)

Event: TypeAlias = (
    RolloutStarted
    | PhaseStarted
    | PhasePassed
    | PhaseReportsDue
    | RolloutMovedOn
    | TargetAdded
    | TargetRemoved
    | TargetExcluded
    | FailuresRetried
    | InstallSucceeded
    | InstallFailed
    | RolloutPaused
    | RolloutResumed
    | RolloutStopped
    | RolloutCompleted
)

E = TypeVar("E", TargetAdded, TargetRemoved)

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
    excluded: Mapping[tuple[str, str], TargetExcluded] = field(default_factory=dict)
    """The excluded machines, by user and machine; "" as the machine is the user."""
    left: frozenset[int] = frozenset()
    """The phases that a user has left: the fleet removed the user, or an administrator excluded them."""
    due: datetime | None = None
    """When the reports of the present phase are due; None while the rollout does not wait for any."""
    paused: RolloutPaused | None = None
    completed: bool = False

    @property
    def counted(self) -> Mapping[str, TargetAdded]:
        """The targets who are not excluded."""
        return {who: target for who, target in self.targets.items() if (who, "") not in self.excluded}

    def latest_report(self, phase: int) -> datetime | None:
        """Return when a machine of the phase's users that counts reported last; None if none has."""
        users = {who for who, target in self.counted.items() if target.phase == phase}
        reports = (
            report.reported_at
            for machine, report in self.machines.items()
            if machine[0] in users and machine not in self.excluded
        )
        return max((at for at in reports if at is not None), default=None)


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
                state,
                targets=_without(state.targets, account_id),
                removed={**state.removed, account_id: event},
                left=_left(state, account_id),
            )
        case TargetExcluded(account_id=account_id, machine=excluded):
            return replace(
                state,
                excluded={**state.excluded, (account_id, excluded): event},
                left=state.left if excluded else _left(state, account_id),
            )
        case FailuresRetried():
            others = {machine: r for machine, r in state.machines.items() if isinstance(r, InstallSucceeded)}
            return replace(state, machines=others, forgiven=frozenset())
        case PhaseReportsDue(due=due):
            return replace(state, due=due)
        case InstallSucceeded() | InstallFailed():
            machine = (event.account_id, event.machine)
            return replace(state, machines={**state.machines, machine: event}, forgiven=state.forgiven - {machine})
        case PhaseStarted(phase=phase):
            return replace(state, phase=phase, due=None)
        case RolloutPaused():
            return replace(state, paused=event, due=None)
        case RolloutResumed(forgives=forgives):
            failed = (machine for machine, report in state.machines.items() if isinstance(report, InstallFailed))
            return replace(state, paused=None, forgiven=frozenset(failed) if forgives else state.forgiven, due=None)
        case RolloutCompleted():
            return replace(state, completed=True, due=None)
        case RolloutStopped():
            return Stopped(state.started, event)
        case PhasePassed() | RolloutMovedOn() | RolloutStarted():
            return state
        case unreachable:
            assert_never(unreachable)


def _left(state: Running, account_id: str) -> frozenset[int]:
    target = state.counted.get(account_id)
    return state.left if target is None else state.left | {target.phase}


def _without(users: Mapping[str, E], account_id: str) -> Mapping[str, E]:
    return {who: event for who, event in users.items() if who != account_id}


@dataclass(frozen=True, slots=True)
class Count:
    """The numbers of a phase's users by outcome.

    A user has succeeded once every machine of the user that reported has the update. Excluded users and machines do not
    count.
    """

    targets: int
    succeeded: int
    failed: int
    """All users with a failed machine, including failures from before the rollout was resumed."""
    counting: int
    """The failed users who count towards the error threshold."""


def count(state: Running, phase: int) -> Count:
    """Return the numbers of the phase's users by outcome."""
    users = {who for who, target in state.counted.items() if target.phase == phase}
    reported = {who for who, machine in state.machines if (who, machine) not in state.excluded} & users
    failed, counting = set(), set()
    for (who, machine), report in state.machines.items():
        if who in users and isinstance(report, InstallFailed) and (who, machine) not in state.excluded:
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
