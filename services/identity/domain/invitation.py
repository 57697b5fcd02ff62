"""An invitation of one address into an organisation, valid once and until it expires.

There is one stream per invitation. The account that joins by it and the event that revokes or expires it take the same
unique name, so exactly one of them happens, although they are in different streams. `InvitationAccepted` follows from
the account's own event.
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
from shared.rules import OPERATOR_ONLY

Event: TypeAlias = InvitationIssued | InvitationAccepted | InvitationRevoked | InvitationExpired

LIFETIME: Final = timedelta(days=7)
OPERATOR: Final = "operator"
"""The issuer of invitations that the operator makes on the system's own machine."""
_BY_OPERATOR_ONLY: Final = ("publisher", "operator")
_ORGANISATIONS: Final = uuid.UUID("3f6d2f0e-95a7-5f3b-8d9e-0c7f7a5f2c11")

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unissued:
    """An invitation without any event."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An invitation that was issued and has no outcome."""

    issued: InvitationIssued


@dataclass(frozen=True, slots=True)
class Settled:
    """An invitation with an outcome: it admits nobody. `issued` has no address any more."""

    issued: InvitationIssued
    outcome: InvitationAccepted | InvitationRevoked | InvitationExpired


State: TypeAlias = Unissued | Pending | Settled
INITIAL: Final[State] = Unissued()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
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
    """Return the unique names that `event` takes.

    A revocation or an expiry takes the name that a joining account would take.
    """
    if isinstance(event, InvitationRevoked | InvitationExpired):
        return Claims(take=(invitation_claim(event.invitation_id),))
    return NO_CLAIMS


def used(_claim: str) -> Rejected:
    """Return the refusal to revoke an invitation that was accepted."""
    return Rejected(
        rules.INVITATION_USED,
        "A person has already joined with this invitation.",
        "If it was the wrong person, ask the operator to close the account.",
    )


# ── Who may invite ─────────────────────────────────────────────────────────────────────────────────────


def organisation_id_of(kind: OrganisationKind, name: str) -> str:
    """Return the id of a publisher's or the operator's organisation.

    It is derived from the kind and the name, so equal ones name the same organisation.
    """
    return str(uuid.uuid5(_ORGANISATIONS, f"{kind}:{name}"))


def not_entitled(inviter: account.State, organisation_id: str, kind: OrganisationKind) -> Rejected | None:
    """Return why the account may not invite people into the organisation; None when it may.

    The same right is needed to list and revoke invitations.
    """
    if not isinstance(inviter, account.OpenedAccount):
        because = (inviter.closed,) if isinstance(inviter, account.Closed) else ()
        return Rejected(
            rules.MAY_NOT_INVITE,
            "The inviting account is not open.",
            "Ask somebody with an open account to send the invitation.",
            because,
        )
    opened = inviter.opened
    if kind in _BY_OPERATOR_ONLY:
        if opened.organisation_kind == "operator":
            return None
        return Rejected(
            OPERATOR_ONLY,
            "Only the operator invites people of a publisher or of the operator.",
            "Ask the operator to invite them.",
            (opened,),
        )
    if opened.organisation_id == organisation_id and (founded(opened) or inviter.administrator is not None):
        return None
    return Rejected(
        rules.MAY_NOT_INVITE,
        "You may not invite people into this organisation.",
        "Ask the organisation's first account to invite them, or to give you the right "
        "(PUT /organisation/administrators/{account_id}).",
    )


def already_member(holder: account.OpenedAccount | None) -> Rejected | None:
    """Return why an address is not invited that a member has; None if no member has it."""
    if holder is None:
        return None
    return Rejected(
        rules.ALREADY_A_MEMBER,
        "The person with this address is in the organisation already.",
        "Find them in the list of people (GET /people); they need no invitation.",
        (holder.opened,),
    )


def not_invited(state: State, email: str, inviter: account.State, now: datetime) -> Rejected | None:
    """Return why the invitation does not admit this address now; None when it does.

    All reasons read the same, because a stranger may have the link.

    Args:
        inviter: the account that issued the invitation. It must still have the right to invite.
    """
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

    The link is mailed to that address. The answer also has the token, so that the inviter can pass it on.
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
    """The refusal if the inviter may not, or if the person is in the organisation already."""
    publisher: OptionalPublisher = ""
    """The publisher of a publisher's organisation."""


@dataclass(frozen=True, slots=True)
class RevokeInvitation:
    """Revoke an invitation that nobody has accepted."""

    revoked_by: Annotated[str, SUPPLIED]
    refused: Annotated[Rejected | None, SUPPLIED] = None
    """The refusal if the caller may not."""


@dataclass(frozen=True, slots=True)
class ExpireInvitation:
    """Expire an invitation that nobody has accepted in time."""

    now: datetime


@dataclass(frozen=True, slots=True)
class RecordAcceptance:
    """Record the account that was opened with this invitation."""

    account_id: Identifier


Command: TypeAlias = IssueInvitation | RevokeInvitation | ExpireInvitation | RecordAcceptance

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
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
