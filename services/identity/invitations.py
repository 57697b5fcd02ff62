"""Inviting people: the doors for whoever may, and what an invitation says when somebody signs up with it."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from services.identity.domain import account, invitation
from services.identity.domain.account import (
    ACCOUNT,
    NamePeopleAdministrator,
    Open,
    RemovePeopleAdministrator,
    invitation_claim,
    publisher_of,
)
from services.identity.domain.invitation import (
    INVITATION,
    OPERATOR,
    IssueInvitation,
    Pending,
    RevokeInvitation,
    Settled,
    not_entitled,
    not_invited,
    organisation_id_of,
)
from services.identity.keys import INVITATION_S, Keys
from services.identity.projections import invitations_for
from services.identity.views import Invitation, InvitationList, InvitationState, InvitationView
from shared.eventlog.decision import Rejected
from shared.eventlog.log import Accepted, Log
from shared.events import InvitationAccepted, InvitationIssued, InvitationRevoked
from shared.events.fields import Address, Name, OptionalPublisher
from shared.events.identity import OrganisationKind
from shared.runtime.doors import Call, Doors, Target
from shared.runtime.http import After, CurrentActor, CurrentLog, Database, Limit, Now
from shared.runtime.problems import rejected, unknown
from shared.runtime.scopes import machines

INVITATION_DOORS: Final = Doors()
INVITATION_QUERIES: Final = APIRouter()

# ── Inviting ───────────────────────────────────────────────────────────────────────────────────────────


class InvitedInto(BaseModel):
    """A publisher's or the operator's organisation, into which only the operator invites."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["publisher", "operator"]
    name: Name
    publisher: OptionalPublisher = ""
    """The publisher's name as its contracts have it; by default the organisation's, in small letters."""


class Invite(BaseModel):
    """Invite the person with this e-mail address: into one's own organisation, or, as the operator, into another."""

    model_config = ConfigDict(extra="forbid", strict=True)

    email: Address
    organisation: InvitedInto | None = None


async def _issue(call: Call) -> Target:
    """The invitation's id follows from the command's, so that a request sent again issues the same invitation."""
    form: Invite = call.body
    if not call.dry_run:
        call.app_state.parts.limits.take("invitation", call.actor.account_id)
    inviter = await call.log.state(ACCOUNT, call.actor.account_id)
    if not isinstance(inviter, Open):
        raise unknown("account")
    into = _into(form, inviter)
    invitation_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"invitation:{call.command_id}"))
    target = Target(
        invitation_id,
        invitation_id=invitation_id,
        email=form.email,
        issued_by=call.actor.account_id,
        now=call.time_of(into["organisation_id"]),
        refused=not_entitled(inviter, into["organisation_id"], into["organisation_kind"]),
        **into,
    )

    async def besides(answer: Accepted) -> dict[str, Any]:
        return _issued(answer, call)

    target.besides = besides
    return target


def _into(form: Invite, inviter: Open) -> dict[str, Any]:
    if form.organisation is None:
        opened = inviter.opened
        return {
            "organisation_id": opened.organisation_id,
            "organisation_name": opened.organisation_name,
            "organisation_kind": opened.organisation_kind,
            "sandbox": opened.sandbox,
            "publisher": publisher_of(opened),
        }
    return operators_choice(form.organisation.kind, form.organisation.name, form.organisation.publisher)


def operators_choice(kind: OrganisationKind, name: str, publisher: str = "") -> dict[str, Any]:
    """The organisation of a publisher or of the operator, as an invitation names it."""
    return {
        "organisation_id": organisation_id_of(kind, name),
        "organisation_name": name,
        "organisation_kind": kind,
        "sandbox": False,
        "publisher": (publisher or name.strip().casefold()) if kind == "publisher" else "",
    }


def _issued(answer: Accepted, call: Call) -> dict[str, Any]:
    issued = next(each.event for each in answer.events if isinstance(each.event, InvitationIssued))
    keys: Keys = call.app_state.keys
    return Invitation(
        invitation=keys.invite(issued.invitation_id, call.new_id()),
        invitation_id=issued.invitation_id,
        expires_in=INVITATION_S,
        organisation_name=issued.organisation_name,
    ).model_dump()


async def _revoke(call: Call) -> Target:
    invitation_id = call.path["invitation_id"]
    found = await call.log.state(INVITATION, invitation_id)
    by = await call.log.state(ACCOUNT, call.actor.account_id)
    if isinstance(found, invitation.Unissued) or not _may_see(found.issued, call.actor.organisation_id, by):
        raise unknown("invitation")
    refused = not_entitled(by, found.issued.organisation_id, found.issued.organisation_kind)
    return Target(invitation_id, revoked_by=call.actor.account_id, refused=refused)


def _may_see(issued: InvitationIssued, organisation_id: str, by: account.State) -> bool:
    """Whether the invitation exists for this account: one into its own organisation, or that it could have issued."""
    if issued.organisation_id == organisation_id:
        return True
    return not_entitled(by, issued.organisation_id, issued.organisation_kind) is None


INVITATION_DOORS.post("/invitations", INVITATION, IssueInvitation, supply=_issue, form=Invite, besides=Invitation)
INVITATION_DOORS.delete("/invitations/{invitation_id}", INVITATION, RevokeInvitation, supply=_revoke)


@INVITATION_QUERIES.get("/invitations", openapi_extra=machines())
async def list_invitations(
    actor: CurrentActor, db: Database, log: CurrentLog, now: Now, limit: Limit = 50, after: After = ""
) -> InvitationList:
    """The invitations into the caller's organisation, and what became of each; for whoever may invite. The operator's
    people see those into publishers' organisations, too."""
    by = await log.state(ACCOUNT, actor.account_id)
    refused = not_entitled(by, actor.organisation_id, actor.organisation_kind)
    if refused is not None:
        raise rejected(refused, 403)
    ids = await invitations_for(
        db, actor.organisation_id, across=actor.organisation_kind == "operator", after=after, limit=limit
    )
    items = [await _view(log, invitation_id, now) for invitation_id in ids]
    return InvitationList(items=items, next=ids[-1] if len(ids) == limit else None)


async def _view(log: Log, invitation_id: str, now: datetime) -> InvitationView:
    state = await log.state(INVITATION, invitation_id)
    if isinstance(state, invitation.Unissued):
        raise unknown("invitation")
    issued = state.issued
    outcome = state.outcome if isinstance(state, Settled) else None
    joined = outcome if isinstance(outcome, InvitationAccepted) else None
    return InvitationView(
        invitation_id=invitation_id,
        organisation_id=issued.organisation_id,
        organisation_name=issued.organisation_name,
        organisation_kind=issued.organisation_kind,
        email=issued.email or None,
        issued_by=issued.issued_by,
        expires_at=issued.expires_at,
        state=_state(state, now),
        account_id=joined.account_id if joined else None,
    )


def _state(state: Pending | Settled, now: datetime) -> InvitationState:
    if isinstance(state, Pending):
        return "pending" if now < state.issued.expires_at else "expired"
    if isinstance(state.outcome, InvitationAccepted):
        return "accepted"
    return "revoked" if isinstance(state.outcome, InvitationRevoked) else "expired"


# ── Who may invite ─────────────────────────────────────────────────────────────────────────────────────


async def _administrator(call: Call, field: str) -> Target:
    """Of somebody in another organisation it is not said whether they exist, but to the operator."""
    account_id = call.path["account_id"]
    named = await call.log.state(ACCOUNT, account_id)
    by = await call.log.state(ACCOUNT, call.actor.account_id)
    same = isinstance(named, Open) and named.opened.organisation_id == call.actor.organisation_id
    if not isinstance(named, Open) or not (same or call.actor.organisation_kind == "operator"):
        raise unknown("account")
    return Target(account_id, by=by, **{field: call.actor.account_id})


async def _name(call: Call) -> Target:
    return await _administrator(call, "named_by")


async def _remove(call: Call) -> Target:
    return await _administrator(call, "removed_by")


_ADMINISTRATOR: Final = "/organisation/administrators/{account_id}"
INVITATION_DOORS.put(_ADMINISTRATOR, ACCOUNT, NamePeopleAdministrator, supply=_name)
INVITATION_DOORS.delete(_ADMINISTRATOR, ACCOUNT, RemovePeopleAdministrator, supply=_remove)

# ── Joining ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Joining:
    """What an invitation's token says when somebody signs up with it."""

    organisation: dict[str, Any]
    refused: Rejected | None
    proves_address: bool
    """Whether the token came in the mail to the invited address."""


async def joining(call: Call, token: str, email: str) -> Joining:
    """The organisation that the token lets somebody with this address join, or why it doesn't."""
    keys: Keys = call.app_state.keys
    said = keys.invited_by(token)
    state = await call.log.state(INVITATION, said["sub"]) if said is not None else invitation.INITIAL
    if said is None or isinstance(state, invitation.Unissued):
        raise rejected(account.taken(invitation_claim("")))
    issued = state.issued
    inviter = account.INITIAL if issued.issued_by == OPERATOR else await call.log.state(ACCOUNT, issued.issued_by)
    refused = not_invited(state, email, inviter, call.time_of(issued.organisation_id))
    organisation = {
        "organisation_id": issued.organisation_id,
        "organisation_name": issued.organisation_name,
        "organisation_kind": issued.organisation_kind,
        "sandbox": issued.sandbox,
        "publisher": issued.publisher,
        "invitation_id": issued.invitation_id,
    }
    return Joining(organisation, refused, proves_address=said.get("mailed") is True)
