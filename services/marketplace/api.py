"""The doors of marketplace's commands: who may pass, and what a command's author can't say. Queries: queries.py."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from services.marketplace.domain import rules
from services.marketplace.domain.auto_renew import DisableAutoRenew
from services.marketplace.domain.cart import (
    CART,
    LINES_AT_MOST,
    AddToCart,
    CheckedOut,
    CheckOut,
    Open,
    OpenCart,
    RemoveFromCart,
)
from services.marketplace.domain.order import Resubmit, Unordered
from services.marketplace.domain.plan import PLAN, Listed, Withdrawn, listing_on, plan_key
from services.marketplace.domain.standing import STANDING
from services.marketplace.domain.subscription import SUBSCRIPTION, ChangeSeats, Ordered, RequestRefund, fact_of
from services.marketplace.policies import policy_of
from services.marketplace.projections import account, offers_for, publishers_of
from shared.events import PlanListed, PlanWithdrawn, SubscriptionConfirmed, SubscriptionOrdered
from shared.events.fields import Identifier, product_id
from shared.runtime.access import require_access
from shared.runtime.auth import Actor
from shared.runtime.doors import Call, Doors, Target
from shared.runtime.problems import Problem, unknown

DOORS = Doors()

_CARTS = UUID("0e3f3f0a-8a55-5c6a-9d6e-53d3a1b6a7f1")
"""The namespace of cart ids: made of the command's id, so that a repeated request names the cart it opened first."""


def partner_only(actor: Actor) -> None:
    """Carts and orders are a partner's. Raises Problem 403."""
    if actor.organisation_kind != "partner":
        raise Problem(
            403,
            rule=rules.PARTNER_ONLY,
            reason="Only a partner puts carts together and orders for its customers.",
            remedy="Ask your partner to order.",
        )


# ── Carts ──────────────────────────────────────────────────────────────────────────────────────────────


async def _open_cart(call: Call) -> Target:
    partner_only(call.actor)
    cart_id = str(uuid5(_CARTS, call.command_id))
    return Target(cart_id, cart_id=cart_id, partner=call.actor.organisation_id, opened_by=call.actor.account_id)


async def _cart(call: Call) -> tuple[str, Open | CheckedOut]:
    """The cart that the path names. Raises Problem 404 if it is unknown or another partner's."""
    partner_only(call.actor)
    cart_id = call.path["cart_id"]
    state = await call.log.state(CART, cart_id)
    if not isinstance(state, Open | CheckedOut) or state.opened.partner != call.actor.organisation_id:
        raise unknown("cart")
    return cart_id, state


async def _last_words(
    call: Call, stored: str, publishers: Iterable[str], now: datetime
) -> list[PlanListed | PlanWithdrawn]:
    """What each of these publishers last said about the plan with this product ID, at today's price."""
    words: list[PlanListed | PlanWithdrawn] = []
    for publisher in publishers:
        match await call.log.state(PLAN, plan_key(publisher, stored)):
            case Listed() as listed:
                words.append(listing_on(now.astimezone(UTC).date(), listed))
            case Withdrawn(withdrawal):
                words.append(withdrawal)
            case _:
                pass
    return words


async def _add_to_cart(call: Call) -> Target:
    cart_id, _ = await _cart(call)
    form, words = call.body, []
    now = call.time_of(form.customer) if form.customer else call.now
    if form.product_id:
        stored = product_id(form.product_id)
        if stored is not None:
            words = await _last_words(call, stored, await publishers_of(call.db, stored), now)
    else:
        for fits in await offers_for(call.db, form.product, form.period or "", form.support or "", form.billing or ""):
            words += await _last_words(call, fits.plan.product_id, [fits.plan.publisher], now)
    offers = tuple(word for word in words if isinstance(word, PlanListed))
    return Target(
        cart_id,
        offers=offers,
        withdrawn=next((word for word in words if isinstance(word, PlanWithdrawn)), None),
        standing=await call.log.state(STANDING, call.actor.organisation_id),
        policy=policy_of(offers[0].plan.publisher if offers else None),
    )


async def _remove_from_cart(call: Call) -> Target:
    cart_id, _ = await _cart(call)
    line = call.path["line"]
    if not re.fullmatch(r"[0-9]{1,6}", line, re.ASCII):
        raise unknown("line", "Lines are counted from 1; look at the cart.")
    return Target(cart_id, line=int(line))


async def _check_out(call: Call) -> Target:
    cart_id, state = await _cart(call)
    lines = [added.line.plan for added in state.lines.values()] if isinstance(state, Open) else []
    now = call.time_of(call.body.customer)
    offered = [word for plan in lines for word in await _last_words(call, plan.product_id, [plan.publisher], now)]
    return Target(
        cart_id,
        ordered_by=call.actor.account_id,
        now=now,
        subscription_ids=tuple(call.new_id() for _ in range(LINES_AT_MOST)),
        purchaser_account=await account(call.db, call.body.purchaser),
        offered=tuple(offered),
        standing=await call.log.state(STANDING, call.actor.organisation_id),
        policy=policy_of(lines[0].publisher if lines else None),
    )


# ── Subscriptions ──────────────────────────────────────────────────────────────────────────────────────


class WhichSubscription(BaseModel):
    """One of several subscriptions."""

    model_config = ConfigDict(extra="forbid", strict=True)

    subscription_id: Identifier


async def _subscription(call: Call) -> tuple[str, Ordered]:
    """The subscription that the path names, or the item of a bulk request. Raises Problem 404 if it is unknown or of
    other organisations."""
    subscription_id = call.path.get("subscription_id") or call.body.subscription_id
    state = await call.log.state(SUBSCRIPTION, subscription_id)
    if isinstance(state, Unordered):
        raise unknown("subscription")
    fact = fact_of(state)
    if call.actor.organisation_id not in (fact.partner, fact.customer):
        raise unknown("subscription")
    return subscription_id, state


async def _disable_auto_renew(call: Call) -> Target:
    subscription_id, state = await _subscription(call)
    fact = fact_of(state)
    if call.actor.organisation_id != fact.partner:
        grant = await require_access(call.db, call.actor, fact.contract_id)
        if grant.role != "contract_manager":
            raise Problem(
                403,
                rule=rules.CONTRACT_MANAGER_ONLY,
                reason="Auto-renew is turned off by the contract's Contract Manager, or by the partner that ordered.",
                remedy="Ask the Contract Manager.",
                because=grant.because,
            )
    return Target(
        subscription_id,
        requested_by=call.actor.account_id,
        now=call.time_of(fact.customer),
        policy=policy_of(fact.plan.publisher),
    )


async def _refund(call: Call) -> Target:
    subscription_id, _ = await _subscription(call)
    return Target(subscription_id)


async def _own_order(call: Call) -> tuple[str, SubscriptionOrdered | SubscriptionConfirmed]:
    """The order that the calling partner placed."""
    partner_only(call.actor)
    subscription_id, state = await _subscription(call)
    fact = fact_of(state)
    if call.actor.organisation_id != fact.partner:
        raise unknown("order")
    return subscription_id, fact


async def _change_seats(call: Call) -> Target:
    subscription_id, fact = await _own_order(call)
    return Target(
        subscription_id,
        changed_by=call.actor.account_id,
        now=call.time_of(fact.customer),
        standing=await call.log.state(STANDING, call.actor.organisation_id),
        policy=policy_of(fact.plan.publisher),
    )


async def _resubmit(call: Call) -> Target:
    subscription_id, fact = await _own_order(call)
    return Target(
        subscription_id,
        ordered_by=call.actor.account_id,
        now=call.time_of(fact.customer),
        standing=await call.log.state(STANDING, call.actor.organisation_id),
        policy=policy_of(fact.plan.publisher),
    )


DOORS.post("/carts", CART, OpenCart, supply=_open_cart)
DOORS.post("/carts/{cart_id}/lines", CART, AddToCart, supply=_add_to_cart)
DOORS.delete("/carts/{cart_id}/lines/{line}", CART, RemoveFromCart, supply=_remove_from_cart)
DOORS.post("/carts/{cart_id}/checkout", CART, CheckOut, supply=_check_out)
DOORS.post(
    "/subscriptions/{subscription_id}/disable-auto-renew", SUBSCRIPTION, DisableAutoRenew, supply=_disable_auto_renew
)
DOORS.bulk(
    "/subscriptions/disable-auto-renew/bulk",
    SUBSCRIPTION,
    DisableAutoRenew,
    supply=_disable_auto_renew,
    form=WhichSubscription,
)
DOORS.put("/subscriptions/{subscription_id}/seats", SUBSCRIPTION, ChangeSeats, supply=_change_seats)
DOORS.post("/subscriptions/{subscription_id}/refund", SUBSCRIPTION, RequestRefund, supply=_refund)
DOORS.post("/subscriptions/{subscription_id}/resubmit", SUBSCRIPTION, Resubmit, supply=_resubmit)
