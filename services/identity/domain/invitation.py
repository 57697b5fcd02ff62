"""An invitation into an organisation: for one address, for one person, for a time. One stream per invitation.

The account that joins by it and the event that ends it otherwise take the same unique name, so that exactly one of them
happens, although they are in different streams. `InvitationAccepted` follows from the account's own event.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeAlias, assert_never

from services.identity.domain import account, rules
from services.identity.domain.account import founded, invitation_claim, normalised
from shared.eventlog.decision import NO_CLAIMS, SUPPLIED, Claims, Decision, Rejected, Stream
from shared.events import InvitationAccepted, InvitationExpired, InvitationIssued, InvitationRevoked
from shared.events.fields import ActorId, Address, Identifier, Name, OptionalPublisher
from shared.events.identity import OrganisationKind

Event: TypeAlias = InvitationIssued | InvitationAccepted | InvitationRevoked | InvitationExpired

LIFETIME: Final = timedelta(days=7)
OPERATOR: Final = "operator"
"""Who issued an invitation that was made on the system's own machine."""
_BY_OPERATOR_ONLY: Final = ("publisher", "operator")
_ORGANISATIONS: Final = uuid.UUID("3f6d2f0e-95a7-5f3b-8d9e-0c7f7a5f2c11")

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unissued:
    pass


@dataclass(frozen=True, slots=True)
class Pending:
    issued: InvitationIssued


@dataclass(frozen=True, slots=True)
class Settled:
    """It lets nobody in any more. `issued` has no address left."""

    issued: InvitationIssued
    outcome: InvitationAccepted | InvitationRevoked | InvitationExpired


State: TypeAlias = Unissued | Pending | Settled
INITIAL: Final[State] = Unissued()


def evolve(state: State, event: Event) -> State:
    """The state after `event`."""
    match event:
        case InvitationIssued():
            return Pending(event)
        case InvitationAccepted() | InvitationRevoked() | InvitationExpired():
            return Settled(_without_address(state.issued), event) if isinstance(state, Pending) else state
        case unreachable:
            assert_never(unreachable)


def _without_address(issued: InvitationIssued) -> InvitationIssued:
    return issued.model_copy(update={"email": ""}).recorded(issued.ref)


def claims(_state: State, event: Event) -> Claims:
    """What ends an invitation takes the name that the account of whoever joins would take."""
    if isinstance(event, InvitationRevoked | InvitationExpired):
        return Claims(take=(invitation_claim(event.invitation_id),))
    return NO_CLAIMS


def used(_claim: str) -> Rejected:
    return Rejected(
        rules.INVITATION_USED,
        "Somebody has joined by this invitation.",
        "Ask for the account to be closed if it was the wrong person.",
    )


# ── Who may invite ─────────────────────────────────────────────────────────────────────────────────────


def organisation_id_of(kind: OrganisationKind, name: str) -> str:
    """The id of a publisher's or the operator's organisation: the same kind and name are the same organisation."""
    return str(uuid.uuid5(_ORGANISATIONS, f"{kind}:{name}"))


def not_entitled(inviter: account.State, organisation_id: str, kind: OrganisationKind) -> Rejected | None:
    """Why this account may not invite into the organisation, if so. The same holds for listing and revoking."""
    if not isinstance(inviter, account.OpenedAccount):
        because = (inviter.closed,) if isinstance(inviter, account.Closed) else ()
        return Rejected(rules.MAY_NOT_INVITE, "The account that invites is not open.", "", because)
    opened = inviter.opened
    if kind in _BY_OPERATOR_ONLY:
        if opened.organisation_kind == "operator":
            return None
        return Rejected(
            rules.OPERATOR_ONLY,
            "Only the operator invites people of a publisher or of the operator.",
            "Ask the operator to invite them.",
            (opened,),
        )
    if opened.organisation_id == organisation_id and (founded(opened) or inviter.administrator is not None):
        return None
    return Rejected(
        rules.MAY_NOT_INVITE,
        "You may not invite people into this organisation.",
        "Ask its first account to do it, or to name you for it (PUT /organisation/administrators/{account_id}).",
    )


def not_invited(state: State, email: str, inviter: account.State, now: datetime) -> Rejected | None:
    """Why this invitation does not let somebody with this address join now, if so. `inviter` is the account that issued
    it: its right must still hold. Every reason reads the same, for a stranger may hold the link."""
    if isinstance(state, Pending):
        issued = state.issued
        entitled = issued.issued_by == OPERATOR or (
            not_entitled(inviter, issued.organisation_id, issued.organisation_kind) is None
        )
        addressed = issued.email != "" and normalised(email) == normalised(issued.email)
        if entitled and addressed and now < issued.expires_at:
            return None
    return account.taken(invitation_claim(""))


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueInvitation:
    """Invite the person with this e-mail address into the organisation, for seven days.

    The link goes to that address; the answer has a token, too, for whoever would rather hand it over.
    """

    invitation_id: Identifier
    email: Address
    organisation_id: Identifier
    organisation_name: Name
    organisation_kind: OrganisationKind
    sandbox: bool
    issued_by: ActorId
    now: datetime
    refused: Rejected | None
    """Why the inviter may not, if so."""
    publisher: OptionalPublisher = ""
    """Into a publisher's organisation: which publisher it is."""


@dataclass(frozen=True, slots=True)
class RevokeInvitation:
    """Take an invitation back. Who has joined by it stays."""

    revoked_by: Annotated[str, SUPPLIED]
    refused: Annotated[Rejected | None, SUPPLIED] = None
    """Why the caller may not, if so."""


@dataclass(frozen=True, slots=True)
class ExpireInvitation:
    """Nobody joined in time."""

    now: datetime


@dataclass(frozen=True, slots=True)
class RecordAcceptance:
    """The account was opened by this invitation."""

    account_id: Identifier


Command: TypeAlias = IssueInvitation | RevokeInvitation | ExpireInvitation | RecordAcceptance

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """What follows from `command` in `state`."""
    match command:
        case IssueInvitation():
            return _issue(command, state)
        case RevokeInvitation() | ExpireInvitation() | RecordAcceptance():
            return _settle(command, state)
        case unreachable:
            assert_never(unreachable)


def _issue(command: IssueInvitation, state: State) -> Decision[Event]:
    if not isinstance(state, Unissued):
        return ()
    if command.refused is not None:
        return command.refused
    return (
        InvitationIssued(
            invitation_id=command.invitation_id,
            organisation_id=command.organisation_id,
            organisation_name=command.organisation_name,
            organisation_kind=command.organisation_kind,
            sandbox=command.sandbox,
            email=command.email,
            issued_by=command.issued_by,
            expires_at=command.now + LIFETIME,
            publisher=command.publisher,
        ),
    )


def _settle(command: RevokeInvitation | ExpireInvitation | RecordAcceptance, state: State) -> Decision[Event]:
    if isinstance(state, Unissued):
        return Rejected(rules.INVITATION_UNKNOWN, "There is no such invitation.", "Check the id.")
    invitation_id, organisation_id = state.issued.invitation_id, state.issued.organisation_id
    if isinstance(command, RevokeInvitation):
        if command.refused is not None:
            return command.refused
        if isinstance(state, Settled):
            joined = isinstance(state.outcome, InvitationAccepted)
            return used(invitation_claim(invitation_id)) if joined else ()
        return (
            InvitationRevoked(
                invitation_id=invitation_id, organisation_id=organisation_id, revoked_by=command.revoked_by
            ),
        )
    if isinstance(state, Settled):
        return ()
    if isinstance(command, ExpireInvitation):
        if command.now < state.issued.expires_at:
            return ()
        return (InvitationExpired(invitation_id=invitation_id, organisation_id=organisation_id),)
    return (
        InvitationAccepted(invitation_id=invitation_id, organisation_id=organisation_id, account_id=command.account_id),
    )


INVITATION: Final = Stream(
    category="invitation",
    initial=INITIAL,
    evolve=evolve,
    decide=decide,
    tenant=lambda event: event.organisation_id,
    claims=claims,
    claimed=used,
)
