"""The events of distribution: updates and how they reach the desktops."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from shared.events.base import Event, Instant, Record
from shared.events.fields import (
    ActorId,
    Bytes,
    ClockTime,
    Code,
    Count,
    Day,
    Days,
    DerivedIdentifier,
    Identifier,
    Location,
    Minutes,
    Name,
    Number,
    OptionalCode,
    OptionalIdentifier,
    OptionalName,
    OptionalPublisher,
    Percent,
    Publisher,
    Sha256,
    Text,
    TimeZone,
    distinct,
)
from shared.events.operations import OperationPerformed

Severity = Literal["critical", "important", "normal"]
UpdateKind = Literal["update", "extension"]
"""An extension adds to a product and is for subscribers only."""


class UpdatePublished(Event):
    """The publisher published an update or an extension for a product."""

    update_id: Identifier
    publisher: Publisher
    product: Code
    kind: UpdateKind
    title: Name
    version: Code
    platform: Code
    severity: Severity
    sha256: Sha256
    size_bytes: Bytes
    location: Location
    published_at: Instant
    component: OptionalCode = ""
    """The part of the product that it is a version of, such as one of several extensions; "" for the product."""


class UpdateWithdrawn(Event):
    """The publisher withdrew the update. It is not installed any more."""

    update_id: Identifier
    publisher: Publisher
    reason: Text


# ── A contract's fleet ─────────────────────────────────────────────────────────────────────────────────

Cadence = Literal["weekly", "monthly", "quarterly", "off"]
Period = Literal["week", "month", "quarter"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


GroupIds: TypeAlias = Annotated[tuple[Identifier, ...], Field(max_length=1000), distinct(str, "group")]
RolloutNumbers: TypeAlias = Annotated[tuple[Number, ...], Field(max_length=10_000)]


class MaintenanceWindow(Record):
    """A weekly window that starts at this local time and lasts `minutes`."""

    weekday: Weekday
    starts: ClockTime
    minutes: Minutes
    time_zone: TimeZone


MaintenanceWindows: TypeAlias = Annotated[tuple[MaintenanceWindow, ...], Field(max_length=50)]


class RolloutPhase(Record):
    """A part of a rollout's users: those of these groups, or this share of all.

    The phase is passed once `success_percent` of its users have the update. It pauses the rollout once `error_percent`
    of them failed.
    """

    share: Percent = 0
    groups: GroupIds = ()
    success_percent: Percent
    error_percent: Percent


RolloutPhases: TypeAlias = Annotated[tuple[RolloutPhase, ...], Field(max_length=100)]


class FleetOpened(Event):
    """The contract got a fleet: its users' updates are managed from now on."""

    contract_id: Identifier
    customer: Identifier


class GroupCreated(Event):
    """A group was created, about whose users administrators decide together."""

    contract_id: Identifier
    group_id: Identifier
    name: Name
    created_by: ActorId


class UserPutInGroup(Event):
    """The user was moved into this group, and is in no other."""

    contract_id: Identifier
    group_id: Identifier
    account_id: Identifier
    put_by: ActorId
    rollouts: RolloutNumbers = ()
    """The numbers of the contract's rollouts whose targets this may change."""


class UserRemovedFromGroup(Event):
    """The user was moved back into the default group."""

    contract_id: Identifier
    group_id: Identifier
    account_id: Identifier
    removed_by: ActorId
    rollouts: RolloutNumbers = ()


class GroupPolicySet(Event):
    """The group's policy was set: when updates are approved for it automatically.

    At the start of each period (None: at any time), the updates that are at least `days` old are approved; critical
    ones by `critical_period` and `critical_days`. With the cadence `off` none are. The updates are offered in the
    windows only.
    """

    contract_id: Identifier
    group_id: Identifier
    cadence: Cadence
    days: Days
    critical_days: Days
    success_percent: Percent
    error_percent: Percent
    windows: MaintenanceWindows
    since: Instant
    """The instant, in the customer's time, from which the policy acts."""
    set_by: ActorId
    period: Period | None = None
    critical_period: Period | None = None


class EntitlementNoted(Event):
    """A fact of entitlements about a subscription of the contract took effect for its fleet.

    These events give facts of several streams one order.
    """

    contract_id: Identifier
    subscription_id: Identifier
    fact: Literal[
        "pool_opened",
        "term_started",
        "term_renewed",
        "term_over",
        "pool_ended",
        "seat_assigned",
        "seat_unassigned",
        "right_granted",
        "right_lost",
    ]
    account_id: OptionalIdentifier = ""
    product: OptionalCode = ""
    publisher: OptionalPublisher = ""
    starts: Day | None = None
    time_zone: TimeZone = "UTC"
    """The zone of `starts`."""
    because: OptionalIdentifier = ""
    """The id of the event that states the fact; "" where it follows from the time."""
    rollouts: RolloutNumbers = ()


class UpdateOffered(Event):
    """The update was offered to the contract. Administrators decide about the newest version."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    product: Code
    kind: UpdateKind
    version: Code
    severity: Severity
    published_at: Instant
    offered_at: Instant
    """In the customer's time."""
    platform: OptionalCode = ""
    """Empty in older events, which neither supersede others nor are superseded."""
    component: OptionalCode = ""
    rollouts: RolloutNumbers = ()
    """The numbers of the contract's rollouts that end, because a newer version of their updates is offered now."""


class UpdateRecalled(Event):
    """The publisher withdrew the update. The version before it is offered again."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    reason: Text
    rollouts: RolloutNumbers = ()
    recalled_at: Instant | None = None
    """In the customer's time."""


class UpdateApproved(Event):
    """The update was approved for these groups, by a rollout in these phases."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    phases: RolloutPhases
    number: Number
    rollout_id: DerivedIdentifier
    approved_by: ActorId


class UpdateHeld(Event):
    """The update was withheld from these groups, until a later decision."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    reason: Text
    held_by: ActorId
    rollouts: RolloutNumbers = ()


class UpdateScheduled(Event):
    """The update was scheduled: these groups get it from this instant on."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    phases: RolloutPhases
    starts_at: Instant
    scheduled_by: ActorId
    rollouts: RolloutNumbers = ()


class ApprovalLapsed(Event):
    """The approval's rollout was stopped. The update can be approved again."""

    contract_id: Identifier
    rollout_id: DerivedIdentifier
    number: Number
    reason: Text


class NextDecisionDue(Event):
    """The time at which the fleet has to act next changed; None: there is nothing to act on.

    The fleet acts on first terms that begin, and on schedules and policies that become due.
    """

    contract_id: Identifier
    customer: Identifier
    due: Instant | None


# ── Product lines ──────────────────────────────────────────────────────────────────────────────────────


class ProductOwned(Event):
    """A contract owns the product, so the product's updates are offered to it.

    The publisher "" stands for any.
    """

    product: Code
    publisher: Publisher
    contract_id: Identifier


class UpdateListed(Event):
    """The product has this update, so it is offered to the contracts that own the product."""

    product: Code
    publisher: Publisher
    update_id: Identifier


# ── Rollouts ───────────────────────────────────────────────────────────────────────────────────────────


class RolloutStarted(Event):
    """The rollout of an approved update to these groups' users began."""

    rollout_id: DerivedIdentifier
    contract_id: Identifier
    customer: Identifier
    publisher: Publisher
    update_id: Identifier
    version: Code
    groups: GroupIds
    phases: RolloutPhases
    started_by: ActorId
    silent_days: Days = 0
    """After so many days without a report from a phase's users the rollout pauses; 0: it never does."""


class PhaseStarted(Event):
    """The phase began: its users are offered the update from now on."""

    rollout_id: DerivedIdentifier
    phase: Count
    started_by: ActorId


class PhasePassed(Event):
    """The phase reached its success threshold, so the rollout may go on."""

    rollout_id: DerivedIdentifier
    phase: Count
    targets: Count
    succeeded: Count
    passed_by: ActorId


class PhaseReportsDue(Event):
    """Reports of the phase's users are due by then. The rollout pauses if there is none.

    It is set when the rollout begins to wait for the phase's users, and again after each silence that a report ended.
    """

    rollout_id: DerivedIdentifier
    customer: Identifier
    phase: Count
    due: Instant
    """In the customer's time."""


class RolloutMovedOn(Event):
    """An administrator ended the phase before its success threshold, so the rollout goes on."""

    rollout_id: DerivedIdentifier
    phase: Count
    targets: Count
    succeeded: Count
    reason: Text
    moved_by: ActorId


class TargetAdded(Event):
    """The user, who has a seat, an active term and the update right, became a target."""

    rollout_id: DerivedIdentifier
    account_id: Identifier
    group_id: Identifier
    phase: Count


class TargetRemoved(Event):
    """The user is no longer a target of the rollout."""

    rollout_id: DerivedIdentifier
    account_id: Identifier
    reason: Text


class TargetExcluded(Event):
    """The user, or one machine, no longer counts and is not offered the update any more."""

    rollout_id: DerivedIdentifier
    account_id: Identifier
    machine: OptionalName = ""
    """Empty for the user."""
    reason: Text
    excluded_by: ActorId


class FailuresRetried(Event):
    """The failures reported before are forgotten, as if these machines had not reported yet."""

    rollout_id: DerivedIdentifier
    machines: Count
    retried_by: ActorId


class InstallSucceeded(Event):
    """The user's machine reported that it has the update."""

    rollout_id: DerivedIdentifier
    account_id: Identifier
    machine: Name
    version: Code
    reported_at: Instant | None = None
    """In the customer's time."""


class InstallFailed(Event):
    """The user's machine reported that it could not install the update."""

    rollout_id: DerivedIdentifier
    account_id: Identifier
    machine: Name
    version: Code
    error: Text
    reported_at: Instant | None = None
    """In the customer's time."""


PauseCause = Literal["decision", "failures", "no-users", "silence"]


class RolloutPaused(Event):
    """The rollout was paused: nobody is offered the update until it is resumed."""

    rollout_id: DerivedIdentifier
    paused_by: ActorId
    reason: Text
    cause: PauseCause | None = None
    """An administrator's decision; a threshold of failures; a phase without users; users who do not report."""


class RolloutResumed(Event):
    """The rollout was resumed. Failures reported before no longer count, if it forgives them."""

    rollout_id: DerivedIdentifier
    resumed_by: ActorId
    forgives: bool = True


class RolloutStopped(Event):
    """The rollout was stopped for good. It has no targets any more."""

    rollout_id: DerivedIdentifier
    contract_id: Identifier
    stopped_by: ActorId
    reason: Text


class RolloutCompleted(Event):
    """Every phase is passed. Remaining and new targets are still offered the update."""

    rollout_id: DerivedIdentifier
    completed_by: ActorId


DistributionEvent: TypeAlias = (
    UpdatePublished
    | UpdateWithdrawn
    | FleetOpened
    | GroupCreated
    | UserPutInGroup
    | UserRemovedFromGroup
    | GroupPolicySet
    | EntitlementNoted
    | UpdateOffered
    | UpdateRecalled
    | UpdateApproved
    | UpdateHeld
    | UpdateScheduled
    | ApprovalLapsed
    | NextDecisionDue
    | ProductOwned
    | UpdateListed
    | RolloutStarted
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
    | OperationPerformed
)
"""Every event type of distribution's topic."""
