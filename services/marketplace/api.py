"""The routes of marketplace's commands.

They check who may send a command, and add the facts that the caller doesn't send. For queries see queries.py.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from services.marketplace import partners
from services.marketplace.domain import rules
from services.marketplace.domain.auto_renew import DisableAutoRenew
from services.marketplace.domain.cart import CART, LINES_AT_MOST, DiscardCart, OpenCart, RemoveFromCart
from services.marketplace.domain.cart_state import CheckedOut, Discarded, OpenedCart, Unopened, publisher_in
from services.marketplace.domain.checkout import CheckOut
from services.marketplace.domain.engagement import ENGAGEMENT, engagement_key
from services.marketplace.domain.order import AbandonOrder, Resubmit
from services.marketplace.domain.plan import PLAN, Listed, Withdrawn, listing_on, plan_key, publisher_of
from services.marketplace.domain.plan_choice import AddToCart
from services.marketplace.domain.policy import Policy, PublisherPolicies
from services.marketplace.domain.standing import STANDING
from services.marketplace.domain.subscription import SUBSCRIPTION, ChangeSeats, RequestRefund
from services.marketplace.partners import ordered_before, own_order, partner_only, party_to, released
from services.marketplace.projections import account, offers_for, publishers_of
from services.marketplace.publisher import COMMANDS as PUBLISHERS
from shared.eventlog.write.reader import Reader
from shared.events import PlanListed, PlanWithdrawn
from shared.events.fields import Count, Day, Identifier, Text, product_id
from shared.runtime.access import require_access
from shared.runtime.policies import policy_of
from shared.runtime.problems import Problem, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext

COMMANDS: Final = CommandRoutes(partners.COMMANDS, PUBLISHERS)

_CARTS = UUID("0e3f3f0a-8a55-5c6a-9d6e-53d3a1b6a7f1")
"""The namespace of cart ids, which are derived from the command id so that a repeated command names the same cart."""


# ── Carts ──────────────────────────────────────────────────────────────────────────────────────────────


@COMMANDS.route("POST", "/carts", CART, location="/carts/{cart_id}")
async def open_cart(context: RequestContext[OpenCart]) -> Addressed[OpenCart]:
    actor = context.actor
    partner_only(actor)
    cart_id = str(uuid5(_CARTS, context.command_id))
    return Addressed(cart_id, OpenCart(cart_id=cart_id, partner=actor.organisation_id, opened_by=actor.account_id))


async def _cart(context: RequestContext[object], cart_id: str) -> OpenedCart | CheckedOut | Discarded:
    """Return the partner's own cart. Raises Problem 404 if it is unknown or another partner's."""
    partner_only(context.actor)
    state = await context.state(CART, cart_id)
    if isinstance(state, Unopened) or state.opened.partner != context.actor.organisation_id:
        raise unknown("cart")
    return state


def policies_for(publishers: Iterable[str]) -> PublisherPolicies:
    """Return the policies of these publishers."""
    return PublisherPolicies({publisher: policy_of(Policy, publisher) for publisher in publishers})


async def latest_offers(
    streams: Reader, stored: str, publishers: Iterable[str], now: datetime
) -> list[PlanListed | PlanWithdrawn]:
    """Return each publisher's latest listing or withdrawal of the plan.

    Args:
        streams: The streams as the request sees them.
        stored: The plan's product ID, without hyphens.
        publishers: The publishers to consider.
        now: Listings have the price of this day (UTC).
    """
    offers: list[PlanListed | PlanWithdrawn] = []
    for publisher in publishers:
        match await streams.state(PLAN, plan_key(publisher, stored)):
            case Listed() as listed:
                offers.append(listing_on(now.astimezone(UTC).date(), listed))
            case Withdrawn(withdrawal):
                offers.append(withdrawal)
            case _:
                pass
    return offers


async def offered_now(streams: Reader, state: OpenedCart, now: datetime) -> tuple[PlanListed | PlanWithdrawn, ...]:
    """Return the latest listing or withdrawal of each plan in the cart, as `latest_offers` does."""
    offered: list[PlanListed | PlanWithdrawn] = []
    for added in state.lines.values():
        plan = added.line.plan
        offered += await latest_offers(streams, plan.product_id, [plan.publisher], now)
    return tuple(offered)


@COMMANDS.route("POST", "/carts/{cart_id}/lines", CART)
async def add_to_cart(context: RequestContext[AddToCart], cart_id: str) -> Addressed[AddToCart]:
    await _cart(context, cart_id)
    asked, offers = context.asked, list[PlanListed | PlanWithdrawn]()
    now = context.time_of(asked.customer) if asked.customer else context.now
    if asked.product_id:
        stored = product_id(asked.product_id)
        if stored is not None:
            offers = await latest_offers(context.streams, stored, await publishers_of(context.db, stored), now)
    else:
        chosen = asked.period or "", asked.support or "", asked.billing or ""
        for offer in await offers_for(context.db, asked.product, *chosen):
            offers += await latest_offers(context.streams, offer.plan.product_id, [offer.plan.publisher], now)
    command = replace(
        asked,
        offers=tuple(offers),
        standing=await context.state(STANDING, context.actor.organisation_id),
        policies=policies_for(publisher_of(offer) for offer in offers),
    )
    return Addressed(cart_id, command)


@COMMANDS.route("DELETE", "/carts/{cart_id}/lines/{line}", CART)
async def remove_from_cart(
    context: RequestContext[RemoveFromCart], cart_id: str, line: str
) -> Addressed[RemoveFromCart]:
    await _cart(context, cart_id)
    if not re.fullmatch(r"[0-9]{1,6}", line, re.ASCII):
        raise unknown("line", "Lines are numbered from 1; see GET /carts/{cart_id}.")
    return Addressed(cart_id, RemoveFromCart(line=int(line)))


@COMMANDS.route("POST", "/carts/{cart_id}/checkout", CART)
async def check_out(context: RequestContext[CheckOut], cart_id: str) -> Addressed[CheckOut]:
    state = await _cart(context, cart_id)
    customer, partner = context.asked.customer, context.actor.organisation_id
    now = context.time_of(customer)
    offered = await offered_now(context.streams, state, now) if isinstance(state, OpenedCart) else ()
    command = replace(
        context.asked,
        ordered_by=context.actor.account_id,
        now=now,
        subscription_ids=tuple(context.new_id() for _ in range(LINES_AT_MOST)),
        purchaser_account=await account(context.db, context.asked.purchaser),
        engagement=await context.state(ENGAGEMENT, engagement_key(customer, partner)),
        ordered_before=await ordered_before(context.db, customer, partner),
        offered=offered,
        standing=await context.state(STANDING, context.actor.organisation_id),
        policy=policy_of(Policy, None if isinstance(state, Discarded) else publisher_in(state)),
    )
    return Addressed(cart_id, command)


@COMMANDS.route("DELETE", "/carts/{cart_id}", CART)
async def discard_cart(context: RequestContext[DiscardCart], cart_id: str) -> Addressed[DiscardCart]:
    await _cart(context, cart_id)
    return Addressed(cart_id, DiscardCart(discarded_by=context.actor.account_id))


# ── Subscriptions ──────────────────────────────────────────────────────────────────────────────────────


class WhichSubscription(BaseModel):
    """The body that names one subscription of a bulk command."""

    model_config = ConfigDict(extra="forbid", strict=True)

    subscription_id: Identifier


@COMMANDS.route("POST", "/subscriptions/{subscription_id}/disable-auto-renew", SUBSCRIPTION)
async def disable_auto_renew(
    context: RequestContext[DisableAutoRenew], subscription_id: str
) -> Addressed[DisableAutoRenew]:
    return await _disable_auto_renew(context, subscription_id)


@COMMANDS.route("POST", "/subscriptions/disable-auto-renew/bulk", SUBSCRIPTION, bulk=True)
async def disable_auto_renew_of_many(context: RequestContext[WhichSubscription]) -> Addressed[DisableAutoRenew]:
    return await _disable_auto_renew(context, context.asked.subscription_id)


async def _disable_auto_renew(context: RequestContext[object], subscription_id: str) -> Addressed[DisableAutoRenew]:
    fact = await party_to(context, subscription_id)
    by_partner = context.actor.organisation_id == fact.partner
    if not by_partner:
        grant = await require_access(context.db, context.actor, fact.contract_id, purpose="auto-renew")
        if grant.role != "contract_manager":
            raise Problem(
                rule=rules.CONTRACT_MANAGER_ONLY,
                reason="Auto-renew is turned off by the contract's Contract Manager, or by the partner that ordered.",
                remedy="Ask the Contract Manager.",
                because=grant.because,
            )
    command = DisableAutoRenew(
        requested_by=context.actor.account_id,
        now=context.time_of(fact.customer),
        policy=policy_of(Policy, fact.plan.publisher),
        released=await released(context, fact.customer, fact.partner) if by_partner else None,
    )
    return Addressed(subscription_id, command)


@COMMANDS.route("PUT", "/subscriptions/{subscription_id}/seats", SUBSCRIPTION)
async def change_seats(context: RequestContext[ChangeSeats], subscription_id: str) -> Addressed[ChangeSeats]:
    fact = await own_order(context, subscription_id)
    command = replace(
        context.asked,
        changed_by=context.actor.account_id,
        now=context.time_of(fact.customer),
        standing=await context.state(STANDING, context.actor.organisation_id),
        released=await released(context, fact.customer, fact.partner),
        policy=policy_of(Policy, fact.plan.publisher),
    )
    return Addressed(subscription_id, command)


@COMMANDS.route("POST", "/subscriptions/{subscription_id}/refund", SUBSCRIPTION)
async def request_refund(context: RequestContext[RequestRefund], subscription_id: str) -> Addressed[RequestRefund]:
    await party_to(context, subscription_id)
    return Addressed(subscription_id, context.asked)


@COMMANDS.route("POST", "/subscriptions/{subscription_id}/resubmit", SUBSCRIPTION)
async def resubmit(context: RequestContext[Resubmit], subscription_id: str) -> Addressed[Resubmit]:
    asked = context.asked
    return await _resubmit(context, subscription_id, starts=asked.starts, seats=asked.seats)


class OrderAgain(WhichSubscription):
    """An order that is sent again, unchanged or with another start or number of seats."""

    starts: Day | None = None
    seats: Count | None = None


@COMMANDS.route("POST", "/subscriptions/resubmit/bulk", SUBSCRIPTION, bulk=True)
async def resubmit_many(context: RequestContext[OrderAgain]) -> Addressed[Resubmit]:
    asked = context.asked
    return await _resubmit(context, asked.subscription_id, starts=asked.starts, seats=asked.seats)


async def _resubmit(
    context: RequestContext[object], subscription_id: str, *, starts: date | None, seats: int | None
) -> Addressed[Resubmit]:
    fact = await own_order(context, subscription_id)
    command = Resubmit(
        ordered_by=context.actor.account_id,
        now=context.time_of(fact.customer),
        starts=starts,
        seats=seats,
        standing=await context.state(STANDING, context.actor.organisation_id),
        released=await released(context, fact.customer, fact.partner),
        policy=policy_of(Policy, fact.plan.publisher),
    )
    return Addressed(subscription_id, command)


@COMMANDS.route("POST", "/subscriptions/{subscription_id}/abandon", SUBSCRIPTION)
async def abandon_order(context: RequestContext[AbandonOrder], subscription_id: str) -> Addressed[AbandonOrder]:
    return await _abandon(context, subscription_id, context.asked.reason)


class OrderGivenUp(WhichSubscription):
    """A declined order that is given up, and why."""

    reason: Text = ""


@COMMANDS.route("POST", "/subscriptions/abandon/bulk", SUBSCRIPTION, bulk=True)
async def abandon_many(context: RequestContext[OrderGivenUp]) -> Addressed[AbandonOrder]:
    return await _abandon(context, context.asked.subscription_id, context.asked.reason)


async def _abandon(context: RequestContext[object], subscription_id: str, reason: str) -> Addressed[AbandonOrder]:
    await own_order(context, subscription_id)
    return Addressed(subscription_id, AbandonOrder(abandoned_by=context.actor.account_id, reason=reason))
