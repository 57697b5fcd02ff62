"""What is known of one account: its state, folded from its events, and the unique names that these take."""

import hashlib
import unicodedata
from dataclasses import dataclass, replace
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
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    ProfileUpdated,
)
from shared.events.fields import canonical_address, readable_address

Event: TypeAlias = (
    AccountOpened
    | ProfileUpdated
    | AddressVerified
    | AddressReleased
    | IdentityLinked
    | IdentityUnlinked
    | PeopleAdministratorNamed
    | PeopleAdministratorRemoved
    | AccountClosed
)

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unopened:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    email: str
    name: str
    country: str
    time_zone: str
    locale: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedAccount:
    opened: AccountOpened
    profile: Profile
    administrator: PeopleAdministratorNamed | None = None
    """Set while the account may invite people because it was named for that."""
    verified: bool = False
    """Whether the profile's address has been shown to be the person's."""
    identities: tuple[IdentityLinked, ...] = ()
    """Who at other issuers signs in as this account."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing of the person is left."""

    closed: AccountClosed


State: TypeAlias = Unopened | OpenedAccount | Closed
INITIAL: Final[State] = Unopened()


def evolve(state: State, event: Event) -> State:
    """The state after `event`."""
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
        case AccountClosed():
            return Closed(event)
        case unreachable:
            assert_never(unreachable)


def _with_profile(state: OpenedAccount, profile: Profile) -> OpenedAccount:
    """A changed address has not been shown to be anybody's."""
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
            return replace(state, identities=tuple(each for each in state.identities if each.issuer != event.issuer))
        case unreachable:
            assert_never(unreachable)


def _profile(event: AccountOpened | ProfileUpdated) -> Profile:
    return Profile(
        email=event.email, name=event.name, country=event.country, time_zone=event.time_zone, locale=event.locale
    )


def claims(state: State, event: Event) -> Claims:
    """An address belongs to one account at a time; a changed one, or a closed account's, is free at once. The account
    that an invitation let in holds it for ever, so that it lets nobody else in."""
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
        case AddressVerified() | PeopleAdministratorNamed() | PeopleAdministratorRemoved():
            return NO_CLAIMS
        case unreachable:
            assert_never(unreachable)


def _address_of(state: OpenedAccount) -> tuple[str, ...]:
    email = state.profile.email
    return tuple(dict.fromkeys((*claims_of(email), former_claim_of(email)))) if email else ()


def _identity(issuer: str, subject: str) -> tuple[str, ...]:
    """The unique names of somebody at another issuer: none once the person's key is erased."""
    return (identity_claim(issuer, subject),) if subject else ()


def _identities_of(state: OpenedAccount, issuer: str = "") -> tuple[str, ...]:
    mine = (each for each in state.identities if issuer in ("", each.issuer))
    return tuple(name for each in mine for name in _identity(each.issuer, each.subject))


def identity_claim(issuer: str, subject: str) -> str:
    """The unique name of somebody whom another issuer knows: a digest, for the subject may be anything."""
    digest = hashlib.sha256("\n".join((issuer, subject)).encode()).hexdigest()
    return f"oidc:{digest}"


def normalised(email: str) -> str:
    """The one form of an address; of one that was accepted before there was one form, the form that it was kept in."""
    try:
        return canonical_address(email)
    except ValueError:
        return _normalised_before(email)


def _normalised_before(email: str) -> str:
    return unicodedata.normalize("NFC", email).strip().lower()


def claim_of(email: str) -> str:
    """The unique name of an e-mail address."""
    return f"email:{normalised(email).casefold()}"


def claims_of(email: str) -> tuple[str, ...]:
    """The unique names that an address takes: its own, and where its domain is an international one the name that an
    account of before has, when the domain was kept as it is read."""
    if not email:
        return ()
    readable = readable_address(normalised(email))
    return tuple(dict.fromkeys((claim_of(email), f"email:{readable.casefold()}")))


def former_claim_of(email: str) -> str:
    """The name that the address had before there was one form of it."""
    return f"email:{_normalised_before(email).casefold()}"


def invitation_claim(invitation_id: str) -> str:
    """The unique name of an invitation's outcome: the account that joined by it, or its end, holds this, never both."""
    return f"invitation:{invitation_id}"


def taken(claim: str) -> Rejected:
    """The refusal where another stream holds the name that an account needs."""
    if claim.startswith(invitation_claim("")):
        return Rejected(
            rules.INVITATION_NOT_VALID,
            "The invitation is not valid, or not any more.",
            "Ask a colleague for a new one.",
        )
    if claim.startswith("oidc:"):
        return Rejected(
            rules.IDENTITY_LINKED,
            "The issuer's identity signs in as another account.",
            "Sign in with it, and unlink it there first (DELETE /me/oidc).",
        )
    return Rejected(
        rules.EMAIL_TAKEN,
        "An account with this e-mail address exists already.",
        "Sign in with it, or use another address. If it is yours and somebody else took it, prove it "
        "(POST /addresses/proof) and send the proof with the sign-up.",
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody as another issuer knows them."""

    issuer: str
    subject: str
    email: str = ""
    """The address that the issuer has verified, if any, in its canonical form."""
