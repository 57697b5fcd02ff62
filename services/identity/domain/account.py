"""One person's account: who they are and which organisation they belong to. One stream per account."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, TypeAlias, assert_never

from shared.eventlog.decision import NO_CLAIMS, SUPPLIED, Claims, Decision, Rejected, Stream
from shared.events import AccountClosed, AccountOpened, ProfileUpdated, RoleAssigned
from shared.events.identity import OrganisationKind

Event: TypeAlias = AccountOpened | ProfileUpdated | AccountClosed

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
            return Open(state.opened, _profile(event)) if isinstance(state, Open) else state
        case AccountClosed():
            return Closed(event)
        case unreachable:
            assert_never(unreachable)


def _profile(event: AccountOpened | ProfileUpdated) -> Profile:
    return Profile(event.email, event.name, event.country, event.time_zone, event.locale)


def claims(state: State, event: Event) -> Claims:
    """An address belongs to one account at a time; a changed one, or a closed account's, is free at once."""
    match event:
        case AccountOpened(email=email):
            return Claims(take=(claim_of(email),))
        case ProfileUpdated(email=email):
            if not isinstance(state, Open) or claim_of(email) == claim_of(state.profile.email):
                return NO_CLAIMS
            return Claims(take=(claim_of(email),), release=(claim_of(state.profile.email),))
        case AccountClosed():
            return Claims(release=(claim_of(state.profile.email),)) if isinstance(state, Open) else NO_CLAIMS
        case unreachable:
            assert_never(unreachable)


def claim_of(email: str) -> str:
    """The unique name of an e-mail address."""
    return f"email:{email.casefold()}"


def email_taken(_claim: str) -> Rejected:
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


Command: TypeAlias = OpenAccount | UpdateProfile | CloseAccount

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
                ),
            )  # fmt: skip
        case UpdateProfile():
            return _update(command, state)
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


def refusal(profile: Profile, known_zones: frozenset[str]) -> Rejected | None:
    """Why a profile can't stand as it is, if so. Says nothing of what was typed: refusals are kept for ever."""
    if len(profile.email) > 254 or not _EMAIL.match(profile.email):
        return Rejected("email-malformed", "This is not an e-mail address.", "Write it as name@example.org.")
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


ACCOUNT: Final = Stream("account", INITIAL, evolve, decide, tenant=_tenant, claims=claims, claimed=email_taken)
