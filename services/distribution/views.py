"""The models of distribution's answers about one rollout and one group."""

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


class RolloutView(RolloutSummary):
    users: list[TargetView]
    history: list[HistoryView]


class GroupWithPolicy(GroupView):
    policy: PolicyView
