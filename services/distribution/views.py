"""The models of distribution's answers about one rollout and one group."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from services.distribution.lists import GroupView, PolicyView, RolloutSummary


class MachineView(BaseModel):
    machine: str
    succeeded: bool
    error: str
    at: datetime
    excluded: str | None
    """Why the machine does not count; None where it does."""


class TargetView(BaseModel):
    account_id: str
    group_id: str
    phase: int
    removed: str | None
    excluded: str | None
    """Why an administrator excluded the user; None where they are not excluded."""
    succeeded: int
    """The number of the user's machines that reported success."""
    failed: int
    """The number of the user's machines that reported a failure."""
    machines: list[MachineView]


class HistoryView(BaseModel):
    type: str
    at: datetime
    actor: str
    data: dict[str, object]
    event_id: str


class PhaseProgress(BaseModel):
    """A phase's users by outcome.

    Those who were removed or excluded, and excluded machines, do not count.
    """

    targets: int
    succeeded: int
    """The users of whom every machine that reported has the update."""
    failed: int
    """The users with a machine that could not install it."""


def progress_of(users: Sequence[TargetView], phases: int) -> list[PhaseProgress]:
    """Return each phase's users by outcome, counted as the statement `rollouts` does."""
    return [_progress(users, phase) for phase in range(1, phases + 1)]


def _progress(users: Sequence[TargetView], phase: int) -> PhaseProgress:
    present = [user for user in users if user.phase == phase and user.removed is None and user.excluded is None]
    counting = [[machine for machine in user.machines if machine.excluded is None] for user in present]
    failed = sum(any(not machine.succeeded for machine in machines) for machines in counting)
    reported = sum(bool(machines) for machines in counting)
    return PhaseProgress(targets=len(present), succeeded=reported - failed, failed=failed)


class RolloutView(RolloutSummary):
    progress: list[PhaseProgress]
    """One for each of `phases`."""
    users: list[TargetView]
    history: list[HistoryView]


class GroupWithPolicy(GroupView):
    policy: PolicyView
