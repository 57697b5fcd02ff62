"""A person's account: profile, address and organisation, one stream per account."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, TypeAlias, assert_never

from services.identity.domain import rules
from services.identity.domain.account_state import (
    INITIAL,
    Closed,
    Event,
    Identity,
    OpenedAccount,
    Profile,
    State,
    Unopened,
    claim_of,
    claims,
    claims_of,
    evolve,
    former_claim_of,
    founded,
    identity_claim,
    invitation_claim,
    normalised,
    taken,
)
from services.identity.domain.notifications import chosen
from services.identity.domain.people import not_removable
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import (
    AccountClosed,
    AccountOpened,
    AddressReleased,
    AddressVerified,
    IdentityLinked,
    IdentityUnlinked,
    NotificationPreferencesSet,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    ProfileUpdated,
    RoleAssigned,
)
from shared.events.fields import Address, Country, Identifier, Issuer, Locale, Name, TimeZone
from shared.events.identity import AddressProof, NotificationChoices, OrganisationKind
from shared.organisations import organisation_of
from shared.rules import OPERATOR_ONLY

__all__ = [
    "ACCOUNT",
    "INITIAL",
    "CloseAccount",
    "Closed",
    "Command",
    "Event",
    "Identity",
    "LinkIdentity",
    "NamePeopleAdministrator",
    "OpenAccount",
    "OpenedAccount",
    "Profile",
    "ReleaseAddress",
    "RemovePeopleAdministrator",
    "RemovePerson",
    "SetNotificationPreferences",
    "State",
    "UnlinkIdentity",
    "Unopened",
    "UpdateProfile",
    "VerifyAddress",
    "address_digest",
    "claim_of",
    "claims",
    "claims_of",
    "decide",
    "evolve",
    "former_claim_of",
    "founded",
    "identity_claim",
    "invitation_claim",
    "normalised",
    "organisation_of",
    "publisher_of",
    "taken",
]


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenAccount:
    """Open an account, in a new organisation or in one that invited the person."""

    account_id: Identifier
    organisation_id: Identifier
    organisation_name: Name
    organisation_kind: OrganisationKind
    email: Address
    name: Name
    country: Country
    time_zone: TimeZone
    locale: Locale
    now: datetime
    sandbox: bool = False
    """Whether the organisation is a sandbox. For an existing one the invitation says it."""
    publisher: str = ""
    """The publisher of a publisher's organisation, from the operator's invitation."""
    invitation_id: str = ""
    """The invitation that the person accepts; "" for a new organisation."""
    not_invited: Rejected | None = None
    """The refusal if that invitation does not admit the person."""
    proof: AddressProof | None = None
    """How the person proved the address; None if it is not proven."""
    identity: Identity | None = None
    """The identity of another issuer that the person signed up with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateProfile:
    """Change one's own profile. Fields that are left out stay as they are.

    `country` is ISO 3166-1 alpha-2, `time_zone` an IANA name, `locale` a BCP 47 tag.
    """

    email: Address | None = None
    name: Name | None = None
    country: Country | None = None
    time_zone: TimeZone | None = None
    locale: Locale | None = None


@dataclass(frozen=True, slots=True)
class CloseAccount:
    """Close an account for good.

    The person's name and e-mail address become unreadable everywhere, the address is free for others, and the roles
    end. A Contract Manager has to hand the contracts over first.
    """

    closed_by: Annotated[str, SUPPLIED]
    manages: Annotated[tuple[RoleAssigned, ...], SUPPLIED]
    """The roles of Contract Manager that the account holds now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RemovePerson:
    """Remove a person from the organisation, by closing their account for good.

    The person's roles, seats, open requests, invitations and sessions end, and their name and address become unreadable
    everywhere. A Contract Manager has to hand the contracts over first.
    """

    account_id: Identifier
    removed_by: Annotated[str, SUPPLIED]
    by: Annotated[State, SUPPLIED]
    """The state of the caller's account."""
    manages: Annotated[tuple[RoleAssigned, ...], SUPPLIED]
    """The roles of Contract Manager that the account holds now."""


@dataclass(frozen=True, slots=True)
class VerifyAddress:
    """Verify the account's e-mail address, by the link that was mailed to it."""

    digest: str
    """The `address_digest` of the proven address."""
    proof: AddressProof


@dataclass(frozen=True, slots=True)
class ReleaseAddress:
    """Release the account's unproven address, because somebody else has proven it."""

    digest: str


@dataclass(frozen=True, slots=True)
class LinkIdentity:
    """Link an identity of another issuer, so that it signs in as this account."""

    identity: Identity
    by_address: bool
    """Whether the identity is linked by its address only. Then both sides must have proven the address."""


@dataclass(frozen=True, slots=True)
class UnlinkIdentity:
    """Unlink the identity of one issuer, or of all issuers, from the account."""

    issuer: Issuer | None = None
    has_password: Annotated[bool, SUPPLIED] = True


@dataclass(frozen=True, slots=True)
class NamePeopleAdministrator:
    """Give a colleague the right to invite people, which the organisation's first account has."""

    named_by: Annotated[str, SUPPLIED]
    by: Annotated[State, SUPPLIED]
    """The state of the caller's account."""


@dataclass(frozen=True, slots=True)
class RemovePeopleAdministrator:
    """Take a colleague's right to invite people. Their pending invitations end with it."""

    removed_by: Annotated[str, SUPPLIED]
    by: Annotated[State, SUPPLIED]


@dataclass(frozen=True, slots=True)
class SetNotificationPreferences:
    """Choose how to get these kinds of notifications. Other kinds stay as they are."""

    choices: NotificationChoices


Command: TypeAlias = (
    OpenAccount
    | UpdateProfile
    | VerifyAddress
    | ReleaseAddress
    | LinkIdentity
    | UnlinkIdentity
    | NamePeopleAdministrator
    | RemovePeopleAdministrator
    | SetNotificationPreferences
    | CloseAccount
    | RemovePerson
)

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def publisher_of(opened: AccountOpened) -> str:
    """Return the publisher of the account's organisation; "" for another kind of organisation.

    In events from before the field `publisher`, the organisation's name is the publisher's name.
    """
    if opened.organisation_kind != "publisher":
        return ""
    return opened.publisher or opened.organisation_name.strip().casefold()


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case OpenAccount():
            if isinstance(state, OpenedAccount):
                return ()
            if isinstance(state, Closed):
                return _closed(state)
            if command.not_invited is not None:
                return command.not_invited
            return _opened(command)
        case UpdateProfile():
            return _update(command, state)
        case VerifyAddress() | ReleaseAddress() | LinkIdentity() | UnlinkIdentity():
            if isinstance(state, Unopened):
                return _unknown()
            return _closed(state) if isinstance(state, Closed) else _prove(command, state)
        case NamePeopleAdministrator() | RemovePeopleAdministrator():
            return _administrate(command, state)
        case SetNotificationPreferences():
            return _choose_notifications(command, state)
        case CloseAccount():
            return _close(state, command.closed_by, command.manages)
        case RemovePerson():
            refused = not_removable(command.by, state) if isinstance(state, OpenedAccount) else None
            return refused or _close(state, command.removed_by, command.manages)
        case unreachable:
            assert_never(unreachable)


def _opened(command: OpenAccount) -> Decision[Event]:
    account_id = command.account_id
    opened = AccountOpened(
        account_id=account_id,
        organisation_id=command.organisation_id,
        organisation_name=command.organisation_name,
        organisation_kind=command.organisation_kind,
        email=command.email,
        name=command.name,
        country=command.country,
        time_zone=command.time_zone,
        locale=command.locale,
        opened_at=command.now,
        sandbox=command.sandbox,
        publisher=command.publisher,
        invitation_id=command.invitation_id,
    )
    events: list[Event] = [opened]
    if command.proof is not None:
        events.append(AddressVerified(account_id=account_id, email=command.email, proof=command.proof))
    if command.identity is not None:
        identity = command.identity
        events.append(IdentityLinked(account_id=account_id, issuer=identity.issuer, subject=identity.subject))
    return tuple(events)


def address_digest(email: str) -> str:
    """Return the digest by which a mailed link names its address."""
    return hashlib.sha256(email.encode()).hexdigest()


def _prove(
    command: VerifyAddress | ReleaseAddress | LinkIdentity | UnlinkIdentity, state: OpenedAccount
) -> Decision[Event]:
    account_id, email = state.opened.account_id, state.profile.email
    match command:
        case VerifyAddress():
            if address_digest(email) != command.digest:
                return Rejected(
                    rules.VERIFICATION_NOT_VALID,
                    "The link verifies an address that is not the account's.",
                    "Request a new link (POST /me/address/verification/mail).",
                )
            if state.verified:
                return ()
            return (AddressVerified(account_id=account_id, email=email, proof=command.proof),)
        case ReleaseAddress():
            if address_digest(email) != command.digest:
                return ()
            return taken(claim_of(email)) if state.verified else (AddressReleased(account_id=account_id, email=email),)
        case LinkIdentity():
            return _link(command, state)
        case UnlinkIdentity():
            return _unlink(command, state)
        case unreachable:
            assert_never(unreachable)


def _link(command: LinkIdentity, state: OpenedAccount) -> Decision[Event]:
    """Return the events that link the identity, or the refusal.

    If the identity is linked by its address only, both sides must have proven the address. Otherwise a person could
    take over an identity by entering its address in an account.
    """
    identity, account_id = command.identity, state.opened.account_id
    same = identity.email != "" and identity.email == state.profile.email
    if command.by_address and not (same and state.verified):
        return Rejected(
            rules.ADDRESS_NOT_VERIFIED,
            "An account has this e-mail address, but has not verified it.",
            "If the account is yours, sign in with its password and link this identity (POST /me/oidc). If not, sign "
            "up with this identity (POST /accounts with id_token): your account then gets the address.",
        )
    for former in state.identities:
        if (former.issuer, former.subject) == (identity.issuer, identity.subject):
            return ()
        if former.issuer == identity.issuer:
            return Rejected(
                rules.IDENTITY_LINKED,
                "The account is linked to another identity of this issuer.",
                "Unlink it first (DELETE /me/oidc).",
                (former,),
            )
    linked = IdentityLinked(account_id=account_id, issuer=identity.issuer, subject=identity.subject)
    if same and not state.verified:
        return (linked, AddressVerified(account_id=account_id, email=identity.email, proof="issuer"))
    return (linked,)


def _unlink(command: UnlinkIdentity, state: OpenedAccount) -> Decision[Event]:
    linked = {identity.issuer: identity for identity in state.identities}
    gone = [issuer for issuer in linked if command.issuer in (None, issuer)]
    if gone and len(gone) == len(linked) and not command.has_password:
        return Rejected(
            rules.NO_OTHER_SIGN_IN,
            "The account has no password, so nobody could sign in to it any more.",
            "Set a password first: have a link mailed to your verified address (POST /password/mail).",
            tuple(linked.values()),
        )
    return tuple(IdentityUnlinked(account_id=state.opened.account_id, issuer=issuer) for issuer in gone)


def _update(command: UpdateProfile, state: State) -> Decision[Event]:
    if not isinstance(state, OpenedAccount):
        return _closed(state) if isinstance(state, Closed) else _unknown()
    before = state.profile
    after = Profile(
        email=before.email if command.email is None else command.email,
        name=before.name if command.name is None else command.name,
        country=before.country if command.country is None else command.country,
        time_zone=before.time_zone if command.time_zone is None else command.time_zone,
        locale=before.locale if command.locale is None else command.locale,
    )
    if after == before:
        return ()
    if not after.email:
        return Rejected(
            rules.ADDRESS_MISSING,
            "The account has no e-mail address: somebody else has proven that the former one is theirs.",
            "Send an e-mail address of your own, too.",
        )
    return (
        ProfileUpdated(
            account_id=state.opened.account_id,
            email=after.email,
            name=after.name,
            country=after.country,
            time_zone=after.time_zone,
            locale=after.locale,
        ),
    )


def _choose_notifications(command: SetNotificationPreferences, state: State) -> Decision[Event]:
    if not isinstance(state, OpenedAccount):
        return _closed(state) if isinstance(state, Closed) else _unknown()
    choices = chosen(command.choices, state.notifications)
    if choices is None or isinstance(choices, Rejected):
        return choices or ()
    return (NotificationPreferencesSet(account_id=state.opened.account_id, choices=choices),)


def _administrate(command: NamePeopleAdministrator | RemovePeopleAdministrator, state: State) -> Decision[Event]:
    if not isinstance(state, OpenedAccount):
        return _closed(state) if isinstance(state, Closed) else _unknown()
    opened, by = state.opened, command.by
    if opened.organisation_kind in ("publisher", "operator"):
        return Rejected(
            OPERATOR_ONLY,
            "Only the operator invites people of a publisher or of the operator.",
            "Ask the operator to invite them.",
            (opened,),
        )
    colleague = isinstance(by, OpenedAccount) and by.opened.organisation_id == opened.organisation_id
    if not isinstance(by, OpenedAccount) or not (
        by.opened.organisation_kind == "operator" or (colleague and founded(by.opened))
    ):
        return Rejected(
            rules.FIRST_ACCOUNT_ONLY,
            "Only the organisation's first account, or the operator, decides who else may invite people.",
            "Ask that colleague, or the operator if the colleague has left.",
        )
    if isinstance(command, NamePeopleAdministrator):
        if state.administrator is not None:
            return ()
        return (
            PeopleAdministratorNamed(
                account_id=opened.account_id, organisation_id=opened.organisation_id, named_by=command.named_by
            ),
        )
    if state.administrator is None:
        return ()
    return (
        PeopleAdministratorRemoved(
            account_id=opened.account_id, organisation_id=opened.organisation_id, removed_by=command.removed_by
        ),
    )


def _close(state: State, by: str, manages: tuple[RoleAssigned, ...]) -> Decision[Event]:
    if isinstance(state, Closed):
        return ()
    if isinstance(state, Unopened):
        return _unknown()
    opened = state.opened
    if manages:
        contracts = ", ".join(role.contract_id for role in manages)
        return Rejected(
            rules.STILL_CONTRACT_MANAGER,
            f"This account is the Contract Manager of {contracts}, and a contract always has one.",
            "Hand each of these contracts over to a colleague first."
            if by == opened.account_id
            else "The Contract Manager hands each of these contracts over first, or the operator for one who has left.",
            manages,
        )
    return (AccountClosed(account_id=opened.account_id, organisation_id=opened.organisation_id, closed_by=by),)


def _unknown() -> Rejected:
    return Rejected(rules.ACCOUNT_UNKNOWN, "There is no such account.", "Sign up first.")


def _closed(state: Closed) -> Rejected:
    return Rejected(rules.ACCOUNT_CLOSED, "This account was closed for good.", "Open a new account.", (state.closed,))


def _tenant(event: Event) -> str:
    return event.organisation_id if isinstance(event, AccountOpened) else ""


ACCOUNT: Final = Stream(
    category="account", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant, claims=claims, claimed=taken
)
