"""identity's doors and queries."""

import hashlib
import secrets
import uuid
from datetime import timedelta
from functools import partial
from typing import Any, Final, Literal, cast

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, model_validator

from services.identity import credentials, elsewhere, sessions
from services.identity.addresses import ADDRESS_DOORS, ADDRESS_QUERIES, proven_by, release
from services.identity.domain import clock as clocks
from services.identity.domain import contract_state, rules
from services.identity.domain.account import (
    ACCOUNT,
    CloseAccount,
    Open,
    OpenAccount,
    Unopened,
    UpdateProfile,
    claim_of,
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
from services.identity.elsewhere import IdToken, NonceText, for_sign_up
from services.identity.everywhere import Everywhere
from services.identity.invitations import INVITATION_DOORS, INVITATION_QUERIES, joining
from services.identity.machines import MACHINE_DOORS, MACHINE_QUERIES
from services.identity.oauth import OAUTH
from services.identity.passwords import require_uncommon
from services.identity.persons import holder_of
from services.identity.projections import contracts_of, involve
from services.identity.sessions import start
from services.identity.views import (
    AccessView,
    AccountView,
    ClockMovedView,
    ClockView,
    ContractList,
    ContractSummary,
    ContractView,
    SignedUp,
    access_view,
    contract_view,
)
from shared.eventlog.log import Accepted, Log
from shared.events import AccountOpened
from shared.events.fields import Address, Country, Identifier, Locale, Name, Password, TimeZone, Token
from shared.runtime.auth import Actor
from shared.runtime.doors import Call, Completion, Doors, Target
from shared.runtime.http import After, CurrentActor, CurrentLog, Database, Limit
from shared.runtime.problems import Problem, unknown
from shared.runtime.visibility import listed, sees
from shared.sql import statements

SQL: Final = statements(__file__)

DOORS: Final = Doors()
QUERIES: Final = APIRouter()
_COUNTED_UNDER: Final = secrets.token_bytes(16)

QUERIES.routes.extend(sessions.ROUTES.routes)
DOORS.doors.extend(sessions.DOORS.doors)
QUERIES.routes.extend(MACHINE_QUERIES.routes)
DOORS.doors.extend(MACHINE_DOORS.doors)
QUERIES.routes.extend(OAUTH.routes)
QUERIES.routes.extend(INVITATION_QUERIES.routes)
QUERIES.routes.extend(ADDRESS_QUERIES.routes)
QUERIES.routes.extend(elsewhere.ROUTES.routes)
DOORS.doors.extend(elsewhere.DOORS.doors)
DOORS.doors.extend(INVITATION_DOORS.doors)
DOORS.doors.extend(ADDRESS_DOORS.doors)

# ── Accounts ───────────────────────────────────────────────────────────────────────────────────────────


class NewOrganisation(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    kind: Literal["customer", "partner"]
    sandbox: bool = False
    """For trying things out: its time can be moved forward."""


class SignUp(BaseModel):
    """Open an account, in a new organisation or in the one that sent the invitation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    email: Address
    password: Password
    name: Name
    country: Country
    time_zone: TimeZone = "UTC"
    locale: Locale = "en"
    organisation: NewOrganisation | None = None
    invitation: Token | None = None
    proof: Token | None = None
    """A proof of the address that was mailed to it (POST /addresses/proof). It needs none while nobody else has it."""

    id_token: IdToken | None = None
    """Of the configured issuer, to sign in by it from now on. It proves the address, if the issuer has verified it."""
    nonce: NonceText | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "SignUp":
        if (self.organisation is None) == (self.invitation is None):
            raise ValueError("give either an organisation to open or an invitation to join one")
        if (self.id_token is None) != (self.nonce is None):
            raise ValueError("an ID token goes with the nonce that it repeats")
        return self


async def _organisation(call: Call, form: SignUp, account_id: str) -> dict[str, Any]:
    """The new organisation, or the one that the invitation is for and whether it lets this person in."""
    if form.organisation is not None:
        return {
            "organisation_id": organisation_of(account_id),
            "organisation_name": form.organisation.name,
            "organisation_kind": form.organisation.kind,
            "sandbox": form.organisation.sandbox,
        }
    invited = await joining(call, form.invitation or "", form.email)
    proof = "invitation" if invited.proves_address and invited.refused is None else None
    return {**invited.organisation, "not_invited": invited.refused, "proof": proof}


async def _proven(call: Call, form: SignUp) -> dict[str, Any]:
    """What the sign-up has to prove the address with besides an invitation, and who the person is at another issuer."""
    found: dict[str, Any] = {}
    if form.id_token is not None:
        found |= await for_sign_up(call, form.id_token, form.nonce or "", form.email)
    if form.proof is not None:
        proven_by(call, form.proof, form.email)
        found |= {"proof": "link"}
    return found


def address_key(email: str) -> str:
    """What the sign-ups of an e-mail address are counted under: not the address."""
    return hashlib.blake2b(claim_of(email).encode(), key=_COUNTED_UNDER, digest_size=16).hexdigest()


async def _sign_up(call: Call) -> Target:
    """The account's id follows from the command's, so that a request sent again opens the same account."""
    form: SignUp = call.body
    if not call.dry_run:
        call.app_state.parts.limits.take("sign-up-address", address_key(form.email))
    account_id = str(uuid.uuid5(uuid.NAMESPACE_OID, call.command_id))
    organisation = await _organisation(call, form, account_id)
    about = (form.email, form.name, organisation["organisation_name"])
    await require_uncommon(form.password.get_secret_value(), *about)
    proven = await _proven(call, form)
    if (proven or organisation).get("proof") is not None and organisation.get("not_invited") is None:
        await release(call, form.email)
    holder = await holder_of(call.log.store, form.email)
    account = await call.log.state(ACCOUNT, account_id)
    target = Target(
        account_id,
        account_id=account_id,
        **{**organisation, **proven},
        email=form.email,
        name=form.name,
        country=form.country,
        time_zone=form.time_zone,
        locale=form.locale,
        now=call.now,
    )
    free = isinstance(account, Unopened) and holder is None and organisation.get("not_invited") is None
    # A try that broke off may have left another password: who only repeats its key gets no session. Nor does repeating
    # one set a password of an account that is open, whose own may be lost.
    if not call.dry_run and free and await credentials.keep(call.db, account_id, form.password.get_secret_value()):
        target.besides = lambda answer: _signed_up(answer, call)
    return target


async def _signed_up(answer: Accepted, call: Call) -> dict[str, Any]:
    opened = next(each for each in answer.events if isinstance(each.event, AccountOpened))
    session = await start(cast("AccountOpened", opened.event), call.app_state, since=opened.position)
    return {} if session is None else {"session": session.model_dump()}


async def _own_profile(call: Call) -> Target:
    return Target(call.actor.account_id)


async def _closing(call: Call, account_id: str) -> Target:
    states = [await call.log.state(CONTRACT, known) for known in await contracts_of(call.db, account_id)]
    managers = [
        state.manager for state in states if isinstance(state, contract_state.Open) and state.manager is not None
    ]
    manages = tuple(role for role in managers if role.account_id == account_id)
    return Target(account_id, closed_by=call.actor.account_id, manages=manages)


async def _close_own(call: Call) -> Target:
    return await _closing(call, call.actor.account_id)


async def _close_other(call: Call) -> Target:
    if call.actor.organisation_kind != "operator":
        raise Problem(
            403,
            rule=rules.OPERATOR_ONLY,
            reason="Only the operator closes somebody else's account.",
            remedy="Ask the person to close it (DELETE /me), or the operator.",
        )
    return await _closing(call, call.path["account_id"])


DOORS.open_post("/accounts", ACCOUNT, OpenAccount, supply=_sign_up, form=SignUp, besides=SignedUp)
DOORS.put("/me/profile", ACCOUNT, UpdateProfile, supply=_own_profile)
DOORS.delete("/me", ACCOUNT, CloseAccount, supply=_close_own)
DOORS.delete("/accounts/{account_id}", ACCOUNT, CloseAccount, supply=_close_other)


@QUERIES.get("/me")
async def me(actor: CurrentActor, log: CurrentLog) -> AccountView:
    """The caller's own account, whole."""
    account = await log.state(ACCOUNT, actor.account_id)
    if not isinstance(account, Open):
        raise unknown("account")
    opened, profile = account.opened, account.profile
    return AccountView(
        account_id=opened.account_id,
        organisation_id=opened.organisation_id,
        organisation_name=opened.organisation_name,
        organisation_kind=opened.organisation_kind,
        name=profile.name,
        email=profile.email,
        email_verified=account.verified,
        country=profile.country,
        time_zone=profile.time_zone,
        locale=profile.locale,
        sandbox=opened.sandbox,
    )


@QUERIES.get("/accounts/{account_id}")
async def colleague(account_id: Identifier, actor: CurrentActor, log: CurrentLog) -> AccountView:
    """A colleague: name and organisation, for people of the same organisation only."""
    account = await log.state(ACCOUNT, account_id)
    if not isinstance(account, Open) or account.opened.organisation_id != actor.organisation_id:
        raise unknown("account")
    opened = account.opened
    return AccountView(
        account_id=opened.account_id,
        organisation_id=opened.organisation_id,
        organisation_name=opened.organisation_name,
        organisation_kind=opened.organisation_kind,
        name=account.profile.name,
        sandbox=opened.sandbox,
    )


# ── The organisation's time ────────────────────────────────────────────────────────────────────────────


async def _move_clock(call: Call) -> Target:
    account = await call.log.state(ACCOUNT, call.actor.account_id)
    organisation = call.actor.organisation_id
    target = Target(
        organisation,
        organisation_id=organisation,
        sandbox=isinstance(account, Open) and account.opened.sandbox,
        now=call.clocks.real(),
        moved_by=call.actor.account_id,
    )
    target.completion = partial(_moved_everywhere, call)
    return target


async def _moved_everywhere(call: Call, authorization: str) -> Completion:
    """Waits until every service decides by the organisation's time."""
    everywhere: Everywhere = call.app_state.everywhere
    organisation = call.actor.organisation_id
    ahead = clocks.ahead_s(await call.log.state(CLOCK, organisation))
    lacking = await everywhere.lacking(organisation, ahead, authorization, call.clocks, call.db)
    return Completion(not lacking, ClockMovedView(everywhere=not lacking, waiting_for=lacking).model_dump())


DOORS.post("/clock", CLOCK, MoveClock, supply=_move_clock, besides=ClockMovedView, completes=True)


@QUERIES.get("/me/clock")
async def clock(actor: CurrentActor, request: Request, log: CurrentLog) -> ClockView:
    """The time of the caller's organisation, and how far it is ahead of real time."""
    account = await log.state(ACCOUNT, actor.account_id)
    ahead = clocks.ahead_s(await log.state(CLOCK, actor.organisation_id))
    return ClockView(
        organisation_id=actor.organisation_id,
        sandbox=isinstance(account, Open) and account.opened.sandbox,
        ahead_s=ahead,
        now=request.app.state.parts.clocks.real() + timedelta(seconds=ahead),
    )


# ── Contracts ──────────────────────────────────────────────────────────────────────────────────────────


async def visible(log: Log, contract_id: str, actor: Actor) -> contract_state.Open:
    """The contract, for people of its customer, its publisher and the operator. Raises Problem 404 for others."""
    state = await log.state(CONTRACT, contract_id)
    if not isinstance(state, contract_state.Open) or not sees(
        actor, customer=state.opened.customer, publisher=state.opened.publisher
    ):
        raise unknown("contract")
    return state


async def _request_role(call: Call) -> Target:
    contract_id, account_id = call.path["contract_id"], call.actor.account_id
    await visible(call.log, contract_id, call.actor)
    await _involve(call, account_id)
    organisation = await _organisation_of(call.log, account_id)
    return Target(contract_id, account_id=account_id, organisation_id=organisation)


async def _organisation_of(log: Log, account_id: str) -> str:
    """Where the account belongs; "" for one that is unknown or closed."""
    account = await log.state(ACCOUNT, account_id)
    return account.opened.organisation_id if isinstance(account, Open) else ""


async def _involve(call: Call, account_id: str) -> None:
    """Before it is asked whether the account is open: so a role given while it closes is found, here or there."""
    if not call.dry_run:
        await involve(call.db, account_id, call.path["contract_id"])


def _by(field: str) -> Any:
    """A door for somebody who acts on the contract in the path; `field` says as what."""

    async def supply(call: Call) -> Target:
        await visible(call.log, call.path["contract_id"], call.actor)
        return Target(call.path["contract_id"], **{field: call.actor.account_id})

    return supply


async def _approve(call: Call) -> Target:
    contract_id, account_id = call.path["contract_id"], call.path["account_id"]
    await visible(call.log, contract_id, call.actor)
    organisation = await _organisation_of(call.log, account_id)
    return Target(contract_id, organisation_id=organisation, approver=call.actor.account_id)


async def _name_coordinator(call: Call) -> Target:
    contract_id, account_id = call.path["contract_id"], call.path.get("account_id") or call.body.account_id
    await visible(call.log, contract_id, call.actor)
    await _involve(call, account_id)
    organisation = await _organisation_of(call.log, account_id)
    return Target(contract_id, organisation_id=organisation, named_by=call.actor.account_id)


async def _hand_over(call: Call) -> Target:
    await visible(call.log, call.path["contract_id"], call.actor)
    await _involve(call, call.body.to)
    organisation = await _organisation_of(call.log, call.body.to)
    operator = call.actor.organisation_kind == "operator"
    return Target(
        call.path["contract_id"], giver=call.actor.account_id, to_organisation=organisation, by_operator=operator
    )


_REQUEST: Final = "/contracts/{contract_id}/role-requests"
_COORDINATOR: Final = "/contracts/{contract_id}/coordinators/{account_id}"
DOORS.post(_REQUEST, CONTRACT, RequestRole, supply=_request_role)
DOORS.post(f"{_REQUEST}/{{account_id}}/approval", CONTRACT, ApproveRoleRequest, supply=_approve)
DOORS.post(f"{_REQUEST}/{{account_id}}/decline", CONTRACT, DeclineRoleRequest, supply=_by("decliner"))
DOORS.put(_COORDINATOR, CONTRACT, NameCoordinator, supply=_name_coordinator)
DOORS.delete(_COORDINATOR, CONTRACT, RevokeRole, supply=_by("revoker"))
DOORS.bulk("/contracts/{contract_id}/coordinators/bulk", CONTRACT, NameCoordinator, supply=_name_coordinator)
DOORS.bulk("/contracts/{contract_id}/coordinators/revoke/bulk", CONTRACT, RevokeRole, supply=_by("revoker"))
DOORS.post("/contracts/{contract_id}/handover", CONTRACT, HandOverContract, supply=_hand_over)


@QUERIES.get("/contracts")
async def list_contracts(actor: CurrentActor, db: Database, limit: Limit = 50, after: After = "") -> ContractList:
    """The contracts of the caller's organisation; of a publisher's people, those with that publisher."""
    customer, publisher = listed(actor)
    rows = await db.fetch(SQL["contracts"], customer, publisher, after, limit)
    following = rows[-1]["contract_id"] if len(rows) == limit else None
    return ContractList(items=[ContractSummary(**dict(row)) for row in rows], next=following)


@QUERIES.get("/contracts/{contract_id}")
async def one_contract(contract_id: Identifier, actor: CurrentActor, log: CurrentLog) -> ContractView:
    """Who holds which role, who asks for one, which agreements run, and what is open to the caller."""
    return contract_view(await visible(log, contract_id, actor), actor.account_id)


@QUERIES.get("/contracts/{contract_id}/access")
async def my_access(contract_id: Identifier, actor: CurrentActor, log: CurrentLog) -> AccessView:
    """Whether administrative features are open to the caller, and what is missing if not."""
    return access_view(await visible(log, contract_id, actor), actor.account_id)
