"""The state of an account, its fold, and the unique names that its events claim."""

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, assert_never

from services.identity.domain import rules
from shared.eventlog.decision import NO_CLAIMS, Claims, Rejected
from shared.events import (
    AccountClosed,
    AccountOpened,
    AddressReleased,
    AddressVerified,
    IdentityLinked,
    IdentityUnlinked,
    NotificationChoice,
    NotificationPreferencesSet,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    ProfileUpdated,
)
from shared.events.fields import canonical_address, readable_address
from shared.organisations import is_founder

Event: TypeAlias = (
    AccountOpened
    | ProfileUpdated
    | AddressVerified
    | AddressReleased
    | IdentityLinked
    | IdentityUnlinked
    | PeopleAdministratorNamed
    | PeopleAdministratorRemoved
    | NotificationPreferencesSet
    | AccountClosed
)

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unopened:
    """An account without any event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """A person's profile. `email` is "" after the address was released."""

    email: str
    name: str
    country: str
    time_zone: str
    locale: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedAccount:
    """An open account."""

    opened: AccountOpened
    profile: Profile
    administrator: PeopleAdministratorNamed | None = None
    """The event that gave the account the right to invite people, while it has that right."""
    verified: bool = False
    """Whether the person has proven the profile's address."""
    identities: tuple[IdentityLinked, ...] = ()
    """The identities of other issuers that sign in as this account."""
    notifications: Mapping[str, NotificationChoice] = field(default_factory=dict)
    """How the person chose to be told, by the kind of the notification."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed account. It holds nothing about the person."""

    closed: AccountClosed


State: TypeAlias = Unopened | OpenedAccount | Closed
INITIAL: Final[State] = Unopened()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case AccountOpened():
            return OpenedAccount(opened=event, profile=_profile(event))
        case ProfileUpdated():
            return _with_profile(state, _profile(event)) if isinstance(state, OpenedAccount) else state
        case AddressVerified() | AddressReleased() | IdentityLinked() | IdentityUnlinked():
            return _evolve_proofs(state, event) if isinstance(state, OpenedAccount) else state
        case PeopleAdministratorNamed():
            return replace(state, administrator=event) if isinstance(state, OpenedAccount) else state
        case PeopleAdministratorRemoved():
            return replace(state, administrator=None) if isinstance(state, OpenedAccount) else state
        case NotificationPreferencesSet():
            return _with_notifications(state, event) if isinstance(state, OpenedAccount) else state
        case AccountClosed():
            return Closed(event)
        case unreachable:
            assert_never(unreachable)


def _with_notifications(state: OpenedAccount, event: NotificationPreferencesSet) -> OpenedAccount:
    return replace(state, notifications={choice.kind: choice for choice in event.choices})


def _with_profile(state: OpenedAccount, profile: Profile) -> OpenedAccount:
    """Return the state with this profile. A changed address is not verified."""
    return replace(state, profile=profile, verified=state.verified and profile.email == state.profile.email)


def _evolve_proofs(
    state: OpenedAccount, event: AddressVerified | AddressReleased | IdentityLinked | IdentityUnlinked
) -> OpenedAccount:
    match event:
        case AddressVerified():
            return replace(state, verified=True)
        case AddressReleased():
            return replace(state, profile=replace(state.profile, email=""), verified=False)
        case IdentityLinked():
            return replace(state, identities=(*state.identities, event))
        case IdentityUnlinked():
            others = tuple(linked for linked in state.identities if linked.issuer != event.issuer)
            return replace(state, identities=others)
        case unreachable:
            assert_never(unreachable)


def _profile(event: AccountOpened | ProfileUpdated) -> Profile:
    return Profile(
        email=event.email, name=event.name, country=event.country, time_zone=event.time_zone, locale=event.locale
    )


def claims(state: State, event: Event) -> Claims:
    """Return the unique names that `event` takes and releases.

    An address belongs to one account at a time; the address of a closed account, and the former one of a changed
    profile, are free at once. An account that joined by an invitation holds the invitation's name for ever, so that
    nobody else joins by it.
    """
    match event:
        case AccountOpened(email=email, invitation_id=invitation_id):
            return Claims(take=(*claims_of(email), *((invitation_claim(invitation_id),) if invitation_id else ())))
        case ProfileUpdated(email=email):
            if not isinstance(state, OpenedAccount) or normalised(email) == normalised(state.profile.email):
                return NO_CLAIMS
            return Claims(take=claims_of(email), release=_address_of(state))
        case AddressReleased():
            return Claims(release=_address_of(state)) if isinstance(state, OpenedAccount) else NO_CLAIMS
        case IdentityLinked(issuer=issuer, subject=subject):
            return Claims(take=_identity(issuer, subject))
        case IdentityUnlinked(issuer=issuer):
            return Claims(release=_identities_of(state, issuer)) if isinstance(state, OpenedAccount) else NO_CLAIMS
        case AccountClosed():
            if not isinstance(state, OpenedAccount):
                return NO_CLAIMS
            return Claims(release=(*_address_of(state), *_identities_of(state)))
        case (
            AddressVerified() | PeopleAdministratorNamed() | PeopleAdministratorRemoved() | NotificationPreferencesSet()
        ):
            return NO_CLAIMS
        case unreachable:
            assert_never(unreachable)


def _address_of(state: OpenedAccount) -> tuple[str, ...]:
    """Return every unique name that the account may hold for its address, in any form."""
    email = state.profile.email
    return tuple(dict.fromkeys((*claims_of(email), former_claim_of(email)))) if email else ()


def _identity(issuer: str, subject: str) -> tuple[str, ...]:
    """Return the unique name of an identity; none once the person's key is erased."""
    return (identity_claim(issuer, subject),) if subject else ()


def _identities_of(state: OpenedAccount, issuer: str = "") -> tuple[str, ...]:
    """Return the unique names of the account's identities, of this issuer or ("") of all."""
    identities = (linked for linked in state.identities if issuer in ("", linked.issuer))
    return tuple(name for linked in identities for name in _identity(linked.issuer, linked.subject))


def founded(opened: AccountOpened) -> bool:
    """Return whether the account is its organisation's first."""
    return is_founder(opened.account_id, opened.organisation_id)


def identity_claim(issuer: str, subject: str) -> str:
    """Return the unique name of an identity of another issuer.

    It is a digest, because a subject may contain any characters.
    """
    digest = hashlib.sha256("\n".join((issuer, subject)).encode()).hexdigest()
    return f"oidc:{digest}"


def normalised(email: str) -> str:
    """Return the address's canonical form.

    An address that has none was accepted before the canonical form existed. Its former form is returned.
    """
    try:
        return canonical_address(email)
    except ValueError:
        return _normalised_before(email)


def _normalised_before(email: str) -> str:
    return unicodedata.normalize("NFC", email).strip().lower()


def claim_of(email: str) -> str:
    """Return the unique name of an e-mail address."""
    return f"email:{normalised(email).casefold()}"


def claims_of(email: str) -> tuple[str, ...]:
    """Return the unique names that an address takes.

    An address with an internationalised domain also takes the name with the domain in Unicode, because accounts from
    before the canonical form hold that name.
    """
    if not email:
        return ()
    readable = readable_address(normalised(email))
    return tuple(dict.fromkeys((claim_of(email), f"email:{readable.casefold()}")))


def former_claim_of(email: str) -> str:
    """Return the unique name that the address had before the canonical form existed."""
    return f"email:{_normalised_before(email).casefold()}"


def invitation_claim(invitation_id: str) -> str:
    """Return the unique name of an invitation's outcome.

    Either the account that joined by the invitation holds it, or the invitation that was revoked or expired, never
    both.
    """
    return f"invitation:{invitation_id}"


def taken(claim: str) -> Rejected:
    """Return the refusal of a command whose account needs a name that another stream holds."""
    if claim.startswith(invitation_claim("")):
        return Rejected(
            rules.INVITATION_NOT_VALID,
            "The invitation is not valid, or no longer valid.",
            "Ask a colleague for a new one.",
        )
    if claim.startswith("oidc:"):
        return Rejected(
            rules.IDENTITY_LINKED,
            "This identity is linked to another account.",
            "Sign in with it and unlink it there first (DELETE /me/oidc).",
        )
    return Rejected(
        rules.EMAIL_TAKEN,
        "An account with this e-mail address exists already.",
        "Sign in with it, or use another address. If the address is yours and somebody else's account has it, prove it "
        "(POST /addresses/proof) and send the proof with the sign-up.",
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """A person's identity at another issuer."""

    issuer: str
    subject: str
    email: str = ""
    """The address that the issuer has verified, in its canonical form; "" for none."""
