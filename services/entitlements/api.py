"""The routes of entitlements' commands.

Seats are assigned by those with the right to (`shared.runtime.access`). For queries see queries.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from pydantic import ConfigDict

from services.entitlements.domain import rules
from services.entitlements.domain.credits import CREDITS, ConsumeCredits, GrantCredits
from services.entitlements.domain.policy import Policy
from services.entitlements.domain.seat_pool import SEAT_POOL, AssignSeat, TransferSeat, UnassignSeat
from services.entitlements.domain.users import NOBODY
from services.entitlements.lists import visible_contract
from services.entitlements.lookups import PostgresLookups, last_steps, pools_for
from shared.events.fields import Address, Identifier
from shared.runtime.access import require_access
from shared.runtime.people import NamesPeople
from shared.runtime.policies import policy_of
from shared.runtime.problems import Problem, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.visibility import SELLERS, sees
from shared.sql import statements

SQL: Final = statements(__file__)

COMMANDS: Final = CommandRoutes()


# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────


class SeatUser(NamesPeople):
    """The user of a seat: either `account_id` or `email`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    PEOPLE: ClassVar[Mapping[str, str]] = {"email": "account_id"}

    account_id: Identifier | None = None
    email: Address | None = None


class SeatTransfer(NamesPeople):
    """The holder of a seat and the user who gets it, each by account id or by e-mail address."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 2, "maxProperties": 2})

    PEOPLE: ClassVar[Mapping[str, str]] = {"email": "account_id", "to_email": "to_account_id"}

    account_id: Identifier | None = None
    to_account_id: Identifier | None = None
    email: Address | None = None
    to_email: Address | None = None


async def _administered(context: RequestContext[object], subscription_id: str) -> None:
    """Raise Problem 404 or 403 unless the caller may assign the pool's seats."""
    row = await context.db.fetchrow(SQL["administered_pool"], subscription_id)
    if row is None or not sees(context.actor, customer=row["customer"], publisher=row["publisher"]):
        raise unknown("pool of seats")
    await require_access(context.db, context.actor, row["contract_id"], purpose="seats")


@COMMANDS.route("POST", "/pools/{subscription_id}/seats/bulk", SEAT_POOL, bulk=True)
@COMMANDS.route("POST", "/pools/{subscription_id}/seats", SEAT_POOL)
async def assign_seat(context: RequestContext[SeatUser], subscription_id: str) -> Addressed[AssignSeat]:
    await _administered(context, subscription_id)
    account_id = context.asked.account_id or NOBODY
    user = await PostgresLookups(context.db).account(account_id)
    return Addressed(subscription_id, AssignSeat(account_id, context.actor.account_id, user))


@COMMANDS.route("DELETE", "/pools/{subscription_id}/seats/{account_id}", SEAT_POOL)
async def unassign_seat(context: RequestContext[UnassignSeat], subscription_id: str) -> Addressed[UnassignSeat]:
    await _administered(context, subscription_id)
    return Addressed(subscription_id, replace(context.asked, unassigned_by=context.actor.account_id))


@COMMANDS.route("POST", "/pools/{subscription_id}/seats/unassign/bulk", SEAT_POOL, bulk=True)
async def unassign_seats(context: RequestContext[SeatUser], subscription_id: str) -> Addressed[UnassignSeat]:
    await _administered(context, subscription_id)
    command = UnassignSeat(context.asked.account_id or NOBODY, context.actor.account_id)
    return Addressed(subscription_id, command)


@COMMANDS.route("POST", "/pools/{subscription_id}/seats/transfer/bulk", SEAT_POOL, bulk=True)
@COMMANDS.route("POST", "/pools/{subscription_id}/seats/transfer", SEAT_POOL)
async def transfer_seat(context: RequestContext[SeatTransfer], subscription_id: str) -> Addressed[TransferSeat]:
    await _administered(context, subscription_id)
    to_account_id = context.asked.to_account_id or NOBODY
    command = TransferSeat(
        account_id=context.asked.account_id or NOBODY,
        to_account_id=to_account_id,
        transferred_by=context.actor.account_id,
        to=await PostgresLookups(context.db).account(to_account_id),
    )
    return Addressed(subscription_id, command)


# ── Cloud credits ──────────────────────────────────────────────────────────────────────────────────────


@COMMANDS.route("POST", "/contracts/{contract_id}/credits/grants/bulk", CREDITS, bulk=True)
@COMMANDS.route("POST", "/contracts/{contract_id}/credits/grants", CREDITS)
async def grant_credits(context: RequestContext[GrantCredits]) -> Addressed[GrantCredits]:
    asked = context.asked
    contract = await visible_contract(context.db, context.actor, asked.contract_id)
    if context.actor.organisation_kind not in SELLERS:
        raise Problem(
            rule=rules.NOT_A_PUBLISHER,
            reason="Only the publisher or the operator grants credits.",
            remedy="Ask the publisher.",
        )
    command = replace(
        asked,
        customer=contract.customer,
        granted_by=context.actor.account_id,
        now=context.time_of(contract.customer),
        policy=policy_of(Policy, contract.publisher),
        user=None if asked.account_id is None else await PostgresLookups(context.db).account(asked.account_id),
        over=await last_steps(PostgresLookups(context.db), context.log, asked.contract_id),
    )
    return Addressed(asked.contract_id, command)


@COMMANDS.route("POST", "/contracts/{contract_id}/credits/consumptions", CREDITS, scopes=("credits:consume",))
async def consume_credits(context: RequestContext[ConsumeCredits]) -> Addressed[ConsumeCredits]:
    asked, actor = context.asked, context.actor
    contract = await visible_contract(context.db, context.actor, asked.contract_id)
    account_id, now = asked.account_id or actor.account_id, context.time_of(contract.customer)
    if actor.organisation_kind not in SELLERS and account_id != actor.account_id:
        raise Problem(
            rule=rules.CREDITS_OF_ANOTHER,
            reason="Only the publisher or the operator spends credits for another user.",
            remedy="Leave account_id out to spend credits for yourself.",
        )
    pools = await pools_for(PostgresLookups(context.db), context.log, asked.contract_id, account_id, now)
    return Addressed(asked.contract_id, replace(asked, account_id=account_id, now=now, pools=pools))
