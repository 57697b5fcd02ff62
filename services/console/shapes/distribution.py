"""The answers of distribution's routes, as far as the pages read them."""

from datetime import datetime

from pydantic import BaseModel, JsonValue


class Update(BaseModel):
    """An available update.

    Of distribution's `GET /contracts/{contract_id}/updates/{publisher}/{update_id}`.
    """

    publisher: str
    update_id: str
    product: str
    kind: str
    title: str
    version: str
    platform: str
    severity: str
    sha256: str
    size_bytes: int
    location: str
    published_at: datetime
    supersedes: list[str] = []
    approved: list[str] = []
    held: list[str] = []
    scheduled: list[str] = []


class Updates(BaseModel):
    """A page of updates. Of distribution's `GET /contracts/{contract_id}/updates`."""

    items: list[Update]
    next: str | None = None


class Decision(BaseModel):
    """What was decided about an update for a group."""

    publisher: str
    update_id: str
    group_id: str
    decision: str
    starts_at: datetime | None
    reason: str | None
    rollout_id: str | None
    decided_by: str


class Decisions(BaseModel):
    """The latest decisions. Of distribution's `GET /contracts/{contract_id}/decisions`."""

    items: list[Decision]


class Group(BaseModel):
    """A group of a contract's users."""

    group_id: str
    name: str
    members: list[str]


class Groups(BaseModel):
    """A contract's groups. Of distribution's `GET /contracts/{contract_id}/groups`."""

    items: list[Group]
    next: str | None = None


class Window(BaseModel):
    """A maintenance window."""

    weekday: str
    starts: str
    minutes: int
    time_zone: str


class GroupPolicy(BaseModel):
    """A group's policy."""

    group_id: str
    cadence: str
    period: str | None
    days: int
    critical_period: str | None
    critical_days: int
    windows: list[Window]
    set_by: str | None


class GroupThen(Group):
    """A group with its policy.

    Of distribution's `GET /contracts/{contract_id}/groups/{group_id}`.
    """

    policy: GroupPolicy


class Policies(BaseModel):
    """The groups' policies. Of distribution's `GET /contracts/{contract_id}/policies`."""

    items: list[GroupPolicy]


class Phase(BaseModel):
    """A phase of a rollout, as it was approved."""

    share: int = 0
    groups: list[str] = []
    success_percent: int
    error_percent: int


class RolloutInList(BaseModel):
    """A rollout and the numbers of its users."""

    rollout_id: str
    publisher: str
    update_id: str
    product: str
    title: str
    version: str
    groups: list[str]
    phases: list[Phase]
    status: str
    phase: int
    reason: str | None
    targets: int
    succeeded: int
    failed: int
    started_by: str


class Rollouts(BaseModel):
    """A page of rollouts. Of distribution's `GET /contracts/{contract_id}/rollouts`."""

    items: list[RolloutInList]
    next: str | None = None


class Machine(BaseModel):
    """A machine's latest report to a rollout."""

    machine: str
    succeeded: bool
    error: str
    at: datetime
    excluded: str | None


class Target(BaseModel):
    """A user of a rollout with the machines that reported."""

    account_id: str
    group_id: str
    phase: int
    removed: str | None
    excluded: str | None
    machines: list[Machine]


class PhaseProgress(BaseModel):
    """The numbers of a phase's users by outcome."""

    targets: int
    succeeded: int
    failed: int


class Happened(BaseModel):
    """An event of a history."""

    type: str
    at: datetime
    actor: str
    data: dict[str, JsonValue]


class Rollout(RolloutInList):
    """A rollout with its users.

    Of distribution's `GET /contracts/{contract_id}/rollouts/{rollout_id}`.
    """

    progress: list[PhaseProgress] = []
    users: list[Target]
    history: list[Happened]


class History(BaseModel):
    """A part of a history.

    Of distribution's `GET /contracts/{contract_id}/groups/{group_id}/history`.
    """

    items: list[Happened]
    next: str | None


class Offer(BaseModel):
    """An update that reaches the person's machines."""

    rollout_id: str
    publisher: str
    update_id: str
    product: str
    title: str
    version: str
    platform: str
    size_bytes: int
    waits_for: str | None = None
    opens_at: datetime | None = None
    installed_on: list[str] = []
    failed_on: list[str] = []


class Offers(BaseModel):
    """The updates for the person's machines. Of distribution's `GET /me/updates`."""

    items: list[Offer]
    next: str | None = None
