"""distribution's events: what reaches the desktops."""

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
"""An extension adds to a product, and is for subscribers only."""


class UpdatePublished(Event):
    """The publisher offers an update or an extension for a product."""

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


class UpdateWithdrawn(Event):
    """The publisher takes the update back; it is installed no further."""

    update_id: Identifier
    publisher: Publisher
    reason: Text


# ── What a contract's administrators decide: its fleet ─────────────────────────────────────────────────

Cadence = Literal["weekly", "monthly", "quarterly", "off"]
Period = Literal["week", "month", "quarter"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


GroupIds: TypeAlias = Annotated[tuple[Identifier, ...], Field(max_length=1000), distinct(str, "group")]
RolloutNumbers: TypeAlias = Annotated[tuple[Number, ...], Field(max_length=10_000)]


class MaintenanceWindow(Record):
    """Every week from this local time on, for so many minutes."""

    weekday: Weekday
    starts: ClockTime
    minutes: Minutes
    time_zone: TimeZone


MaintenanceWindows: TypeAlias = Annotated[tuple[MaintenanceWindow, ...], Field(max_length=50)]


class RolloutPhase(Record):
    """A part of a rollout's users: of these groups, or this share of all of them. It is passed once so many percent
    of its users have the update, and pauses the rollout once so many percent of them failed."""

    share: Percent = 0
    groups: GroupIds = ()
    success_percent: Percent
    error_percent: Percent


RolloutPhases: TypeAlias = Annotated[tuple[RolloutPhase, ...], Field(max_length=100)]


class FleetOpened(Event):
    """The contract's users are managed here from now on, for this customer."""

    contract_id: Identifier
    customer: Identifier


class GroupCreated(Event):
    """Administrators may decide for these users apart from others."""

    contract_id: Identifier
    group_id: Identifier
    name: Name
    created_by: ActorId


class UserPutInGroup(Event):
    """The user is in this group, and in no other."""

    contract_id: Identifier
    group_id: Identifier
    account_id: Identifier
    put_by: ActorId
    rollouts: RolloutNumbers = ()
    """The contract's rollouts, by number, whose targets this may change."""


class UserRemovedFromGroup(Event):
    """The user is in the default group again."""

    contract_id: Identifier
    group_id: Identifier
    account_id: Identifier
    removed_by: ActorId
    rollouts: RolloutNumbers = ()


class GroupPolicySet(Event):
    """At the start of each of these periods (None: at any time) the group gets by itself the updates that are so many
    days old by then (never with `off`), in these windows only."""

    contract_id: Identifier
    group_id: Identifier
    cadence: Cadence
    days: Days
    critical_days: Days
    success_percent: Percent
    error_percent: Percent
    windows: MaintenanceWindows
    since: Instant
    """In the customer's time: the policy never acts before."""
    set_by: ActorId
    period: Period | None = None
    critical_period: Period | None = None


class EntitlementNoted(Event):
    """Something that entitlements said about one of the contract's subscriptions took effect for its fleet, which
    gives facts of several streams one order."""

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
    because: OptionalIdentifier = ""
    """The id of the event that said so, "" where time did."""
    rollouts: RolloutNumbers = ()


class UpdateOffered(Event):
    """The contract's administrators can decide about this update."""

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


class UpdateRecalled(Event):
    """The publisher withdrew the update; nobody of the contract gets it any more."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    reason: Text
    rollouts: RolloutNumbers = ()


class UpdateApproved(Event):
    """These groups get the update now: by a rollout in these phases."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    phases: RolloutPhases
    number: Number
    rollout_id: DerivedIdentifier
    approved_by: ActorId


class UpdateHeld(Event):
    """These groups don't get the update until somebody decides otherwise."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    reason: Text
    held_by: ActorId
    rollouts: RolloutNumbers = ()


class UpdateScheduled(Event):
    """These groups get the update from this instant on, and not before."""

    contract_id: Identifier
    publisher: Publisher
    update_id: Identifier
    groups: GroupIds
    phases: RolloutPhases
    starts_at: Instant
    scheduled_by: ActorId
    rollouts: RolloutNumbers = ()


class ApprovalLapsed(Event):
    """The approval's rollout was stopped; the update can be approved anew."""

    contract_id: Identifier
    rollout_id: DerivedIdentifier
    number: Number
    reason: Text


class NextDecisionDue(Event):
    """At this instant the next schedule or policy of the contract has to be acted on; None: there is none left."""

    contract_id: Identifier
    customer: Identifier
    due: Instant | None


# ── Who has to be told of what: a product's line ───────────────────────────────────────────────────────


class ProductOwned(Event):
    """A contract owns the product: it hears of the product's updates ("" stands for any publisher)."""

    product: Code
    publisher: Publisher
    contract_id: Identifier


class UpdateListed(Event):
    """The product has this update: whoever owns the product hears of it."""

    product: Code
    publisher: Publisher
    update_id: Identifier


# ── How an update reaches the users ────────────────────────────────────────────────────────────────────


class RolloutStarted(Event):
    """An approved update goes to these groups' users, phase by phase."""

    rollout_id: DerivedIdentifier
    contract_id: Identifier
    customer: Identifier
    publisher: Publisher
    update_id: Identifier
    version: Code
    groups: GroupIds
    phases: RolloutPhases
    started_by: ActorId


class PhaseStarted(Event):
    """The phase's users are offered the update from now on."""

    rollout_id: DerivedIdentifier
    phase: Count
    started_by: ActorId


class PhasePassed(Event):
    """So many of the phase's users have the update that the rollout may go on."""

    rollout_id: DerivedIdentifier
    phase: Count
    targets: Count
    succeeded: Count
    passed_by: ActorId


class TargetAdded(Event):
    """The user is to get the update in this phase: there is a seat, an active term and the update right."""

    rollout_id: DerivedIdentifier
    account_id: Identifier
    group_id: Identifier
    phase: Count


class TargetRemoved(Event):
    """The user is not to get the update any more."""

    rollout_id: DerivedIdentifier
    account_id: Identifier
    reason: Text


class InstallSucceeded(Event):
    """The user's machine has the update."""

    rollout_id: DerivedIdentifier
    account_id: Identifier
    machine: Name
    version: Code


class InstallFailed(Event):
    """The user's machine could not install the update."""

    rollout_id: DerivedIdentifier
    account_id: Identifier
    machine: Name
    version: Code
    error: Text


class RolloutPaused(Event):
    """Nobody is offered the update until somebody resumes the rollout."""

    rollout_id: DerivedIdentifier
    paused_by: ActorId
    reason: Text


class RolloutResumed(Event):
    """The rollout goes on; failures up to now don't count any more."""

    rollout_id: DerivedIdentifier
    resumed_by: ActorId


class RolloutStopped(Event):
    """The rollout is over for good and has no targets any more."""

    rollout_id: DerivedIdentifier
    contract_id: Identifier
    stopped_by: ActorId
    reason: Text


class RolloutCompleted(Event):
    """Every phase is passed. The rest of its users, and who joins them, are offered the update all the same."""

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
    | TargetAdded
    | TargetRemoved
    | InstallSucceeded
    | InstallFailed
    | RolloutPaused
    | RolloutResumed
    | RolloutStopped
    | RolloutCompleted
    | OperationPerformed
)
"""Every event that can be on distribution's topic."""
