"""identity's queries: accounts, clocks and contracts, and those of `signin/`."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request

from services.identity.domain import clock as clocks
from services.identity.domain import contract_state
from services.identity.domain.account import (
    ACCOUNT,
    OpenedAccount,
)
from services.identity.domain.clock import CLOCK
from services.identity.domain.contract import (
    CONTRACT,
)
from services.identity.lists import LISTS
from services.identity.names import ROUTES as NAMES
from services.identity.names import known_by_name
from services.identity.notifications import routes as notifications
from services.identity.persons import colleague_at
from services.identity.projections import supports
from services.identity.signin import elsewhere, sessions
from services.identity.signin.addresses import ADDRESS_QUERIES
from services.identity.signin.invitations import INVITATION_QUERIES
from services.identity.signin.machines import MACHINE_QUERIES
from services.identity.signin.oauth import OAUTH
from services.identity.views import (
    AccessView,
    AccountAtAddress,
    AccountsByAddress,
    AccountView,
    AddressesAsked,
    ClockView,
    ContractSummary,
    ContractView,
    access_view,
    contract_view,
)
from services.identity.webhooks.routes import WEBHOOK_QUERIES
from shared.eventlog.write.log import Log
from shared.eventlog.write.reader import Reader
from shared.events.fields import Address, Identifier, OptionalCode
from shared.runtime.as_of import AsOf, Past, nothing_then
from shared.runtime.auth import Actor
from shared.runtime.exports import ListRoute
from shared.runtime.histories import History, HistoryPage, history_of
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.lists import By, Listing, ListOf, Page, Search, searched
from shared.runtime.people import person_of_list
from shared.runtime.problems import unknown
from shared.runtime.versions import shown_by_log
from shared.runtime.visibility import listed, sees
from shared.sql import statements

SQL: Final = statements(__file__)

QUERIES: Final = APIRouter(route_class=ListRoute)

QUERIES.routes.extend(sessions.ROUTES.routes)
QUERIES.routes.extend(MACHINE_QUERIES.routes)
QUERIES.routes.extend(WEBHOOK_QUERIES.routes)
QUERIES.routes.extend(OAUTH.routes)
QUERIES.routes.extend(INVITATION_QUERIES.routes)
QUERIES.routes.extend(ADDRESS_QUERIES.routes)
QUERIES.routes.extend(elsewhere.ROUTES.routes)
QUERIES.routes.extend(LISTS.routes)
QUERIES.routes.extend(notifications.ROUTES.routes)
QUERIES.routes.extend(NAMES.routes)


@QUERIES.get("/me", dependencies=[shown_by_log(ACCOUNT, "{me}")])
async def me(actor: CurrentActor, log: CurrentLog) -> AccountView:
    """Return the caller's own account, with its personal fields."""
    account = await log.state(ACCOUNT, actor.account_id)
    if not isinstance(account, OpenedAccount):
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


@QUERIES.get("/accounts/{account_id}", dependencies=[shown_by_log(ACCOUNT, "{account_id}")])
async def colleague(account_id: Identifier, actor: CurrentActor, db: Database, log: CurrentLog) -> AccountView:
    """Return the name of a colleague, or of an account that `POST /accounts/names` names."""
    account = await log.state(ACCOUNT, account_id)
    if not isinstance(account, OpenedAccount):
        raise unknown("account")
    opened = account.opened
    everybody = actor.organisation_kind == "operator"
    known = everybody or opened.organisation_id == actor.organisation_id
    if not known and not await known_by_name(db, actor, [account_id]):
        raise unknown("account")
    return AccountView(
        account_id=opened.account_id,
        organisation_id=opened.organisation_id,
        organisation_name=opened.organisation_name,
        organisation_kind=opened.organisation_kind,
        name=account.profile.name,
        sandbox=opened.sandbox,
    )


@QUERIES.post("/accounts/by-address")
async def accounts_by_address(
    form: AddressesAsked, actor: CurrentActor, db: Database, log: CurrentLog
) -> AccountsByAddress:
    """Return the accounts of the caller's organisation that have these e-mail addresses.

    Other services ask this where a request names people by address, so that they keep no addresses. A partner asks it
    for a purchaser of a customer that has engaged it; for any other organisation the answer is that there is none. The
    operator finds everybody.
    """
    everybody = actor.organisation_kind == "operator"
    wanted = form.organisation_id or ("" if everybody else actor.organisation_id)
    own = everybody or wanted == actor.organisation_id
    if not own and not await supports(db, actor.organisation_id, wanted):
        return AccountsByAddress(items=[AccountAtAddress(account_id=None) for _ in form.items])
    accounts = await asyncio.gather(*(colleague_at(log, item.email, wanted) for item in form.items))
    found = [None if account is None else account.opened.account_id for account in accounts]
    return AccountsByAddress(items=[AccountAtAddress(account_id=account_id) for account_id in found])


@QUERIES.get("/me/clock")
async def own_clock(actor: CurrentActor, request: Request, log: CurrentLog) -> ClockView:
    """Return the time of the caller's organisation, and how far it is ahead of real time."""
    account = await log.state(ACCOUNT, actor.account_id)
    ahead = clocks.ahead_s(await log.state(CLOCK, actor.organisation_id))
    return ClockView(
        organisation_id=actor.organisation_id,
        sandbox=isinstance(account, OpenedAccount) and account.opened.sandbox,
        ahead_s=ahead,
        now=request.app.state.parts.clocks.real() + timedelta(seconds=ahead),
    )


async def visible(streams: Log | Reader, contract_id: str, actor: Actor) -> contract_state.OpenedContract:
    """Return the contract's state.

    Raises:
        Problem: 404 unless the caller belongs to its customer, its publisher or the operator.
    """
    state = await streams.state(CONTRACT, contract_id)
    if not isinstance(state, contract_state.OpenedContract) or not sees(
        actor, customer=state.opened.customer, publisher=state.opened.publisher
    ):
        raise unknown("contract")
    return state


CONTRACTS: Final = Listing(
    SQL["contracts"],
    key="contract_id",
    sorts={"contract_id": By(), "customer": By(), "publisher": By(), "programme": By(), "manager": By()},
    order="contract_id",
)


@QUERIES.get("/contracts")
async def list_contracts(
    actor: CurrentActor,
    db: Database,
    request: Request,
    page: Annotated[Page, Depends(CONTRACTS.page)],
    programme: OptionalCode = "",
    manager: Identifier | None = None,
    manager_email: Address | None = None,
    q: Search = "",
) -> ListOf[ContractSummary]:
    """List the contracts of the caller's organisation.

    For people of a publisher, list the contracts with the publisher; for the operator, all.
    """
    person = await person_of_list(request, manager, manager_email, of="manager")
    return await CONTRACTS.show(db, page, ContractSummary, *listed(actor), programme or None, person, searched(q))


@QUERIES.get("/contracts/{contract_id}", dependencies=[shown_by_log(CONTRACT, "{contract_id}")])
async def one_contract(contract_id: Identifier, actor: CurrentActor, log: CurrentLog, as_of: AsOf) -> ContractView:
    """Return a contract with its roles, role requests, agreements and the caller's access."""
    present = await visible(log, contract_id, actor)
    if as_of is None:
        return contract_view(present, actor.account_id)
    then = partial(_contract_then, account_id=actor.account_id)
    return await as_of.show(CONTRACT, contract_id, present.opened.customer, then)


def _contract_then(past: Past[contract_state.State, contract_state.Event], account_id: str) -> ContractView:
    state = past.state()
    if not isinstance(state, contract_state.OpenedContract):
        raise nothing_then(past.at)
    return contract_view(state, account_id)


@QUERIES.get("/contracts/{contract_id}/history")
async def contract_history(contract_id: Identifier, actor: CurrentActor, log: CurrentLog, page: HistoryPage) -> History:
    """List what happened to a contract's roles and agreements: who did what, when and why."""
    await visible(log, contract_id, actor)
    return await history_of(log, CONTRACT, contract_id, page)


@QUERIES.get("/contracts/{contract_id}/access", dependencies=[shown_by_log(CONTRACT, "{contract_id}")])
async def my_access(contract_id: Identifier, actor: CurrentActor, log: CurrentLog) -> AccessView:
    """Return whether the caller has administrative access, and what is missing if not."""
    return access_view(await visible(log, contract_id, actor), actor.account_id)
