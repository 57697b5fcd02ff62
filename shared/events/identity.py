"""The events of identity: accounts, roles, sessions, machines and clocks."""

from operator import attrgetter
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from shared.events.base import PERSONAL, Event, Instant, Record
from shared.events.fields import (
    ActorId,
    Code,
    Country,
    Day,
    Identifier,
    Issuer,
    Locale,
    LogPosition,
    Name,
    OptionalIdentifier,
    OptionalName,
    OptionalPublisher,
    PersonalAddress,
    PersonalName,
    PersonalSubject,
    PersonalText,
    Publisher,
    SecondsAhead,
    TimeZone,
    distinct,
)
from shared.events.operations import OperationPerformed

Role = Literal["contract_manager", "software_coordinator"]
OrganisationKind = Literal["customer", "partner", "publisher", "operator"]
AgreementKind = Literal["desktop", "maintenance", "other"]
AddressProof = Literal["link", "invitation", "issuer"]
"""How an address was proven: by a link or an invitation mailed to it, or by another issuer that verified it."""
MachineScope = Literal["read", "installs:report", "credits:consume", "events:publish", "tokens:introspect"]
"""What a machine account may do."""
WebhookParkedReason = Literal["not-accepted", "events-not-kept", "secret-missing"]
"""Why nothing more is sent to a webhook: its address accepted an event in no attempt, the topic does not have the next
event any more, or there is no secret to sign with."""
WebhookEndReason = Literal["removed", "gone", "account-ended", "machine-ended"]
"""Why a webhook ended: a person removed it, its address answered 410, or who it is for may not read any more."""
SessionEndReason = Literal["signed-out", "refresh-token-reused"]
SessionsEndReason = Literal["signed-out", "password-changed", "password-reset", "ended-by-operator"]


class AccountOpened(Event):
    """A person opened an account, in a new organisation or in one that invited the person."""

    account_id: Identifier
    organisation_id: Identifier
    organisation_name: Name
    organisation_kind: OrganisationKind
    email: Annotated[PersonalAddress, PERSONAL]
    name: Annotated[PersonalName, PERSONAL]
    country: Country
    time_zone: TimeZone
    locale: Locale
    opened_at: Instant
    sandbox: bool = False
    """Whether the organisation is a sandbox, whose clock can be moved."""
    publisher: OptionalPublisher = ""
    """The publisher of a publisher's organisation, by the name that contracts have."""
    invitation_id: OptionalIdentifier = ""
    """The invitation that the person accepted. It admits nobody else."""


class ProfileUpdated(Event):
    """The person changed the profile, which has these values from now on."""

    account_id: Identifier
    email: Annotated[PersonalAddress, PERSONAL]
    name: Annotated[PersonalName, PERSONAL]
    country: Country
    time_zone: TimeZone
    locale: Locale


class ContractOpened(Event):
    """A contract opened: the customer's first order with the publisher was confirmed."""

    contract_id: Identifier
    customer: Identifier
    publisher: Publisher
    programme: Code
    opened_by_subscription: Identifier


class RoleRequested(Event):
    """The account requested a role from the contract's Contract Manager."""

    contract_id: Identifier
    account_id: Identifier
    role: Role
    message: Annotated[PersonalText, PERSONAL] = ""


class RoleAssigned(Event):
    """The account was given the role within the contract."""

    contract_id: Identifier
    account_id: Identifier
    role: Role
    may_assign_seats: bool
    assigned_by: ActorId


class RoleRequestDeclined(Event):
    """The request for a role was declined. The account may request it again."""

    contract_id: Identifier
    account_id: Identifier
    role: Role
    reason: Annotated[PersonalText, PERSONAL]
    declined_by: ActorId


class RoleRevoked(Event):
    """The role within the contract was taken from the account."""

    contract_id: Identifier
    account_id: Identifier
    role: Role
    revoked_by: ActorId


class AgreementScheduled(Event):
    """A subscription's agreement will start on this day, the first of its term."""

    contract_id: Identifier
    customer: Identifier
    subscription_id: Identifier
    kind: AgreementKind
    product: Code
    starts: Day
    time_zone: TimeZone = "UTC"


class AgreementStarted(Event):
    """A subscription's agreement started. Desktop and maintenance open administrative access."""

    contract_id: Identifier
    subscription_id: Identifier
    kind: AgreementKind
    product: Code


class AgreementEnded(Event):
    """The subscription's agreement ended. Roles stay; the access that it opened does not."""

    contract_id: Identifier
    subscription_id: Identifier


class AccountClosed(Event):
    """The account was closed for good. The person's data can't be read anywhere any more."""

    account_id: Identifier
    organisation_id: Identifier
    closed_by: ActorId


class SessionEnded(Event):
    """One session of the account ended. Its tokens are no longer valid."""

    account_id: Identifier
    organisation_id: Identifier
    session_id: Identifier
    reason: SessionEndReason
    ended_by: ActorId


class SessionsEnded(Event):
    """All sessions of the account that began before this event ended."""

    account_id: Identifier
    organisation_id: Identifier
    reason: SessionsEndReason
    ended_by: ActorId


class MachineRegistered(Event):
    """A machine account was registered: for a system, an agent or a dashboard."""

    SCHEMA: ClassVar[int] = 2

    client_id: Identifier
    organisation_id: Identifier
    organisation_kind: OrganisationKind
    publisher: OptionalPublisher = ""
    name: Name
    scopes: Annotated[tuple[MachineScope, ...], Field(max_length=20)]
    acts_for: OptionalIdentifier = ""
    """The account that it acts for; "" where it acts for itself."""
    expires_at: Instant
    registered_by: ActorId


class MachineSecretRotated(Event):
    """The machine account got a new secret. The former one is valid until `previous_until`."""

    client_id: Identifier
    previous_until: Instant
    rotated_by: ActorId


class MachineRevoked(Event):
    """The machine account was revoked for good. Its tokens are no longer valid."""

    client_id: Identifier
    revoked_by: ActorId


class WebhookRegistered(Event):
    """Events of a topic are sent to an address, as far as its account may see them."""

    webhook_id: Identifier
    organisation_id: Identifier
    account_id: Identifier
    """Who registered it. Its address is encrypted under this person's key."""
    client_id: OptionalIdentifier = ""
    """The machine account whose events are sent, and with which it ends; "" for those of the account."""
    name: Name
    address: Annotated[PersonalText, PERSONAL]
    topic: Identifier
    types: Annotated[tuple[Code, ...], Field(max_length=50)] = ()
    """The types of events that are sent; all without any."""
    streams: Annotated[tuple[Identifier, ...], Field(max_length=50)] = ()
    """The streams whose events are sent; all without any."""
    after: LogPosition | None = None
    """The position after which it begins; without one, the time of its registration."""
    registered_at: Instant


class WebhookSecretRotated(Event):
    """The webhook got a new secret. The former one signs, too, until `previous_until`."""

    webhook_id: Identifier
    previous_until: Instant
    rotated_by: ActorId


class WebhookPaused(Event):
    """A person stopped the webhook for a while."""

    webhook_id: Identifier
    paused_by: ActorId


class WebhookParked(Event):
    """Nothing more is sent to the webhook until somebody resumes it."""

    webhook_id: Identifier
    reason: WebhookParkedReason
    position: LogPosition
    """The event that was not accepted, or after which events are missing."""
    last_answer: OptionalName = ""
    """The latest answer of the address, or why there was none."""


class WebhookResumed(Event):
    """The webhook goes on with the event that it stopped at."""

    webhook_id: Identifier
    resumed_by: ActorId


class WebhookReplayed(Event):
    """The webhook goes on with the events after a position, sent before or not."""

    webhook_id: Identifier
    after: LogPosition
    replayed_by: ActorId


class WebhookEnded(Event):
    """The webhook ended for good. Nothing is sent to its address any more."""

    webhook_id: Identifier
    reason: WebhookEndReason
    ended_by: ActorId


class ClockMoved(Event):
    """A sandbox organisation's clock was moved to `ahead_s` seconds ahead of real time."""

    organisation_id: Identifier
    ahead_s: SecondsAhead
    moved_by: ActorId


class PeopleAdministratorNamed(Event):
    """The account got the right to invite people into its organisation."""

    account_id: Identifier
    organisation_id: Identifier
    named_by: ActorId


class PeopleAdministratorRemoved(Event):
    """The account lost the right to invite people into its organisation."""

    account_id: Identifier
    organisation_id: Identifier
    removed_by: ActorId


class InvitationIssued(Event):
    """The person with this address was invited into the organisation, once, until `expires_at`.

    The address is encrypted under the invitation's own key, which is erased once the invitation has an outcome.
    """

    PERSONAL_OF: ClassVar[str] = "invitation_id"

    invitation_id: Identifier
    organisation_id: Identifier
    organisation_name: Name
    organisation_kind: OrganisationKind
    sandbox: bool
    email: Annotated[PersonalAddress, PERSONAL]
    issued_by: ActorId
    """An account, or `operator` where the operator issued it on the system's own machine."""
    expires_at: Instant
    publisher: OptionalPublisher = ""
    """The publisher of a publisher's organisation, by the name that contracts have."""


class InvitationAccepted(Event):
    """The invited person joined the organisation, with this account."""

    invitation_id: Identifier
    organisation_id: Identifier
    account_id: Identifier


class InvitationRevoked(Event):
    """The invitation was revoked, or its inviter lost the right to invite."""

    invitation_id: Identifier
    organisation_id: Identifier
    revoked_by: ActorId


class InvitationExpired(Event):
    """The invitation expired before anybody accepted it."""

    invitation_id: Identifier
    organisation_id: Identifier


class AddressVerified(Event):
    """The person has proven the account's e-mail address."""

    account_id: Identifier
    email: Annotated[PersonalAddress, PERSONAL]
    proof: AddressProof


class AddressReleased(Event):
    """The account lost its unproven address, because somebody else has proven it."""

    account_id: Identifier
    email: Annotated[PersonalAddress, PERSONAL]


class IdentityLinked(Event):
    """An identity of another issuer was linked: it signs in as this account."""

    account_id: Identifier
    issuer: Issuer
    subject: Annotated[PersonalSubject, PERSONAL]


class IdentityUnlinked(Event):
    """The identity of this issuer was unlinked: it no longer signs in as this account."""

    account_id: Identifier
    issuer: Issuer


class NotificationChoice(Record):
    """How a person gets one kind of notifications."""

    kind: Code
    email: bool
    inbox: bool


NotificationChoices: TypeAlias = Annotated[
    tuple[NotificationChoice, ...], Field(max_length=100), distinct(attrgetter("kind"), "kind")
]


class NotificationPreferencesSet(Event):
    """The person chose how to get these kinds of notifications.

    Others come as they do by default.
    """

    account_id: Identifier
    choices: NotificationChoices


IdentityEvent: TypeAlias = (
    AccountOpened
    | ProfileUpdated
    | ContractOpened
    | RoleRequested
    | RoleAssigned
    | RoleRequestDeclined
    | RoleRevoked
    | AgreementScheduled
    | AgreementStarted
    | AgreementEnded
    | AccountClosed
    | SessionEnded
    | SessionsEnded
    | MachineRegistered
    | MachineSecretRotated
    | MachineRevoked
    | WebhookRegistered
    | WebhookSecretRotated
    | WebhookPaused
    | WebhookParked
    | WebhookResumed
    | WebhookReplayed
    | WebhookEnded
    | ClockMoved
    | PeopleAdministratorNamed
    | PeopleAdministratorRemoved
    | InvitationIssued
    | InvitationAccepted
    | InvitationRevoked
    | InvitationExpired
    | AddressVerified
    | AddressReleased
    | IdentityLinked
    | IdentityUnlinked
    | NotificationPreferencesSet
    | OperationPerformed
)
"""Every event type of identity's topic."""
