"""The routes of identity's commands.

The routes of signing in are in `signin/`; for queries see queries.py.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, model_validator
from starlette.datastructures import State

from services.identity.domain import clock as clocks
from services.identity.domain import contract_state, rules
from services.identity.domain.account import (
    ACCOUNT,
    CloseAccount,
    Closed,
    Identity,
    OpenAccount,
    OpenedAccount,
    RemovePerson,
    Unopened,
    UpdateProfile,
    organisation_of,
)
from services.identity.domain.clock import CLOCK, MoveClock
from services.identity.domain.contract import (
    CONTRACT,
    ApproveRoleRequest,
    DeclineRoleRequest,
    HandOverContract,
    NameCoordinator,
    RequestRole,
    RevokeRole,
)
from services.identity.everywhere import Everywhere
from services.identity.notifications import routes as notifications
from services.identity.persons import holder_of
from services.identity.projections import contracts_of, involve
from services.identity.queries import visible
from services.identity.signin import addresses, credentials, elsewhere, invitations, machines, sessions
from services.identity.signin.addresses import address_key, proven_by, release
from services.identity.signin.elsewhere import IdToken, NonceText, identified_once
from services.identity.signin.invitations import Organisation, joining
from services.identity.signin.passwords import require_uncommon
from services.identity.signin.sessions import start
from services.identity.views import (
    ClockMovedView,
    SignedUp,
)
from services.identity.webhooks import routes as webhooks
from shared.eventlog.decision import Rejected
from shared.eventlog.write.log import Accepted
from shared.events import AccountOpened, RoleAssigned
from shared.events.fields import Address, Country, Identifier, Locale, Name, Password, TimeZone, Token
from shared.events.identity import AddressProof
from shared.rules import OPERATOR_ONLY
from shared.runtime.auth import Actor
from shared.runtime.people import NOBODY, NamesPeople
from shared.runtime.problems import Problem, unknown
from shared.runtime.routes import Addressed, CommandRoutes, Completion, RequestContext

COMMANDS: Final = CommandRoutes(
    sessions.COMMANDS,
    machines.COMMANDS,
    elsewhere.COMMANDS,
    invitations.COMMANDS,
    addresses.COMMANDS,
    notifications.COMMANDS,
    webhooks.COMMANDS,
)
# ── Accounts ───────────────────────────────────────────────────────────────────────────────────────────


class NewOrganisation(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    kind: Literal["customer", "partner"]
    sandbox: bool = False
    """Whether the organisation is a sandbox, whose clock can be moved forward."""


class SignUp(BaseModel):
    """Open an account, in a new organisation or in the one that sent the invitation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    email: Address | None = None
    """With an ID token, it may be left out: the account then gets the address that the issuer has verified."""
    password: Password | None = None
    """With an ID token, it may be left out: the person then signs in by the issuer only."""
    name: Name
    country: Country
    time_zone: TimeZone = "UTC"
    locale: Locale = "en"
    organisation: NewOrganisation | None = None
    invitation: Token | None = None
    proof: Token | None = None
    """A proof that was mailed to the address (POST /addresses/proof); only needed if another account has it."""

    id_token: IdToken | None = None
    """An ID token of the configured issuer, to sign in by it. It proves the address, if the issuer has verified it."""
    nonce: NonceText | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> "SignUp":
        if (self.organisation is None) == (self.invitation is None):
            raise ValueError("give either an organisation to open or an invitation to join one")
        if (self.id_token is None) != (self.nonce is None):
            raise ValueError("an ID token goes with the nonce that it repeats")
        if self.id_token is None and (self.email is None or self.password is None):
            raise ValueError("give an address and a password, or an ID token")
        return self


@COMMANDS.route("POST", "/accounts", ACCOUNT, open=True, extra_response=SignedUp, location="/accounts/{account_id}")
async def sign_up(context: RequestContext[SignUp]) -> Addressed[OpenAccount]:
    """Complete the command that opens an account.

    The account id is derived from the command id, so that a repeated request opens the same account.
    """
    form = context.asked
    identity = await _identity(context)
    email = _address(form, identity)
    if not context.dry_run:
        context.parts.limits.take("sign-up-address", address_key(email))
    account_id = str(uuid.uuid5(uuid.NAMESPACE_OID, context.command_id))
    joined = await _joined(context, account_id, email)
    password = None if form.password is None else form.password.get_secret_value()
    if password is not None:
        await require_uncommon(password, email, form.name, joined.organisation.name)
    proof = _proof(context, email, identity) or joined.proof
    if proof is not None and joined.refused is None:
        await release(context, email)
    holder = await holder_of(context.log.store, email)
    account = await context.state(ACCOUNT, account_id)
    command = OpenAccount(
        account_id=account_id,
        organisation_id=joined.organisation.organisation_id,
        organisation_name=joined.organisation.name,
        organisation_kind=joined.organisation.kind,
        email=email,
        name=form.name,
        country=form.country,
        time_zone=form.time_zone,
        locale=form.locale,
        now=context.now,
        sandbox=joined.organisation.sandbox,
        publisher=joined.organisation.publisher,
        invitation_id=joined.invitation_id,
        not_invited=joined.refused,
        proof=proof,
        identity=identity,
    )
    free = isinstance(account, Unopened) and holder is None and joined.refused is None
    # An interrupted attempt may have stored another password, so that a request that only repeats its key gets no
    # session. A repeated request doesn't set the password of an open account either, even if its own was lost.
    if context.dry_run or not free or not await credentials.is_first(context.db, account_id, password):
        return Addressed(account_id, command)
    return Addressed(account_id, command, extra_response=lambda answer: _session(answer, context.app))


@dataclass(frozen=True, slots=True)
class _Joined:
    """The organisation that a sign-up joins, with the facts of the invitation, if any."""

    organisation: Organisation
    invitation_id: str = ""
    refused: Rejected | None = None
    proof: AddressProof | None = None


async def _joined(context: RequestContext[SignUp], account_id: str, email: str) -> _Joined:
    """Return the new organisation, or that of the invitation with its refusal, if any."""
    form = context.asked
    if form.organisation is not None:
        founded = Organisation(
            organisation_id=organisation_of(account_id, sandbox=form.organisation.sandbox),
            name=form.organisation.name,
            kind=form.organisation.kind,
            sandbox=form.organisation.sandbox,
        )
        return _Joined(founded)
    invited = await joining(context, form.invitation or "", email)
    proof: AddressProof | None = "invitation" if invited.proves_address and invited.refused is None else None
    return _Joined(invited.organisation, invited.invitation_id, invited.refused, proof)


async def _identity(context: RequestContext[SignUp]) -> Identity | None:
    """Return the identity in the sign-up's ID token, if it has one.

    Raises:
        Problem: 401 if the ID token is invalid.
    """
    form = context.asked
    return None if form.id_token is None else await identified_once(context, form.id_token, form.nonce or "")


def _address(form: SignUp, identity: Identity | None) -> str:
    """Return the address of the new account: the one that was entered, or else the issuer's.

    Raises:
        Problem: 409 if there is neither.
    """
    email = form.email or (identity.email if identity else "")
    if not email:
        raise Problem(
            rule=rules.ADDRESS_MISSING,
            reason="The issuer has not verified an e-mail address of yours that it may vouch for here.",
            remedy="Send an e-mail address of your own, too.",
        )
    return email


def _proof(context: RequestContext[SignUp], email: str, identity: Identity | None) -> AddressProof | None:
    """Return the sign-up's proof of the address, other than an invitation.

    Raises:
        Problem: 409 if a proof was sent that is invalid.
    """
    if context.asked.proof is not None:
        proven_by(context, context.asked.proof, email)
        return "link"
    return "issuer" if identity is not None and identity.email == email else None


async def _session(answer: Accepted, app: State) -> SignedUp | None:
    """Begin the session of an account that was just opened."""
    for stored in answer.events:
        if isinstance(stored.event, AccountOpened):
            session = await start(stored.event, app, since=stored.position)
            return None if session is None else SignedUp(session=session)
    return None


@COMMANDS.route("PUT", "/me/profile", ACCOUNT)
async def update_profile(context: RequestContext[UpdateProfile]) -> Addressed[UpdateProfile]:
    return Addressed(context.actor.account_id, context.asked)


@COMMANDS.route("DELETE", "/me", ACCOUNT)
async def close_own_account(context: RequestContext[CloseAccount]) -> Addressed[CloseAccount]:
    return await _closing(context, context.actor.account_id)


@COMMANDS.route("DELETE", "/accounts/{account_id}", ACCOUNT)
async def close_account(context: RequestContext[CloseAccount], account_id: str) -> Addressed[CloseAccount]:
    if context.actor.organisation_kind != "operator":
        raise Problem(
            rule=OPERATOR_ONLY,
            reason="Only the operator closes accounts of other organisations.",
            remedy="Those who manage an organisation's people remove one of them by DELETE /people/{account_id}.",
        )
    return await _closing(context, account_id)


class Leaver(NamesPeople):
    """A person to remove: either `account_id` or `email`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    PEOPLE: ClassVar[Mapping[str, str]] = {"email": "account_id"}

    account_id: Identifier | None = None
    email: Address | None = None


@COMMANDS.route("DELETE", "/people/{account_id}", ACCOUNT)
async def remove_person(context: RequestContext[RemovePerson]) -> Addressed[RemovePerson]:
    return await _removal(context, context.asked.account_id)


@COMMANDS.route("POST", "/people/remove/bulk", ACCOUNT, bulk=True)
async def remove_people(context: RequestContext[Leaver]) -> Addressed[RemovePerson]:
    return await _removal(context, context.asked.account_id or NOBODY)


async def _removal(context: RequestContext[object], account_id: str) -> Addressed[RemovePerson]:
    """Return the command that removes a person.

    Raises:
        Problem: 404 unless the caller may know of them.
    """
    actor, person = context.actor, await context.state(ACCOUNT, account_id)
    if isinstance(person, Unopened) or not _sees_person(actor, person):
        raise unknown("account")
    command = RemovePerson(
        account_id=account_id,
        removed_by=actor.account_id,
        by=await context.state(ACCOUNT, actor.account_id),
        manages=await _managed(context, account_id),
    )
    return Addressed(account_id, command)


def _sees_person(actor: Actor, person: OpenedAccount | Closed) -> bool:
    """Return whether the caller may know of the account: a colleague's, also a closed one."""
    account = person.opened if isinstance(person, OpenedAccount) else person.closed
    return actor.organisation_kind == "operator" or actor.organisation_id == account.organisation_id


async def _closing(context: RequestContext[CloseAccount], account_id: str) -> Addressed[CloseAccount]:
    manages = await _managed(context, account_id)
    return Addressed(account_id, CloseAccount(closed_by=context.actor.account_id, manages=manages))


async def _managed(context: RequestContext[object], account_id: str) -> tuple[RoleAssigned, ...]:
    """Return the roles of Contract Manager that the account holds now."""
    states = [await context.state(CONTRACT, contract_id) for contract_id in await contracts_of(context.db, account_id)]
    managers = [
        state.manager
        for state in states
        if isinstance(state, contract_state.OpenedContract) and state.manager is not None
    ]
    return tuple(role for role in managers if role.account_id == account_id)


# ── The organisation's time ────────────────────────────────────────────────────────────────────────────


@COMMANDS.route("POST", "/clock", CLOCK, extra_response=ClockMovedView, completes=True)
async def move_clock(context: RequestContext[MoveClock]) -> Addressed[MoveClock]:
    account = await context.state(ACCOUNT, context.actor.account_id)
    organisation = context.actor.organisation_id
    command = replace(
        context.asked,
        organisation_id=organisation,
        sandbox=isinstance(account, OpenedAccount) and account.opened.sandbox,
        now=context.parts.clocks.real(),
        moved_by=context.actor.account_id,
    )
    return Addressed(organisation, command, completion=partial(_moved_everywhere, context))


async def _moved_everywhere(context: RequestContext[MoveClock], authorization: str) -> Completion:
    """Wait until every service decides by the organisation's time."""
    everywhere: Everywhere = context.app.everywhere
    organisation = context.actor.organisation_id
    ahead = clocks.ahead_s(await context.log.state(CLOCK, organisation))
    lacking = await everywhere.lacking(organisation, ahead, authorization, context.parts.clocks, context.db)
    return Completion(not lacking, ClockMovedView(everywhere=not lacking, waiting_for=lacking))


# ── Contracts ──────────────────────────────────────────────────────────────────────────────────────────


async def _organisation_of(context: RequestContext[object], account_id: str) -> str:
    """Return the account's organisation, or "" if the account is unknown or closed."""
    account = await context.state(ACCOUNT, account_id)
    return account.opened.organisation_id if isinstance(account, OpenedAccount) else ""


async def _involve(context: RequestContext[object], contract_id: str, account_id: str) -> None:
    """Record that the account may get a role on the contract.

    This has to happen before the account's state is read: if the account is closed at the same time, either this
    command sees that, or the closing finds the contract.
    """
    if not context.dry_run:
        await involve(context.db, account_id, contract_id)


@COMMANDS.route("POST", "/contracts/{contract_id}/role-requests", CONTRACT)
async def request_role(context: RequestContext[RequestRole], contract_id: str) -> Addressed[RequestRole]:
    account_id = context.actor.account_id
    await visible(context.streams, contract_id, context.actor)
    await _involve(context, contract_id, account_id)
    organisation = await _organisation_of(context, account_id)
    return Addressed(contract_id, replace(context.asked, account_id=account_id, organisation_id=organisation))


@COMMANDS.route("POST", "/contracts/{contract_id}/role-requests/{account_id}/approval", CONTRACT)
async def approve_role_request(
    context: RequestContext[ApproveRoleRequest], contract_id: str
) -> Addressed[ApproveRoleRequest]:
    await visible(context.streams, contract_id, context.actor)
    organisation = await _organisation_of(context, context.asked.account_id)
    command = replace(context.asked, organisation_id=organisation, approver=context.actor.account_id)
    return Addressed(contract_id, command)


@COMMANDS.route("POST", "/contracts/{contract_id}/role-requests/{account_id}/decline", CONTRACT)
async def decline_role_request(
    context: RequestContext[DeclineRoleRequest], contract_id: str
) -> Addressed[DeclineRoleRequest]:
    await visible(context.streams, contract_id, context.actor)
    return Addressed(contract_id, replace(context.asked, decliner=context.actor.account_id))


@COMMANDS.route("POST", "/contracts/{contract_id}/coordinators/bulk", CONTRACT, bulk=True)
@COMMANDS.route("PUT", "/contracts/{contract_id}/coordinators/{account_id}", CONTRACT)
async def name_coordinator(context: RequestContext[NameCoordinator], contract_id: str) -> Addressed[NameCoordinator]:
    account_id = context.asked.account_id
    await visible(context.streams, contract_id, context.actor)
    await _involve(context, contract_id, account_id)
    organisation = await _organisation_of(context, account_id)
    command = replace(context.asked, organisation_id=organisation, named_by=context.actor.account_id)
    return Addressed(contract_id, command)


@COMMANDS.route("POST", "/contracts/{contract_id}/coordinators/revoke/bulk", CONTRACT, bulk=True)
@COMMANDS.route("DELETE", "/contracts/{contract_id}/coordinators/{account_id}", CONTRACT)
async def revoke_role(context: RequestContext[RevokeRole], contract_id: str) -> Addressed[RevokeRole]:
    await visible(context.streams, contract_id, context.actor)
    return Addressed(contract_id, replace(context.asked, revoker=context.actor.account_id))


@COMMANDS.route("POST", "/contracts/{contract_id}/handover", CONTRACT)
async def hand_over_contract(
    context: RequestContext[HandOverContract], contract_id: str
) -> Addressed[HandOverContract]:
    await visible(context.streams, contract_id, context.actor)
    await _involve(context, contract_id, context.asked.to)
    command = replace(
        context.asked,
        giver=context.actor.account_id,
        to_organisation=await _organisation_of(context, context.asked.to),
        by_operator=context.actor.organisation_kind == "operator",
    )
    return Addressed(contract_id, command)
