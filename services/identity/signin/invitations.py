"""Invitations: their routes, the right to invite, and the sign-up with an invitation."""

import asyncio
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict

from services.identity.domain import account, invitation
from services.identity.domain.account import (
    ACCOUNT,
    NamePeopleAdministrator,
    OpenedAccount,
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
    already_member,
    not_entitled,
    not_invited,
    organisation_id_of,
)
from services.identity.persons import colleague_at
from services.identity.signin.keys import INVITATION_S, current_keys
from services.identity.views import Invitation, InvitationState, InvitationView
from shared.eventlog.decision import Rejected
from shared.eventlog.write.log import Accepted, Log
from shared.events import InvitationAccepted, InvitationIssued, InvitationRevoked
from shared.events.fields import Address, Identifier, Name, OptionalPublisher
from shared.events.identity import OrganisationKind
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, CurrentLog, Database, Now
from shared.runtime.lists import By, Listing, ListOf, Page
from shared.runtime.people import person_of_list
from shared.runtime.problems import rejected, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.scopes import machines
from shared.sql import statements

SQL: Final = statements(__file__)

COMMANDS: Final = CommandRoutes()
INVITATION_QUERIES: Final = APIRouter(route_class=ListRoute)

# ── Inviting ───────────────────────────────────────────────────────────────────────────────────────────


class InvitedInto(BaseModel):
    """A publisher's or the operator's organisation, into which only the operator invites."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["publisher", "operator"]
    name: Name
    publisher: OptionalPublisher = ""
    """The publisher's name as its contracts have it; by default the organisation's name in lower case."""


class Invite(BaseModel):
    """Invite a person by their e-mail address.

    The invitation is into the caller's organisation; the operator can name another one.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"example": {"email": "grace@example.org"}}
    )

    email: Address
    organisation: InvitedInto | None = None


@COMMANDS.route("POST", "/invitations", INVITATION, extra_response=Invitation)
async def issue_invitation(context: RequestContext[Invite]) -> Addressed[IssueInvitation]:
    """Complete the command that issues an invitation.

    The invitation's id is derived from the command id, so that a repeated request issues the same invitation.
    """
    form, actor = context.asked, context.actor
    if not context.dry_run:
        context.parts.limits.take("invitation", actor.account_id)
    inviter = await context.state(ACCOUNT, actor.account_id)
    if not isinstance(inviter, OpenedAccount):
        raise unknown("account")
    into = _into(form, inviter)
    invitation_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"invitation:{context.command_id}"))
    command = IssueInvitation(
        invitation_id=invitation_id,
        email=form.email,
        organisation_id=into.organisation_id,
        organisation_name=into.name,
        organisation_kind=into.kind,
        sandbox=into.sandbox,
        issued_by=actor.account_id,
        now=context.time_of(into.organisation_id),
        refused=not_entitled(inviter, into.organisation_id, into.kind)
        or already_member(await colleague_at(context.log, form.email, into.organisation_id)),
        publisher=into.publisher,
    )

    async def token(answer: Accepted) -> Invitation:
        issued = next(stored.event for stored in answer.events if isinstance(stored.event, InvitationIssued))
        return Invitation(
            invitation=current_keys(context.app).invite(issued.invitation_id, context.new_id()),
            invitation_id=issued.invitation_id,
            expires_in=INVITATION_S,
            organisation_name=issued.organisation_name,
        )

    return Addressed(invitation_id, command, extra_response=token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """An organisation that people join."""

    organisation_id: str
    name: str
    kind: OrganisationKind
    sandbox: bool
    publisher: str = ""
    """For a publisher's organisation, the publisher's name."""


def _into(form: Invite, inviter: OpenedAccount) -> Organisation:
    if form.organisation is not None:
        return operators_choice(form.organisation.kind, form.organisation.name, form.organisation.publisher)
    opened = inviter.opened
    return Organisation(
        organisation_id=opened.organisation_id,
        name=opened.organisation_name,
        kind=opened.organisation_kind,
        sandbox=opened.sandbox,
        publisher=publisher_of(opened),
    )


def operators_choice(kind: OrganisationKind, name: str, publisher: str = "") -> Organisation:
    """Return the organisation of a publisher or of the operator that an invitation names."""
    return Organisation(
        organisation_id=organisation_id_of(kind, name),
        name=name,
        kind=kind,
        sandbox=False,
        publisher=(publisher or name.strip().casefold()) if kind == "publisher" else "",
    )


@COMMANDS.route("DELETE", "/invitations/{invitation_id}", INVITATION)
async def revoke_invitation(
    context: RequestContext[RevokeInvitation], invitation_id: str
) -> Addressed[RevokeInvitation]:
    state = await context.state(INVITATION, invitation_id)
    by = await context.state(ACCOUNT, context.actor.account_id)
    if isinstance(state, invitation.Unissued) or not _may_see(state.issued, context.actor.organisation_id, by):
        raise unknown("invitation")
    refused = not_entitled(by, state.issued.organisation_id, state.issued.organisation_kind)
    return Addressed(invitation_id, RevokeInvitation(revoked_by=context.actor.account_id, refused=refused))


def _may_see(issued: InvitationIssued, organisation_id: str, by: account.State) -> bool:
    """Return whether the account may see the invitation.

    It may if the invitation is into its organisation, or if it could have issued it.
    """
    if issued.organisation_id == organisation_id:
        return True
    return not_entitled(by, issued.organisation_id, issued.organisation_kind) is None


INVITATIONS: Final = Listing(
    SQL["invitations"],
    key="invitation_id",
    sorts={"invitation_id": By(), "expires_at": By(datetime, "by_expires_at"), "state": By(), "issued_by": By()},
    order="invitation_id",
)


@INVITATION_QUERIES.get("/invitations", openapi_extra=machines())
async def list_invitations(
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    now: Now,
    request: Request,
    page: Annotated[Page, Depends(INVITATIONS.page)],
    state: InvitationState | None = None,
    issued_by: Identifier | None = None,
    issued_by_email: Address | None = None,
) -> ListOf[InvitationView]:
    """List the invitations into the caller's organisation with their states.

    Only people who may invite can list them. For the operator, invitations into publishers' organisations are listed,
    too.
    """
    by = await log.state(ACCOUNT, actor.account_id)
    refused = not_entitled(by, actor.organisation_id, actor.organisation_kind)
    if refused is not None:
        raise rejected(refused)
    across = actor.organisation_kind == "operator"
    person = await person_of_list(request, issued_by, issued_by_email, of="issued_by")
    found = await INVITATIONS.fetch(db, page, actor.organisation_id, across, state, now, person)
    items = await asyncio.gather(*(_view(log, row["invitation_id"], now) for row in found.rows))
    return ListOf(items=items, next=found.next)


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


@COMMANDS.route("PUT", "/organisation/administrators/{account_id}", ACCOUNT)
async def name_people_administrator(
    context: RequestContext[NamePeopleAdministrator], account_id: str
) -> Addressed[NamePeopleAdministrator]:
    by = await _administrating(context, account_id)
    return Addressed(account_id, NamePeopleAdministrator(named_by=context.actor.account_id, by=by))


@COMMANDS.route("DELETE", "/organisation/administrators/{account_id}", ACCOUNT)
async def remove_people_administrator(
    context: RequestContext[RemovePeopleAdministrator], account_id: str
) -> Addressed[RemovePeopleAdministrator]:
    by = await _administrating(context, account_id)
    return Addressed(account_id, RemovePeopleAdministrator(removed_by=context.actor.account_id, by=by))


async def _administrating(context: RequestContext[object], account_id: str) -> account.State:
    """Return the caller's account.

    Raises:
        Problem: 404 if `account_id` doesn't exist or, unless the caller is the operator, is of another organisation.
    """
    named = await context.state(ACCOUNT, account_id)
    by = await context.state(ACCOUNT, context.actor.account_id)
    same = isinstance(named, OpenedAccount) and named.opened.organisation_id == context.actor.organisation_id
    if not isinstance(named, OpenedAccount) or not (same or context.actor.organisation_kind == "operator"):
        raise unknown("account")
    return by


# ── Joining ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Joining:
    """The facts of the invitation with which somebody signs up."""

    organisation: Organisation
    invitation_id: str
    refused: Rejected | None
    proves_address: bool
    """Whether the token was mailed to the invited address, so that it proves the address."""


async def joining(context: RequestContext[object], token: str, email: str) -> Joining:
    """Return the token's invitation for this address, with its refusal, if any.

    Raises:
        Problem: The token is invalid.
    """
    token_claims = current_keys(context.app).invited_by(token)
    state = invitation.INITIAL if token_claims is None else await context.state(INVITATION, token_claims.invitation_id)
    if token_claims is None or isinstance(state, invitation.Unissued):
        raise rejected(account.taken(invitation_claim("")))
    issued = state.issued
    inviter = account.INITIAL if issued.issued_by == OPERATOR else await context.state(ACCOUNT, issued.issued_by)
    organisation = Organisation(
        organisation_id=issued.organisation_id,
        name=issued.organisation_name,
        kind=issued.organisation_kind,
        sandbox=issued.sandbox,
        publisher=issued.publisher,
    )
    return Joining(
        organisation,
        issued.invitation_id,
        refused=not_invited(state, email, inviter, context.time_of(issued.organisation_id)),
        proves_address=token_claims.mailed,
    )
