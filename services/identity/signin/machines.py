"""Machine accounts: registration, listing, rotation of secrets, and revocation."""

import asyncio
import hashlib
import secrets
import uuid
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from services.identity.domain import contract_state, rules
from services.identity.domain.account import ACCOUNT, OpenedAccount, founded, publisher_of
from services.identity.domain.contract import CONTRACT
from services.identity.domain.machine import (
    MACHINE,
    Registered,
    RegisterMachine,
    Revoked,
    RevokeMachine,
    RotateMachineSecret,
)
from services.identity.projections import contracts_of, machines_of
from shared.eventlog.write.log import Accepted, Log
from shared.eventlog.write.reader import Reader
from shared.events import MachineRegistered
from shared.events.fields import Address, Identifier, Instant, Name, OptionalPublisher
from shared.events.identity import MachineScope, OrganisationKind
from shared.rules import OPERATOR_ONLY
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.lists import By, Listing, ListOf, Page, Search
from shared.runtime.people import person_of_list
from shared.runtime.problems import Problem, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.scopes import machines as for_machines
from shared.runtime.versions import shown_by_log
from shared.sql import statements

SQL: Final = statements(__file__)

COMMANDS: Final = CommandRoutes()
MACHINE_QUERIES: Final = APIRouter(route_class=ListRoute)

_SECRET_BYTES: Final = 32


class MachinesOrganisation(BaseModel):
    """The organisation of a machine account that the operator registers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    organisation_id: Identifier
    kind: OrganisationKind
    publisher: OptionalPublisher = ""
    """For a publisher's organisation, the publisher's name as contracts have it."""


class NewMachine(BaseModel):
    """Register a machine account of the caller's organisation; the operator can name another."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    scopes: Annotated[tuple[MachineScope, ...], Field(min_length=1, max_length=10)]
    expires_at: Instant
    acts_for: Identifier | None = None
    """The account for which it acts, such as the user of an agent's machine."""
    organisation: MachinesOrganisation | None = None


class MachineSecret(BaseModel):
    """The additional fields of the response, sent once; a lost secret has to be rotated."""

    client_id: str
    client_secret: str


class MachineView(BaseModel):
    client_id: str
    name: str
    organisation_id: str
    scopes: list[str]
    acts_for: str | None
    registered_by: str
    expires_at: datetime
    rotations: int
    previous_until: datetime | None
    """Until when the previous secret is valid, too."""
    revoked_by: str | None


@COMMANDS.route("POST", "/machines", MACHINE, extra_response=MachineSecret, location="/machines/{client_id}")
async def register_machine(context: RequestContext[NewMachine]) -> Addressed[RegisterMachine]:
    """Complete the command that registers a machine account.

    The client id is derived from the command id, so that a repeated request registers the same machine.
    """
    form = context.asked
    account = await context.state(ACCOUNT, context.actor.account_id)
    if not isinstance(account, OpenedAccount):
        raise unknown("account")
    opened, other = account.opened, form.organisation
    if other is not None and opened.organisation_kind != "operator":
        raise Problem(
            rule=OPERATOR_ONLY,
            reason="Only the operator can register machines of another organisation.",
            remedy="Leave organisation out to register a machine of your own organisation.",
        )
    organisation_id = opened.organisation_id if other is None else other.organisation_id
    client_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"machine:{context.command_id}"))
    command = RegisterMachine(
        client_id=client_id,
        organisation_id=organisation_id,
        organisation_kind=opened.organisation_kind if other is None else other.kind,
        publisher=publisher_of(opened) if other is None else other.publisher,
        name=form.name,
        scopes=form.scopes,
        acts_for=form.acts_for or "",
        expires_at=form.expires_at,
        now=context.parts.clocks.real(),
        registered_by=account,
        administers=await _administers(context, opened.account_id),
        acts_for_colleague=await _colleague(context, form.acts_for, organisation_id),
    )

    async def secret(_answer: Accepted) -> MachineSecret | None:
        return await _new_secret(context.db, client_id, 0)

    return Addressed(client_id, command, extra_response=secret)


async def _administers(context: RequestContext[object], account_id: str) -> bool:
    """Return whether the account holds a role on any contract."""
    contracts = await contracts_of(context.db, account_id)
    states = [await context.state(CONTRACT, contract_id) for contract_id in contracts]
    return any(
        isinstance(state, contract_state.OpenedContract)
        and (account_id in state.coordinators or (state.manager is not None and state.manager.account_id == account_id))
        for state in states
    )


async def _colleague(context: RequestContext[object], account_id: str | None, organisation_id: str) -> bool:
    if not account_id:
        return False
    account = await context.state(ACCOUNT, account_id)
    return isinstance(account, OpenedAccount) and account.opened.organisation_id == organisation_id


async def _new_secret(db: Pool, client_id: str, rotation: int) -> MachineSecret | None:
    """Create a secret and store its digest; return None if this rotation has a secret already."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    if not await db.fetchval(SQL["keep_secret"], client_id, rotation, digest_of(secret)):
        return None
    return MachineSecret(client_id=client_id, client_secret=secret)


def digest_of(secret: str) -> bytes:
    """Return the digest that is stored of a secret.

    A fast hash is sufficient, because a secret has 256 random bits.
    """
    return hashlib.sha256(secret.encode()).digest()


async def visible_machine(streams: Log | Reader, actor: Actor, client_id: str) -> Registered | Revoked:
    """Return the machine account.

    Raises:
        Problem: 404 unless the caller registered it, is the account that it acts for, administers its organisation, or
            is the operator.
    """
    state = await streams.state(MACHINE, client_id)
    if isinstance(state, Registered | Revoked) and await _may_see(streams, actor, state):
        return state
    raise unknown("machine account", "See GET /machines.")


async def _may_see(streams: Log | Reader, actor: Actor, state: Registered | Revoked) -> bool:
    machine = state.registered
    if actor.organisation_kind == "operator" or actor.account_id in (machine.registered_by, machine.acts_for):
        return True
    return machine.organisation_id == actor.organisation_id and await administers_people(streams, actor)


async def administers_people(streams: Log | Reader, actor: Actor) -> bool:
    """Return whether the caller is an administrator of its organisation's people."""
    account = await streams.state(ACCOUNT, actor.account_id)
    return isinstance(account, OpenedAccount) and (founded(account.opened) or account.administrator is not None)


@COMMANDS.route("POST", "/machines/{client_id}/secret", MACHINE, extra_response=MachineSecret)
async def rotate_machine_secret(
    context: RequestContext[RotateMachineSecret], client_id: str
) -> Addressed[RotateMachineSecret]:
    state = await visible_machine(context.streams, context.actor, client_id)
    if not await _may_rotate(context, state.registered):
        raise Problem(
            rule=rules.MACHINE_NOT_YOURS_TO_GIVE,
            reason="You registered this machine as an administrator of the organisation, and you are no longer one.",
            remedy="Ask an administrator of your organisation, or the operator.",
        )
    command = replace(context.asked, now=context.parts.clocks.real(), rotated_by=context.actor.account_id)

    async def secret(_answer: Accepted) -> MachineSecret | None:
        state = await context.log.state(MACHINE, client_id)
        return await _new_secret(context.db, client_id, state.rotation) if isinstance(state, Registered) else None

    return Addressed(client_id, command, extra_response=secret)


async def _may_rotate(context: RequestContext[object], machine: MachineRegistered) -> bool:
    """Return whether the caller may get a new secret.

    Who registered the machine may have lost the right to that.
    """
    actor = context.actor
    if actor.organisation_kind == "operator" or machine.acts_for == actor.account_id:
        return True
    return await administers_people(context.streams, actor) or await _administers(context, actor.account_id)


@COMMANDS.route("DELETE", "/machines/{client_id}", MACHINE)
async def revoke_machine(context: RequestContext[RevokeMachine], client_id: str) -> Addressed[RevokeMachine]:
    await visible_machine(context.streams, context.actor, client_id)
    return Addressed(client_id, RevokeMachine(revoked_by=context.actor.account_id))


MACHINES: Final = Listing(
    key="client_id",
    sorts={"client_id": By(), "name": By(), "registered_by": By(), "expires_at": By(datetime)},
    order="client_id",
)


@MACHINE_QUERIES.get("/machines", openapi_extra=for_machines())
async def machines(
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    request: Request,
    page: Annotated[Page, Depends(MACHINES.page)],
    registered_by: Identifier | None = None,
    registered_by_email: Address | None = None,
    acts_for: Identifier | None = None,
    acts_for_email: Address | None = None,
    revoked: Literal["true", "false"] | None = None,
    q: Search = "",
) -> ListOf[MachineView]:
    """List the machine accounts of the caller's organisation, by any part of their names.

    People who don't administer it only see those that they registered or that act for them.
    """
    mine = "" if await administers_people(log, actor) or actor.organisation_kind == "operator" else actor.account_id
    registered = await person_of_list(request, registered_by, registered_by_email, of="registered_by")
    acting = await person_of_list(request, acts_for, acts_for_email, of="acts_for")
    ids = await machines_of(db, actor.organisation_id, mine)
    states = await asyncio.gather(*(log.state(MACHINE, client_id) for client_id in ids))
    views = [_view(state) for state in states if isinstance(state, Registered | Revoked)]
    found = [
        view
        for view in views
        if registered in (None, view.registered_by)
        and acting in (None, view.acts_for)
        and (revoked is None or (revoked == "true") == (view.revoked_by is not None))
        and q.casefold() in view.name.casefold()
    ]
    return MACHINES.select(page, found)


@MACHINE_QUERIES.get(
    "/machines/{client_id}", openapi_extra=for_machines(), dependencies=[shown_by_log(MACHINE, "{client_id}")]
)
async def machine(client_id: Identifier, actor: CurrentActor, log: CurrentLog) -> MachineView:
    """Return one machine account."""
    return _view(await visible_machine(log, actor, client_id))


def _view(state: Registered | Revoked) -> MachineView:
    made = state.registered
    return MachineView(
        client_id=made.client_id,
        name=made.name,
        organisation_id=made.organisation_id,
        scopes=list(made.scopes),
        acts_for=made.acts_for or None,
        registered_by=made.registered_by,
        expires_at=made.expires_at,
        rotations=state.rotation if isinstance(state, Registered) else 0,
        previous_until=state.previous_until if isinstance(state, Registered) else None,
        revoked_by=state.revoked.revoked_by if isinstance(state, Revoked) else None,
    )
