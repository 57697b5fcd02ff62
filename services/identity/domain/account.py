"""One person's account: who they are and which organisation they belong to. One stream per account."""

import re
import unicodedata
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final, TypeAlias, assert_never

from shared.eventlog.decision import NO_CLAIMS, SUPPLIED, Claims, Decision, Rejected, Stream
from shared.events import (
    AccountClosed,
    AccountOpened,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    ProfileUpdated,
    RoleAssigned,
)
from shared.events.identity import OrganisationKind

Event: TypeAlias = (
    AccountOpened | ProfileUpdated | PeopleAdministratorNamed | PeopleAdministratorRemoved | AccountClosed
)

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unopened:
    pass


@dataclass(frozen=True, slots=True)
class Profile:
    email: str
    name: str
    country: str
    time_zone: str
    locale: str


@dataclass(frozen=True, slots=True)
class Open:
    opened: AccountOpened
    profile: Profile
    administrator: PeopleAdministratorNamed | None = None
    """Set while the account may invite people because it was named for that."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing of the person is left."""

    closed: AccountClosed


State: TypeAlias = Unopened | Open | Closed
INITIAL: Final[State] = Unopened()


def evolve(state: State, event: Event) -> State:
    """The state after `event`."""
    match event:
        case AccountOpened():
            return Open(event, _profile(event))
        case ProfileUpdated():
            return replace(state, profile=_profile(event)) if isinstance(state, Open) else state
        case PeopleAdministratorNamed():
            return replace(state, administrator=event) if isinstance(state, Open) else state
        case PeopleAdministratorRemoved():
            return replace(state, administrator=None) if isinstance(state, Open) else state
        case AccountClosed():
            return Closed(event)
        case unreachable:
            assert_never(unreachable)


def _profile(event: AccountOpened | ProfileUpdated) -> Profile:
    return Profile(event.email, event.name, event.country, event.time_zone, event.locale)


def claims(state: State, event: Event) -> Claims:
    """An address belongs to one account at a time; a changed one, or a closed account's, is free at once. The account
    that an invitation let in holds it for ever, so that it lets nobody else in."""
    match event:
        case AccountOpened(email=email, invitation_id=invitation_id):
            return Claims(take=(claim_of(email), *((invitation_claim(invitation_id),) if invitation_id else ())))
        case ProfileUpdated(email=email):
            if not isinstance(state, Open) or claim_of(email) == claim_of(state.profile.email):
                return NO_CLAIMS
            return Claims(take=(claim_of(email),), release=(claim_of(state.profile.email),))
        case AccountClosed():
            return Claims(release=(claim_of(state.profile.email),)) if isinstance(state, Open) else NO_CLAIMS
        case PeopleAdministratorNamed() | PeopleAdministratorRemoved():
            return NO_CLAIMS
        case unreachable:
            assert_never(unreachable)


def claim_of(email: str) -> str:
    """The unique name of an e-mail address."""
    return f"email:{email.casefold()}"


def invitation_claim(invitation_id: str) -> str:
    """The unique name of an invitation's outcome: the account that joined by it, or its end, holds this, never both."""
    return f"invitation:{invitation_id}"


def taken(claim: str) -> Rejected:
    """The refusal where another stream holds the name that an account needs."""
    if claim.startswith(invitation_claim("")):
        return Rejected(
            "invitation-not-valid", "The invitation is not valid, or not any more.", "Ask a colleague for a new one."
        )
    return Rejected(
        "email-taken", "An account with this e-mail address exists already.",
        "Sign in with it, or use another address.",
    )  # fmt: skip


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Sign up: an identity of one's own, in an organisation that is new or that sent an invitation."""

    account_id: str
    organisation_id: str
    organisation_name: str
    organisation_kind: OrganisationKind
    email: str
    name: str
    country: str
    time_zone: str
    locale: str
    now: datetime
    known_zones: frozenset[str]
    """IANA's names, as the door knows them today."""
    sandbox: bool = False
    """Whether the organisation is for trying things out; a colleague's invitation says it for an existing one."""
    publisher: str = ""
    """Of a publisher's organisation: which publisher it is, as the operator's invitation says."""
    invitation_id: str = ""
    """The invitation that lets the person join."""
    not_invited: Rejected | None = None
    """Why that invitation doesn't let this person in, if so."""


@dataclass(frozen=True, slots=True)
class UpdateProfile:
    """Change one's own profile; what is left out stays.

    `country` is ISO 3166-1 alpha-2, `time_zone` an IANA name, `locale` a BCP 47 tag.
    """

    known_zones: Annotated[frozenset[str], SUPPLIED]
    email: str | None = None
    name: str | None = None
    country: str | None = None
    time_zone: str | None = None
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class CloseAccount:
    """Leave for good: name and e-mail address become unreadable everywhere, the address is free for others, and the
    roles end. A Contract Manager hands the contracts over first."""

    closed_by: Annotated[str, SUPPLIED]
    manages: Annotated[tuple[RoleAssigned, ...], SUPPLIED]
    """The roles of Contract Manager that the account holds now."""


@dataclass(frozen=True, slots=True)
class NamePeopleAdministrator:
    """Let a colleague invite people into the organisation, as its first account may."""

    named_by: Annotated[str, SUPPLIED]
    by: Annotated[State, SUPPLIED]
    """The account that asks for it."""


@dataclass(frozen=True, slots=True)
class RemovePeopleAdministrator:
    """Let a colleague invite people no longer. What they have invited to and nobody has accepted ends with it."""

    removed_by: Annotated[str, SUPPLIED]
    by: Annotated[State, SUPPLIED]


Command: TypeAlias = OpenAccount | UpdateProfile | NamePeopleAdministrator | RemovePeopleAdministrator | CloseAccount

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────

_EMAIL: Final = re.compile(r"^[^@\s\"(),:;<>\[\]\\]{1,64}@[^@\s.]+(\.[^@\s.]+)+$")
_LOCALE: Final = re.compile(r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")


def publisher_of(opened: AccountOpened) -> str:
    """The publisher that the account's people act for; "" for any other kind of organisation.

    Accounts of before there was a field for it have the publisher's name as their organisation's.
    """
    if opened.organisation_kind != "publisher":
        return ""
    return opened.publisher or opened.organisation_name.strip().casefold()


def normalised(email: str) -> str:
    """An address as it is kept: composed characters, no space around it, lower case."""
    return unicodedata.normalize("NFC", email).strip().lower()


def decide(command: Command, state: State) -> Decision[Event]:
    """What follows from `command` in `state`."""
    match command:
        case OpenAccount():
            if isinstance(state, Open):
                return ()
            if isinstance(state, Closed):
                return _closed(state)
            if command.not_invited is not None:
                return command.not_invited
            profile = Profile(
                normalised(command.email), command.name.strip(), command.country.upper(), command.time_zone,
                command.locale,
            )  # fmt: skip
            return refusal(profile, command.known_zones) or (
                AccountOpened(
                    account_id=command.account_id, organisation_id=command.organisation_id,
                    organisation_name=command.organisation_name.strip(), organisation_kind=command.organisation_kind,
                    email=profile.email, name=profile.name, country=profile.country, time_zone=profile.time_zone,
                    locale=profile.locale, opened_at=command.now, sandbox=command.sandbox,
                    publisher=command.publisher,
                    invitation_id=command.invitation_id,
                ),
            )  # fmt: skip
        case UpdateProfile():
            return _update(command, state)
        case NamePeopleAdministrator() | RemovePeopleAdministrator():
            return _administrate(command, state)
        case CloseAccount():
            return _close(command, state)
        case unreachable:
            assert_never(unreachable)


def _update(command: UpdateProfile, state: State) -> Decision[Event]:
    if not isinstance(state, Open):
        return _closed(state) if isinstance(state, Closed) else _unknown()
    before = state.profile
    after = Profile(
        before.email if command.email is None else normalised(command.email),
        before.name if command.name is None else command.name.strip(),
        before.country if command.country is None else command.country.upper(),
        before.time_zone if command.time_zone is None else command.time_zone,
        before.locale if command.locale is None else command.locale,
    )
    if after == before:
        return ()
    return refusal(after, command.known_zones) or (
        ProfileUpdated(
            account_id=state.opened.account_id, email=after.email, name=after.name, country=after.country,
            time_zone=after.time_zone, locale=after.locale,
        ),
    )  # fmt: skip


def organisation_of(account_id: str) -> str:
    """The organisation that is new with this account."""
    return str(uuid.uuid5(uuid.UUID(account_id), "organisation"))


def founded(opened: AccountOpened) -> bool:
    """Whether this is its organisation's first account."""
    try:
        return opened.organisation_id == organisation_of(opened.account_id)
    except ValueError:
        return False


def _administrate(command: NamePeopleAdministrator | RemovePeopleAdministrator, state: State) -> Decision[Event]:
    if not isinstance(state, Open):
        return _closed(state) if isinstance(state, Closed) else _unknown()
    opened, by = state.opened, command.by
    if opened.organisation_kind in ("publisher", "operator"):
        return Rejected(
            "operator-only", "Only the operator invites people of a publisher or of the operator.",
            "Ask the operator to invite them.", (opened,),
        )  # fmt: skip
    colleague = isinstance(by, Open) and by.opened.organisation_id == opened.organisation_id
    if not isinstance(by, Open) or not (
        by.opened.organisation_kind == "operator" or (colleague and founded(by.opened))
    ):
        return Rejected(
            "first-account-only", "The organisation's first account says who else may invite people.",
            "Ask that colleague, or the operator where they have left.",
        )  # fmt: skip
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


def _close(command: CloseAccount, state: State) -> Decision[Event]:
    if isinstance(state, Closed):
        return ()
    if isinstance(state, Unopened):
        return _unknown()
    if command.manages:
        contracts = ", ".join(role.contract_id for role in command.manages)
        return Rejected(
            "still-contract-manager", f"This account is the Contract Manager of {contracts}, and a contract always has "
            "one.", "Hand each of these contracts over to a colleague first.", command.manages,
        )  # fmt: skip
    opened = state.opened
    return (
        AccountClosed(
            account_id=opened.account_id, organisation_id=opened.organisation_id, closed_by=command.closed_by
        ),
    )


def _unknown() -> Rejected:
    return Rejected("account-unknown", "There is no such account.", "Sign up first.")


def _closed(state: Closed) -> Rejected:
    return Rejected("account-closed", "This account was closed for good.", "Open a new one.", (state.closed,))


def address_refusal(email: str) -> Rejected | None:
    """Why this can't be an e-mail address, if so."""
    if len(email) > 254 or not _EMAIL.match(email):
        return Rejected("email-malformed", "This is not an e-mail address.", "Write it as name@example.org.")
    return None


def refusal(profile: Profile, known_zones: frozenset[str]) -> Rejected | None:
    """Why a profile can't stand as it is, if so. Says nothing of what was typed: refusals are kept for ever."""
    if (malformed := address_refusal(profile.email)) is not None:
        return malformed
    if not 1 <= len(profile.name) <= 200:
        return Rejected("name-missing", "A name has 1 to 200 characters.", "Give the name that colleagues know.")
    if not re.match(r"^[A-Z]{2}$", profile.country):
        return Rejected("country-malformed", "This is not a country.", "Use two letters, such as DE.")
    if profile.time_zone not in known_zones:
        return Rejected("time-zone-unknown", "This is not a time zone.", "Use an IANA name, such as Europe/Berlin.")
    if not _LOCALE.match(profile.locale):
        return Rejected("locale-malformed", "This is not a locale.", "Use a tag such as en-GB.")
    return None


def _tenant(event: Event) -> str:
    return event.organisation_id if isinstance(event, AccountOpened) else ""


ACCOUNT: Final = Stream("account", INITIAL, evolve, decide, tenant=_tenant, claims=claims, claimed=taken)
