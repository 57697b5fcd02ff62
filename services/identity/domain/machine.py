"""A machine account of a program, with scopes and an expiry, one stream per machine account.

The program is a publisher's system, an agent or a dashboard. Secrets are not in events: a private table has their
digests, with the number of the rotation that made each. This module decides which rotations' secrets are valid.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeAlias, assert_never

from services.identity.domain import rules
from services.identity.domain.account import OpenedAccount, founded
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import MachineRegistered, MachineRevoked, MachineSecretRotated
from shared.events.fields import Days, Name
from shared.events.identity import MachineScope, OrganisationKind

Event: TypeAlias = MachineRegistered | MachineSecretRotated | MachineRevoked

LONGEST: Final = timedelta(days=366)
LONGEST_OVERLAP: Final = timedelta(days=7)
OWN: Final[frozenset[MachineScope]] = frozenset({"installs:report"})
"""The scopes that a person may give a machine that acts for the person.

An administrator may give them to a machine that acts for a colleague.
"""
ORGANISATIONS: Final[frozenset[MachineScope]] = frozenset({"read", "installs:report"})
"""The scopes that an organisation's administrator may give. Only the operator may give the others."""

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A machine account without any event."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A machine account that was registered and not revoked."""

    registered: MachineRegistered
    rotation: int = 0
    """The number of rotations: 0 for the first secret."""
    previous_until: datetime | None = None
    """Until when the secret before the latest is valid."""

    def accepts(self, rotation: int, now: datetime) -> bool:
        """Return whether the secret of this rotation is valid now.

        The latest secret is valid until the machine account expires, the one before it until `previous_until`.
        """
        if now >= self.registered.expires_at:
            return False
        if rotation == self.rotation:
            return True
        return rotation == self.rotation - 1 and self.previous_until is not None and now < self.previous_until


@dataclass(frozen=True, slots=True)
class Revoked:
    """A machine account that was revoked for good."""

    registered: MachineRegistered
    revoked: MachineRevoked


State: TypeAlias = Unregistered | Registered | Revoked
INITIAL: Final[State] = Unregistered()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case MachineRegistered():
            return Registered(event)
        case MachineSecretRotated():
            if not isinstance(state, Registered):
                return state
            return Registered(state.registered, state.rotation + 1, event.previous_until)
        case MachineRevoked():
            return Revoked(state.registered, event) if isinstance(state, Registered) else state
        case unreachable:
            assert_never(unreachable)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterMachine:
    """Register a machine account. Its secret is in this answer only."""

    client_id: str
    organisation_id: str
    organisation_kind: OrganisationKind
    publisher: str
    name: Name
    scopes: tuple[MachineScope, ...]
    acts_for: str
    expires_at: datetime
    now: datetime
    registered_by: OpenedAccount
    administers: bool
    """Whether the person who registers it holds an administrative role on a contract."""
    acts_for_colleague: bool
    """Whether `acts_for` is an open account of the organisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateMachineSecret:
    """Give a machine account a new secret, which is in this answer only.

    The secret before it stays valid for `overlap_days`.
    """

    overlap_days: Days = 1
    now: Annotated[datetime, SUPPLIED]
    rotated_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeMachine:
    """Revoke a machine account for good. Its tokens are no longer valid."""

    revoked_by: Annotated[str, SUPPLIED]


Command: TypeAlias = RegisterMachine | RotateMachineSecret | RevokeMachine

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case RegisterMachine():
            return () if isinstance(state, Registered) else _register(command)
        case RotateMachineSecret():
            return _rotate(command, state)
        case RevokeMachine():
            if isinstance(state, Unregistered):
                return _unknown()
            if isinstance(state, Revoked):
                return ()
            return (MachineRevoked(client_id=state.registered.client_id, revoked_by=command.revoked_by),)
        case unreachable:
            assert_never(unreachable)


def _register(command: RegisterMachine) -> Decision[Event]:
    lifetime = command.expires_at - command.now
    if not timedelta(0) < lifetime <= LONGEST:
        return Rejected(
            rules.MACHINE_LIFETIME,
            "A machine account expires in the future, at most a year from now.",
            "Name an instant within a year.",
        )
    if not command.scopes:
        return Rejected(rules.MACHINE_SCOPES, "The request names no scope.", "Name at least one scope.")
    return may_not_give(command) or (
        MachineRegistered(
            client_id=command.client_id,
            organisation_id=command.organisation_id,
            organisation_kind=command.organisation_kind,
            publisher=command.publisher,
            name=command.name,
            scopes=tuple(sorted(set(command.scopes))),
            acts_for=command.acts_for,
            expires_at=command.expires_at,
            registered_by=command.registered_by.opened.account_id,
        ),
    )


def may_not_give(command: RegisterMachine) -> Rejected | None:
    """Return why the account may not register such a machine; None when it may.

    Nobody gives a machine more rights than they have themselves.
    """
    account, scopes = command.registered_by, frozenset(command.scopes)
    opened = account.opened
    if command.acts_for and not command.acts_for_colleague:
        return Rejected(
            rules.MACHINE_ACTS_FOR,
            "A machine acts for an open account of its own organisation.",
            "Name such an account, or none.",
        )
    if opened.organisation_kind == "operator":
        return None
    own = opened.organisation_id == command.organisation_id
    administrator = founded(opened) or account.administrator is not None or command.administers
    if own and opened.organisation_kind in ("customer", "partner"):
        if command.acts_for == opened.account_id and scopes <= (ORGANISATIONS if administrator else OWN):
            return None
        if administrator and scopes <= (OWN if command.acts_for else ORGANISATIONS):
            return None
    return Rejected(
        rules.MACHINE_NOT_YOURS_TO_GIVE,
        "You may not register a machine account with these scopes. People may give their own machine installs:report. "
        "Administrators of a customer or partner may give a machine of their organisation read, and one that acts for "
        "a colleague installs:report.",
        "Ask an administrator of your organisation, or the operator.",
        (opened,),
    )


def _rotate(command: RotateMachineSecret, state: State) -> Decision[Event]:
    if not isinstance(state, Registered):
        return _unknown() if isinstance(state, Unregistered) else _revoked(state)
    overlap = timedelta(days=command.overlap_days)
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        return Rejected(
            rules.MACHINE_OVERLAP, "A replaced secret stays valid for at most seven days.", "Name 0 to 7 days."
        )
    return (
        MachineSecretRotated(
            client_id=state.registered.client_id,
            previous_until=command.now + overlap,
            rotated_by=command.rotated_by,
        ),
    )


def _unknown() -> Rejected:
    return Rejected(
        rules.MACHINE_UNKNOWN, "There is no such machine account.", "List the machine accounts (GET /machines)."
    )


def _revoked(state: Revoked) -> Rejected:
    return Rejected(
        rules.MACHINE_REVOKED, "This machine account was revoked for good.", "Register a new one.", (state.revoked,)
    )


def _tenant(event: Event) -> str:
    return event.organisation_id if isinstance(event, MachineRegistered) else ""


MACHINE: Final = Stream(category="machine", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
