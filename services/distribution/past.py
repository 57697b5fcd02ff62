"""A rollout and a group as they were, from their own events.

The folds make the same views as the tables of `projections.py` do for the present; `tests/services/test_as_of.py`
compares them after each step.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from services.distribution.domain import fleet, rollout
from services.distribution.domain.groups import DEFAULT_GROUP
from services.distribution.lists import PolicyView
from services.distribution.views import GroupWithPolicy, HistoryView, MachineView, RolloutView, TargetView, progress_of
from shared.events import (
    FailuresRetried,
    InstallFailed,
    InstallSucceeded,
    PhaseStarted,
    RolloutCompleted,
    RolloutPaused,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    TargetAdded,
    TargetExcluded,
    TargetRemoved,
)
from shared.runtime.as_of import Happened, Past, nothing_then

# ── Groups ─────────────────────────────────────────────────────────────────────────────────────────────

NO_POLICY: Final[Mapping[str, object]] = {
    "cadence": "off",
    "period": None,
    "days": 0,
    "critical_period": None,
    "critical_days": 0,
    "windows": [],
    "set_by": None,
}
"""The policy of a group that none was set for."""


def group_in(state: fleet.State, group_id: str) -> GroupWithPolicy | None:
    """Return the view of a group of a fleet; None if the fleet has none with this id."""
    created, policy = state.groups.groups.get(group_id), state.groups.policies.get(group_id)
    if created is None and group_id != DEFAULT_GROUP:
        return None
    shown = NO_POLICY
    if policy is not None:
        shown = {name: getattr(policy, name) for name in NO_POLICY} | {"windows": list(policy.windows)}
    return GroupWithPolicy(
        group_id=group_id,
        name="default" if created is None else created.name,
        members=sorted(who for who, group in state.groups.members.items() if group == group_id),
        policy=PolicyView.model_validate({"group_id": group_id, **shown}),
    )


def group_then(past: Past[fleet.State, fleet.Event], group_id: str) -> GroupWithPolicy:
    """Return the view of a group at a time in the past.

    Raises:
        Problem: 404 if there was no such group then.
    """
    group = group_in(past.state(), group_id)
    if group is None:
        raise nothing_then(past.at)
    return group


# ── Rollouts ───────────────────────────────────────────────────────────────────────────────────────────


class _Report(NamedTuple):
    succeeded: bool
    error: str
    at: datetime


class _Targets:
    """The targets of a rollout, what their machines reported, and who is excluded."""

    def __init__(self) -> None:
        self.added: dict[str, TargetAdded] = {}
        self.removed: dict[str, str] = {}
        self.reports: dict[tuple[str, str], _Report] = {}
        self.excluded: dict[tuple[str, str], str] = {}

    def note(self, happened: Happened[rollout.Event]) -> None:
        """Note what an event says of targets."""
        match happened.event:
            case TargetAdded(account_id=account_id) as added:
                self.added[account_id] = added
                self.removed.pop(account_id, None)
            case TargetRemoved(account_id=account_id, reason=reason) if account_id in self.added:
                self.removed[account_id] = reason
            case RolloutStopped(reason=reason):
                self.removed = dict.fromkeys(self.added, reason) | self.removed
            case InstallSucceeded(account_id=account_id, machine=machine):
                self.reports[account_id, machine] = _Report(True, "", happened.envelope.time)
            case InstallFailed(account_id=account_id, machine=machine, error=error):
                self.reports[account_id, machine] = _Report(False, error, happened.envelope.time)
            case FailuresRetried():
                self.reports = {machine: report for machine, report in self.reports.items() if report.succeeded}
            case TargetExcluded(account_id=account_id, machine=machine, reason=reason):
                self.excluded[account_id, machine] = reason
            case _:
                pass

    def views(self) -> Iterator[TargetView]:
        """Yield the targets by phase and account."""
        by_user: dict[str, list[MachineView]] = {}
        for (account_id, machine), report in sorted(self.reports.items()):
            excluded = self.excluded.get((account_id, machine))
            view = MachineView(machine=machine, **report._asdict(), excluded=excluded)
            by_user.setdefault(account_id, []).append(view)
        for account_id, added in sorted(self.added.items(), key=lambda each: (each[1].phase, each[0])):
            machines = by_user.get(account_id, [])
            succeeded = sum(machine.succeeded for machine in machines)
            yield TargetView(
                account_id=account_id,
                group_id=added.group_id,
                phase=added.phase + 1,
                removed=self.removed.get(account_id),
                excluded=self.excluded.get((account_id, "")),
                succeeded=succeeded,
                failed=len(machines) - succeeded,
                machines=machines,
            )


def rollout_then(past: Past[rollout.State, rollout.Event], product: str, title: str) -> RolloutView:
    """Return the view of a rollout at a time in the past.

    Args:
        product: The product of its update.
        title: The title of its update.
    """
    started = past.events[0].event
    if not isinstance(started, RolloutStarted):
        raise TypeError(f"a rollout begins with its start, not with {started.type()}")
    targets = _Targets()
    for happened in past.events:
        targets.note(happened)
    users = list(targets.views())
    counted = [user for user in users if user.removed is None and user.excluded is None]
    outcomes = [[machine.succeeded for machine in user.machines if machine.excluded is None] for user in counted]
    status, reason = _status(past)
    return RolloutView(
        rollout_id=started.rollout_id,
        publisher=started.publisher,
        update_id=started.update_id,
        product=product,
        title=title,
        version=started.version,
        groups=list(started.groups),
        phases=list(started.phases),
        status=status,
        phase=max((event.phase + 1 for _, event in past.events if isinstance(event, PhaseStarted)), default=0),
        reason=reason,
        targets=len(counted),
        succeeded=sum(bool(machines) and all(machines) for machines in outcomes),
        failed=sum(not all(machines) for machines in outcomes),
        started_by=started.started_by,
        event_id=past.events[0].envelope.id,
        progress=progress_of(users, len(started.phases)),
        users=users,
        history=[_history(happened) for happened in past.events],
    )


def _status(past: Past[rollout.State, rollout.Event]) -> tuple[str, str | None]:
    """Return the rollout's status, and the reason for it.

    One that is resumed after its last phase was passed is completed.
    """
    status: str = "running"
    reason: str | None = None
    completed = False
    for _, event in past.events:
        match event:
            case RolloutPaused():
                status, reason = "paused", event.reason
            case RolloutStopped():
                status, reason = "stopped", event.reason
            case RolloutResumed():
                status, reason = "completed" if completed else "running", None
            case RolloutCompleted():
                status, reason, completed = "completed", None, True
            case _:
                pass
    return status, reason


def _history(happened: Happened[rollout.Event]) -> HistoryView:
    envelope = happened.envelope
    return HistoryView(
        type=envelope.type,
        at=envelope.time,
        actor=envelope.actor,
        data=json.loads(happened.event.data()),
        event_id=envelope.id,
    )
