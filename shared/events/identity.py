"""identity's events: who may do what."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from shared.events.base import PERSONAL, Event, Instant
from shared.events.fields import (
    ActorId,
    Code,
    Country,
    Day,
    Identifier,
    Issuer,
    Locale,
    Name,
    OptionalIdentifier,
    OptionalPublisher,
    PersonalAddress,
    PersonalName,
    PersonalSubject,
    PersonalText,
    Publisher,
    SecondsAhead,
    TimeZone,
)
from shared.events.operations import OperationPerformed

Role = Literal["contract_manager", "software_coordinator"]
OrganisationKind = Literal["customer", "partner", "publisher", "operator"]
AgreementKind = Literal["desktop", "maintenance", "other"]
AddressProof = Literal["link", "invitation", "issuer"]
"""How an address was shown to be somebody's: by a link or an invitation that was mailed to it, or by another issuer of
identities that vouches for it."""
MachineScope = Literal["read", "installs:report", "credits:consume", "tokens:introspect"]
"""What a machine account may be given."""
SessionEndReason = Literal["signed-out", "refresh-token-reused"]
SessionsEndReason = Literal["signed-out", "password-changed", "password-reset", "ended-by-operator"]


class AccountOpened(Event):
    """A person has an identity here and belongs to an organisation: a new one, or one that invited them."""

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
    """The organisation is for trying things out: its time can be moved."""
    publisher: OptionalPublisher = ""
    """Of a publisher's organisation: the publisher that its people act for, by the name that contracts have."""
    invitation_id: OptionalIdentifier = ""
    """The invitation that let this person join. One that has let somebody in lets nobody else in."""


class ProfileUpdated(Event):
    """The person's profile reads like this from now on."""

    account_id: Identifier
    email: Annotated[PersonalAddress, PERSONAL]
    name: Annotated[PersonalName, PERSONAL]
    country: Country
    time_zone: TimeZone
    locale: Locale


class ContractOpened(Event):
    """A customer's agreement with a publisher under a programme exists; its first order was confirmed."""

    contract_id: Identifier
    customer: Identifier
    publisher: Publisher
    programme: Code
    opened_by_subscription: Identifier


class RoleRequested(Event):
    """An account asks the contract's Contract Manager for a role."""

    contract_id: Identifier
    account_id: Identifier
    role: Role
    message: Annotated[PersonalText, PERSONAL] = ""


class RoleAssigned(Event):
    """The account holds the role within the contract."""

    contract_id: Identifier
    account_id: Identifier
    role: Role
    may_assign_seats: bool
    assigned_by: ActorId


class RoleRequestDeclined(Event):
    """The Contract Manager said no; the account may ask again."""

    contract_id: Identifier
    account_id: Identifier
    role: Role
    reason: Annotated[PersonalText, PERSONAL]
    declined_by: ActorId


class RoleRevoked(Event):
    """The account no longer holds the role within the contract."""

    contract_id: Identifier
    account_id: Identifier
    role: Role
    revoked_by: ActorId


class AgreementScheduled(Event):
    """A subscription will put the contract on an agreement: on this day, the first of its term."""

    contract_id: Identifier
    customer: Identifier
    subscription_id: Identifier
    kind: AgreementKind
    product: Code
    starts: Day


class AgreementStarted(Event):
    """A subscription puts the contract on an agreement; desktop and maintenance ones open administrative access."""

    contract_id: Identifier
    subscription_id: Identifier
    kind: AgreementKind
    product: Code


class AgreementEnded(Event):
    """The subscription's agreement ran out; roles stay, the access that it opened does not."""

    contract_id: Identifier
    subscription_id: Identifier


class AccountClosed(Event):
    """The person left, and is forgotten: what was personal about them can't be read any more, anywhere."""

    account_id: Identifier
    organisation_id: Identifier
    closed_by: ActorId


class SessionEnded(Event):
    """One session of the account has ended: its tokens open nothing any more."""

    account_id: Identifier
    organisation_id: Identifier
    session_id: Identifier
    reason: SessionEndReason
    ended_by: ActorId


class SessionsEnded(Event):
    """All sessions of the account that began before this have ended."""

    account_id: Identifier
    organisation_id: Identifier
    reason: SessionsEndReason
    ended_by: ActorId


class MachineRegistered(Event):
    """A machine account exists: a system, an agent or a dashboard, with what it may do and until when."""

    client_id: Identifier
    organisation_id: Identifier
    organisation_kind: OrganisationKind
    publisher: OptionalPublisher = ""
    name: Name
    scopes: Annotated[tuple[MachineScope, ...], Field(max_length=20)]
    acts_for: OptionalIdentifier = ""
    """The account in whose name it acts; "" where it acts in its own."""
    expires_at: Instant
    registered_by: ActorId


class MachineSecretRotated(Event):
    """The machine account has another secret; the one before is good until then."""

    client_id: Identifier
    previous_until: Instant
    rotated_by: ActorId


class MachineRevoked(Event):
    """The machine account is no more; its tokens open nothing."""

    client_id: Identifier
    revoked_by: ActorId


class ClockMoved(Event):
    """From now on a sandbox organisation's time is so many seconds ahead of real time, in every service."""

    organisation_id: Identifier
    ahead_s: SecondsAhead
    moved_by: ActorId


class PeopleAdministratorNamed(Event):
    """The account may invite people into its organisation, as the organisation's first account may."""

    account_id: Identifier
    organisation_id: Identifier
    named_by: ActorId


class PeopleAdministratorRemoved(Event):
    """The account may no longer invite people into its organisation."""

    account_id: Identifier
    organisation_id: Identifier
    removed_by: ActorId


class InvitationIssued(Event):
    """The person with this address may join the organisation, once, until the invitation expires.

    The address is kept under a key of the invitation's own, which is erased once the invitation is settled.
    """

    PERSONAL_OF: ClassVar[str] = "invitation_id"

    invitation_id: Identifier
    organisation_id: Identifier
    organisation_name: Name
    organisation_kind: OrganisationKind
    sandbox: bool
    email: Annotated[PersonalAddress, PERSONAL]
    issued_by: ActorId
    """An account, or `operator` for whoever runs the system and issued it on its machine."""
    expires_at: Instant
    publisher: OptionalPublisher = ""
    """Into a publisher's organisation: the publisher that its people act for, by the name that contracts have."""


class InvitationAccepted(Event):
    """The invited person joined the organisation with this account."""

    invitation_id: Identifier
    organisation_id: Identifier
    account_id: Identifier


class InvitationRevoked(Event):
    """The invitation lets nobody in: it was taken back, or its inviter may invite no longer."""

    invitation_id: Identifier
    organisation_id: Identifier
    revoked_by: ActorId


class InvitationExpired(Event):
    """Nobody joined in time."""

    invitation_id: Identifier
    organisation_id: Identifier


class AddressVerified(Event):
    """The person has shown that this e-mail address, which is the account's, is theirs."""

    account_id: Identifier
    email: Annotated[PersonalAddress, PERSONAL]
    proof: AddressProof


class AddressReleased(Event):
    """Somebody else has shown that the account's unproven address is theirs: the account has none until it gets one."""

    account_id: Identifier
    email: Annotated[PersonalAddress, PERSONAL]


class IdentityLinked(Event):
    """Whoever another issuer of identities knows by this subject signs in as this account."""

    account_id: Identifier
    issuer: Issuer
    subject: Annotated[PersonalSubject, PERSONAL]


class IdentityUnlinked(Event):
    """The issuer's identity signs in as this account no longer."""

    account_id: Identifier
    issuer: Issuer


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
    | OperationPerformed
)
"""Every event that can be on identity's topic."""
