"""identity's events: who may do what."""

from datetime import date
from typing import ClassVar, Literal

from shared.events.base import Event, Instant, Personal

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

    account_id: str
    organisation_id: str
    organisation_name: str
    organisation_kind: OrganisationKind
    email: Personal
    name: Personal
    country: str
    time_zone: str
    locale: str
    opened_at: Instant
    sandbox: bool = False
    """The organisation is for trying things out: its time can be moved."""
    publisher: str = ""
    """Of a publisher's organisation: the publisher that its people act for, by the name that contracts have."""
    invitation_id: str = ""
    """The invitation that let this person join. One that has let somebody in lets nobody else in."""


class ProfileUpdated(Event):
    """The person's profile reads like this from now on."""

    account_id: str
    email: Personal
    name: Personal
    country: str
    time_zone: str
    locale: str


class ContractOpened(Event):
    """A customer's agreement with a publisher under a programme exists; its first order was confirmed."""

    contract_id: str
    customer: str
    publisher: str
    programme: str
    opened_by_subscription: str


class RoleRequested(Event):
    """An account asks the contract's Contract Manager for a role."""

    contract_id: str
    account_id: str
    role: Role
    message: Personal = ""


class RoleAssigned(Event):
    """The account holds the role within the contract."""

    contract_id: str
    account_id: str
    role: Role
    may_assign_seats: bool
    assigned_by: str


class RoleRequestDeclined(Event):
    """The Contract Manager said no; the account may ask again."""

    contract_id: str
    account_id: str
    role: Role
    reason: Personal
    declined_by: str


class RoleRevoked(Event):
    """The account no longer holds the role within the contract."""

    contract_id: str
    account_id: str
    role: Role
    revoked_by: str


class AgreementScheduled(Event):
    """A subscription will put the contract on an agreement: on this day, the first of its term."""

    contract_id: str
    customer: str
    subscription_id: str
    kind: AgreementKind
    product: str
    starts: date


class AgreementStarted(Event):
    """A subscription puts the contract on an agreement; desktop and maintenance ones open administrative access."""

    contract_id: str
    subscription_id: str
    kind: AgreementKind
    product: str


class AgreementEnded(Event):
    """The subscription's agreement ran out; roles stay, the access that it opened does not."""

    contract_id: str
    subscription_id: str


class AccountClosed(Event):
    """The person left, and is forgotten: what was personal about them can't be read any more, anywhere."""

    account_id: str
    organisation_id: str
    closed_by: str


class SessionEnded(Event):
    """One session of the account has ended: its tokens open nothing any more."""

    account_id: str
    organisation_id: str
    session_id: str
    reason: SessionEndReason
    ended_by: str


class SessionsEnded(Event):
    """All sessions of the account that began before this have ended."""

    account_id: str
    organisation_id: str
    reason: SessionsEndReason
    ended_by: str


class MachineRegistered(Event):
    """A machine account exists: a system, an agent or a dashboard, with what it may do and until when."""

    client_id: str
    organisation_id: str
    organisation_kind: OrganisationKind
    publisher: str = ""
    name: str
    scopes: tuple[MachineScope, ...]
    acts_for: str = ""
    """The account in whose name it acts; "" where it acts in its own."""
    expires_at: Instant
    registered_by: str


class MachineSecretRotated(Event):
    """The machine account has another secret; the one before is good until then."""

    client_id: str
    previous_until: Instant
    rotated_by: str


class MachineRevoked(Event):
    """The machine account is no more; its tokens open nothing."""

    client_id: str
    revoked_by: str


class ClockMoved(Event):
    """From now on a sandbox organisation's time is so many seconds ahead of real time, in every service."""

    organisation_id: str
    ahead_s: int
    moved_by: str


class PeopleAdministratorNamed(Event):
    """The account may invite people into its organisation, as the organisation's first account may."""

    account_id: str
    organisation_id: str
    named_by: str


class PeopleAdministratorRemoved(Event):
    """The account may no longer invite people into its organisation."""

    account_id: str
    organisation_id: str
    removed_by: str


class InvitationIssued(Event):
    """The person with this address may join the organisation, once, until the invitation expires.

    The address is kept under a key of the invitation's own, which is erased once the invitation is settled.
    """

    PERSONAL_OF: ClassVar[str] = "invitation_id"

    invitation_id: str
    organisation_id: str
    organisation_name: str
    organisation_kind: OrganisationKind
    sandbox: bool
    email: Personal
    issued_by: str
    """An account, or `operator` for whoever runs the system and issued it on its machine."""
    expires_at: Instant
    publisher: str = ""
    """Into a publisher's organisation: the publisher that its people act for, by the name that contracts have."""


class InvitationAccepted(Event):
    """The invited person joined the organisation with this account."""

    invitation_id: str
    organisation_id: str
    account_id: str


class InvitationRevoked(Event):
    """The invitation lets nobody in: it was taken back, or its inviter may invite no longer."""

    invitation_id: str
    organisation_id: str
    revoked_by: str


class InvitationExpired(Event):
    """Nobody joined in time."""

    invitation_id: str
    organisation_id: str


class AddressVerified(Event):
    """The person has shown that this e-mail address, which is the account's, is theirs."""

    account_id: str
    email: Personal
    proof: AddressProof


class AddressReleased(Event):
    """Somebody else has shown that the account's unproven address is theirs: the account has none until it gets one."""

    account_id: str
    email: Personal


class IdentityLinked(Event):
    """Whoever another issuer of identities knows by this subject signs in as this account."""

    account_id: str
    issuer: str
    subject: Personal


class IdentityUnlinked(Event):
    """The issuer's identity signs in as this account no longer."""

    account_id: str
    issuer: str
