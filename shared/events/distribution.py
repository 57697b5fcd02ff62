"""distribution's events: what reaches the desktops."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from shared.events.base import Event, Instant, Record

Severity = Literal["critical", "important", "normal"]


class UpdatePublished(Event):
    """The publisher offers an update or an extension for a product."""

    update_id: str
    publisher: str
    product: str
    kind: Literal["update", "extension"]
    title: str
    version: str
    platform: str
    severity: Severity
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]
    location: str
    published_at: Instant


class UpdateWithdrawn(Event):
    """The publisher takes the update back; it is installed no further."""

    update_id: str
    publisher: str
    reason: str


# ── What a contract's administrators decide: its fleet ─────────────────────────────────────────────────

Cadence = Literal["weekly", "monthly", "quarterly", "off"]
Period = Literal["week", "month", "quarter"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class MaintenanceWindow(Record):
    """Every week from this local time on, for so many minutes."""

    weekday: Weekday
    starts: str
    minutes: int
    time_zone: str


class RolloutPhase(Record):
    """A part of a rollout's users: of these groups, or this share of all of them. It is passed once so many percent
    of its users have the update, and pauses the rollout once so many percent of them failed."""

    share: int = 0
    groups: tuple[str, ...] = ()
    success_percent: int
    error_percent: int


class FleetOpened(Event):
    """The contract's users are managed here from now on, for this customer."""

    contract_id: str
    customer: str


class GroupCreated(Event):
    """Administrators may decide for these users apart from others."""

    contract_id: str
    group_id: str
    name: str
    created_by: str


class UserPutInGroup(Event):
    """The user is in this group, and in no other."""

    contract_id: str
    group_id: str
    account_id: str
    put_by: str
    rollouts: tuple[int, ...] = ()
    """The contract's rollouts, by number, whose targets this may change."""


class UserRemovedFromGroup(Event):
    """The user is in the default group again."""

    contract_id: str
    group_id: str
    account_id: str
    removed_by: str
    rollouts: tuple[int, ...] = ()


class GroupPolicySet(Event):
    """At the start of each of these periods (None: at any time) the group gets by itself the updates that are so many
    days old by then (never with `off`), in these windows only."""

    contract_id: str
    group_id: str
    cadence: Cadence
    days: int
    critical_days: int
    success_percent: int
    error_percent: int
    windows: tuple[MaintenanceWindow, ...]
    since: Instant
    """In the customer's time: the policy never acts before."""
    set_by: str
    period: Period | None = None
    critical_period: Period | None = None


class EntitlementNoted(Event):
    """Something that entitlements said about one of the contract's subscriptions took effect for its fleet, which
    gives facts of several streams one order."""

    contract_id: str
    subscription_id: str
    fact: Literal[
        "pool_opened", "term_started", "term_renewed", "term_over", "pool_ended", "seat_assigned", "seat_unassigned",
        "right_granted", "right_lost",
    ]  # fmt: skip
    account_id: str = ""
    product: str = ""
    publisher: str = ""
    starts: date | None = None
    because: str = ""
    """The id of the event that said so, "" where time did."""
    rollouts: tuple[int, ...] = ()


class UpdateOffered(Event):
    """The contract's administrators can decide about this update."""

    contract_id: str
    publisher: str
    update_id: str
    product: str
    kind: Literal["update", "extension"]
    version: str
    severity: Severity
    published_at: Instant
    offered_at: Instant
    """In the customer's time."""


class UpdateRecalled(Event):
    """The publisher withdrew the update; nobody of the contract gets it any more."""

    contract_id: str
    publisher: str
    update_id: str
    reason: str
    rollouts: tuple[int, ...] = ()


class UpdateApproved(Event):
    """These groups get the update now: by a rollout in these phases."""

    contract_id: str
    publisher: str
    update_id: str
    groups: tuple[str, ...]
    phases: tuple[RolloutPhase, ...]
    number: int
    rollout_id: str
    approved_by: str


class UpdateHeld(Event):
    """These groups don't get the update until somebody decides otherwise."""

    contract_id: str
    publisher: str
    update_id: str
    groups: tuple[str, ...]
    reason: str
    held_by: str
    rollouts: tuple[int, ...] = ()


class UpdateScheduled(Event):
    """These groups get the update from this instant on, and not before."""

    contract_id: str
    publisher: str
    update_id: str
    groups: tuple[str, ...]
    phases: tuple[RolloutPhase, ...]
    starts_at: Instant
    scheduled_by: str
    rollouts: tuple[int, ...] = ()


class ApprovalLapsed(Event):
    """The approval's rollout was stopped; the update can be approved anew."""

    contract_id: str
    rollout_id: str
    number: int
    reason: str


class NextDecisionDue(Event):
    """At this instant the next schedule or policy of the contract has to be acted on; None: there is none left."""

    contract_id: str
    customer: str
    due: Instant | None


# ── Who has to be told of what: a product's line ───────────────────────────────────────────────────────


class ProductOwned(Event):
    """A contract owns the product: it hears of the product's updates ("" stands for any publisher)."""

    product: str
    publisher: str
    contract_id: str


class UpdateListed(Event):
    """The product has this update: whoever owns the product hears of it."""

    product: str
    publisher: str
    update_id: str


# ── How an update reaches the users ────────────────────────────────────────────────────────────────────


class RolloutStarted(Event):
    """An approved update goes to these groups' users, phase by phase."""

    rollout_id: str
    contract_id: str
    customer: str
    publisher: str
    update_id: str
    version: str
    groups: tuple[str, ...]
    phases: tuple[RolloutPhase, ...]
    started_by: str


class PhaseStarted(Event):
    """The phase's users are offered the update from now on."""

    rollout_id: str
    phase: int
    started_by: str


class PhasePassed(Event):
    """So many of the phase's users have the update that the rollout may go on."""

    rollout_id: str
    phase: int
    targets: int
    succeeded: int
    passed_by: str


class TargetAdded(Event):
    """The user is to get the update in this phase: there is a seat, an active term and the update right."""

    rollout_id: str
    account_id: str
    group_id: str
    phase: int


class TargetRemoved(Event):
    """The user is not to get the update any more."""

    rollout_id: str
    account_id: str
    reason: str


class InstallSucceeded(Event):
    """The user's machine has the update."""

    rollout_id: str
    account_id: str
    machine: str
    version: str


class InstallFailed(Event):
    """The user's machine could not install the update."""

    rollout_id: str
    account_id: str
    machine: str
    version: str
    error: str


class RolloutPaused(Event):
    """Nobody is offered the update until somebody resumes the rollout."""

    rollout_id: str
    paused_by: str
    reason: str


class RolloutResumed(Event):
    """The rollout goes on; failures up to now don't count any more."""

    rollout_id: str
    resumed_by: str


class RolloutStopped(Event):
    """The rollout is over for good and has no targets any more."""

    rollout_id: str
    contract_id: str
    stopped_by: str
    reason: str


class RolloutCompleted(Event):
    """Every phase is passed. The rest of its users, and who joins them, are offered the update all the same."""

    rollout_id: str
    completed_by: str
