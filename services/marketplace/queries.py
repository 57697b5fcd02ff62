"""marketplace's queries: catalogue, wizard, carts, orders and subscriptions.

The models of their responses are in views.py.
"""

from datetime import UTC, date
from functools import partial
from typing import Final

from fastapi import APIRouter, Request

from services.marketplace import partners, publisher
from services.marketplace.api import latest_offers, offered_now, policies_for
from services.marketplace.calendars import business_calendar
from services.marketplace.domain import wizard
from services.marketplace.domain.auto_renew import DisableAutoRenew
from services.marketplace.domain.calendar import cancel_by
from services.marketplace.domain.cart import CART, cart_discarded
from services.marketplace.domain.cart_state import CheckedOut, Discarded, Unopened, publisher_in
from services.marketplace.domain.checkout import ordered_lines, purchaser_of, review, start_refused
from services.marketplace.domain.engagement import (
    ENGAGEMENT,
    engagement_key,
    order_refused,
    partner_released,
    release_of,
)
from services.marketplace.domain.order import Unconfirmed, Unordered, not_confirmed
from services.marketplace.domain.plan import (
    PLAN,
    hyphenated,
    is_orderable,
    plan_key,
    price_on,
    prices_from,
    publisher_of,
)
from services.marketplace.domain.plan_choice import plan_by_id
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.standing import (
    ALWAYS_OPEN,
    STANDING,
    specialised_open_for,
    valid_csn,
)
from services.marketplace.domain.subscription import SUBSCRIPTION, cancel_preview
from services.marketplace.domain.terms import term_ends, zone_of
from services.marketplace.lists import (
    LISTS,
    SUBSCRIPTIONS,
    AllClocks,
    SubscriptionFilters,
    stored_product_id,
    subscription_views,
)
from services.marketplace.partners import partner_only
from services.marketplace.past import subscription_then
from services.marketplace.projections import account, publishers_of
from services.marketplace.views import (
    CancelPreview,
    CartView,
    Choice,
    Csn,
    OnePlanView,
    OrderedWith,
    StandingView,
    SubscriptionView,
    SupportView,
    Wizard,
    cancel_preview_view,
    cart_view,
    one_plan_view,
    plan_view,
)
from shared import days
from shared.eventlog.decision import Rejected
from shared.eventlog.deliver.clocks import Clocks
from shared.events import CancelBy, CartCheckedOut, HeldSeat, Plan
from shared.events.fields import Code, Identifier, OptionalCode, OptionalIdentifier, OptionalPublisher
from shared.events.marketplace import Billing, Period, Support
from shared.runtime import outcomes
from shared.runtime.as_of import AsOf
from shared.runtime.auth import Actor
from shared.runtime.exports import ListRoute
from shared.runtime.histories import History, HistoryPage, history_of
from shared.runtime.http import CurrentActor, CurrentLog, Database, Now
from shared.runtime.policies import policy_of
from shared.runtime.problems import rejected, unknown
from shared.runtime.versions import shown_by_log, shown_by_tables, shows
from shared.runtime.written import WrittenDay
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)

QUERIES = APIRouter(route_class=ListRoute)
QUERIES.routes.extend(partners.LISTS.routes)
QUERIES.routes.extend(publisher.QUERIES.routes)
QUERIES.routes.extend(LISTS.routes)
QUERIES.routes.extend(outcomes.QUERIES.routes)

# ── The catalogue ──────────────────────────────────────────────────────────────────────────────────────


@QUERIES.get("/catalogue/{product_id}")
async def one_plan(
    request: Request,
    product_id: Code,
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    now: Now,
    publisher: OptionalPublisher = "",
) -> OnePlanView:
    """Return a plan by its product ID, with or without hyphens, with its prices from today on.

    Where several publishers use the product ID, `publisher` says whose plan it is.
    """
    stored, streams = stored_product_id(product_id), log.reader()
    offers = await latest_offers(streams, stored, await publishers_of(db, stored), now)
    policies = policies_for(publisher_of(offer) for offer in offers)
    standing = await log.state(STANDING, actor.organisation_id)
    found = plan_by_id(stored, publisher, offers, standing=standing, policies=policies)
    if isinstance(found, Rejected):
        raise rejected(found)
    plan = found.plan
    stream_id = PLAN.id(plan_key(plan.publisher, plan.product_id))
    listed = await streams.current(PLAN, stream_id)
    shows(request, stream_id, listed.head.version)
    return one_plan_view(plan, prices_from(now.astimezone(UTC).date(), listed.state), policies.of(plan.publisher))


@QUERIES.get("/wizard")
async def ask_wizard(
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    product: OptionalCode = "",
    publisher: OptionalPublisher = "",
    period: Period | None = None,
    support: Support | None = None,
    billing: Billing | None = None,
) -> Wizard:
    """Return the choices that lead to a plan, and the plan once a single one remains."""
    standing = await log.state(STANDING, actor.organisation_id)
    rows = await db.fetch(SQL["opened_plans"], list(ALWAYS_OPEN), list(specialised_open_for(standing)))
    listed = [Plan.from_row(row["plan"]) for row in rows]
    plans = [plan for plan in listed if is_orderable(plan, policy_of(Policy, plan.publisher))]
    chosen = wizard.Selection(
        product=product, publisher=publisher, period=period or "", support=support or "", billing=billing or ""
    )
    remaining = wizard.remaining(plans, chosen)
    labels = {"product": wizard.product_names(plans)}
    choices = {
        str(step): [
            Choice(value=value, label=labels.get(step, {}).get(value, value))
            for value in wizard.choices(plans, chosen, step)
        ]
        for step in wizard.STEPS
    }
    return Wizard(
        plans=len(remaining),
        plan=plan_view(remaining[0], policy_of(Policy, remaining[0].publisher)) if len(remaining) == 1 else None,
        next=wizard.next_step(plans, chosen),
        choices=choices,
        remaining=[hyphenated(plan.product_id) for plan in remaining] if len(remaining) <= 10 else [],
    )


@QUERIES.get("/standing")
async def standing(actor: CurrentActor, db: Database, log: CurrentLog) -> StandingView:
    """Return the standing of the caller's organisation with publishers."""
    rows = await db.fetch(SQL["standings"], actor.organisation_id)
    return StandingView(
        organisation_id=actor.organisation_id,
        specialised_open_for=sorted(specialised_open_for(await log.state(STANDING, actor.organisation_id))),
        csns=[
            Csn(publisher=r["publisher"], csn=r["csn"], valid=r["valid"], reason=r["reason"], event_id=r["event_id"])
            for r in rows
        ],
    )


# ── Carts ──────────────────────────────────────────────────────────────────────────────────────────────


async def _contracts_of(db: Queryable, customer: str) -> frozenset[str]:
    """Return the contracts of a customer: those that its confirmed orders have opened."""
    return frozenset(row["contract_id"] for row in await db.fetch(SQL["contracts_of"], customer))


@QUERIES.get("/carts/{cart_id}", dependencies=[shown_by_log(CART, "{cart_id}")])
async def cart(
    cart_id: Identifier,
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    clocks: AllClocks,
    customer: OptionalIdentifier = "",
    purchaser: OptionalIdentifier = "",
    starts: WrittenDay | None = None,
) -> CartView:
    """Return the cart as the order that it would be.

    It is for checking an order before the checkout, which is final: there are no refunds. Each plan is shown as it is
    offered on the customer's day, and `refusals` says what the checkout would refuse.

    `customer`, `purchaser` and `starts` are those of the checkout, if they are known already; they are refused as the
    checkout would refuse them. A cart that was checked out is shown with the values of its checkout.
    """
    partner_only(actor)
    streams = log.reader()
    state = await streams.state(CART, cart_id)
    if isinstance(state, Unopened) or state.opened.partner != actor.organisation_id:
        raise unknown("cart")
    if isinstance(state, Discarded):
        raise rejected(cart_discarded(state.event))
    policy = policy_of(Policy, publisher_in(state))
    if isinstance(state, CheckedOut):
        return cart_view(state, ordered_lines(state), policy, _ordered_with(state.order, policy))
    now = clocks.time_of(customer or actor.organisation_id)
    buyer = purchaser_of(customer, purchaser, await account(db, purchaser)) if purchaser else None
    if isinstance(buyer, Rejected):
        raise rejected(buyer)
    if customer:
        engagement = await streams.state(ENGAGEMENT, engagement_key(customer, actor.organisation_id))
        before = await partners.ordered_before(db, customer, actor.organisation_id)
        if (refused := order_refused(engagement, ordered_before=before)) is not None:
            raise rejected(refused)
    zone = buyer.time_zone if buyer else "UTC"
    begins = starts or days.day_of(now, zone)
    if (refused := start_refused(begins, now, zone, policy)) is not None:
        raise rejected(refused)
    assumed = [] if starts else [f"The term starts today, {begins} ({zone}), because no start is given."]
    if not purchaser:
        assumed.append(
            "Dates are in UTC and the date to cancel by is unknown: they depend on the purchaser's time zone and the "
            "business days of the purchaser's country, and no purchaser is given."
        )
    standing = await streams.state(STANDING, actor.organisation_id)
    number = valid_csn(standing, publisher_in(state) or "")
    assumed_order = OrderedWith(
        customer=customer or None,
        purchaser=purchaser or None,
        starts=begins,
        time_zone=zone,
        csn=number.csn if number else None,
        cancel_by=_cancel_by(begins, buyer.country, zone, policy) if buyer else None,
        contracts=await _contracts_of(db, customer) if customer else None,
        assumed=tuple(assumed),
    )
    lines = review(state, await offered_now(streams, state, now), standing=standing, policy=policy)
    return cart_view(state, lines, policy, assumed_order)


def _ordered_with(order: CartCheckedOut, policy: Policy) -> OrderedWith:
    """Return the values of the checkout that was made."""
    zone = zone_of(order)
    return OrderedWith(
        customer=order.customer,
        purchaser=order.purchaser,
        starts=order.starts,
        time_zone=zone,
        csn=order.csn,
        cancel_by=_cancel_by(order.starts, order.country, zone, policy),
    )


def _cancel_by(starts: date, country: str, time_zone: str, policy: Policy) -> CancelBy:
    """Return the deadline as the confirmation would set it by today's calendar."""
    ends = term_ends(starts)
    return cancel_by(ends, business_calendar(country, time_zone, ends), policy.cancel_business_days)


# ── Orders and subscriptions ───────────────────────────────────────────────────────────────────────────


@QUERIES.get("/subscriptions/{subscription_id}", dependencies=[shown_by_tables(SUBSCRIPTION, "{subscription_id}")])
async def subscription(
    subscription_id: Identifier, actor: CurrentActor, db: Database, clocks: AllClocks, as_of: AsOf
) -> SubscriptionView:
    """Return a subscription with its term, instalments, amount still owed and auto-renew state."""
    view = await _subscription(subscription_id, actor, db, clocks)
    if as_of is None:
        return view
    names = {view.partner: view.partner_name, view.customer: view.customer_name}
    then = partial(subscription_then, policy_of=partial(policy_of, Policy), names=names)
    return await as_of.show(SUBSCRIPTION, subscription_id, view.customer, then)


@QUERIES.get("/subscriptions/{subscription_id}/history")
async def subscription_history(
    subscription_id: Identifier,
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    clocks: AllClocks,
    page: HistoryPage,
) -> History:
    """List what happened to a subscription: who did what, when and why."""
    await _subscription(subscription_id, actor, db, clocks)
    return await history_of(log, SUBSCRIPTION, subscription_id, page)


@QUERIES.get("/subscriptions/{subscription_id}/support")
async def who_supports_whom(
    subscription_id: Identifier, actor: CurrentActor, db: Database, clocks: AllClocks
) -> SupportView:
    """Return who supports the customer, and who supports the partner.

    The partner supports its customers; the distributor and the publisher support the partner only.
    """
    view = await _subscription(subscription_id, actor, db, clocks)
    partner, customer = view.partner_name, view.customer_name
    distributor, publisher = policy_of(Policy, view.plan.publisher).distributor, view.plan.publisher
    if actor.organisation_id == view.customer:
        answer = f"{partner} owes you support. Do not ask {distributor} or {publisher}: they support {partner} only."
    else:
        answer = f"You owe {customer} support; {distributor} and {publisher} support you only."
    return SupportView(
        subscription_id=subscription_id,
        customer=customer,
        supported_by=partner,
        partner_supported_by=[distributor, publisher],
        answer=answer,
    )


@QUERIES.get(
    "/subscriptions/{subscription_id}/cancel-preview", dependencies=[shown_by_log(SUBSCRIPTION, "{subscription_id}")]
)
async def preview_cancel(
    subscription_id: Identifier, actor: CurrentActor, db: Database, log: CurrentLog, clocks: AllClocks
) -> CancelPreview:
    """Return what turning auto-renew off would do now.

    That is the deadline, the last day, the amount still owed, and the seats that have to be unassigned before.
    """
    view = await _subscription(subscription_id, actor, db, clocks)
    state = await log.state(SUBSCRIPTION, subscription_id)
    if isinstance(state, Unordered):
        raise unknown("subscription")
    if isinstance(state, Unconfirmed):
        raise rejected(not_confirmed(state))
    release = release_of(await log.state(ENGAGEMENT, engagement_key(view.customer, view.partner)))
    if release is not None and actor.organisation_id == view.partner:
        raise rejected(partner_released(release))
    rows = await db.fetch(SQL["held_seats"], subscription_id)
    held = [HeldSeat(seat=row["seat"], account_id=row["account_id"], because=row["event_id"]) for row in rows]
    plan = state.term.plan
    price = price_on(state.term.next_starts, await log.state(PLAN, plan_key(plan.publisher, plan.product_id)))
    disable = DisableAutoRenew(actor.account_id, clocks.time_of(view.customer), policy_of(Policy, plan.publisher))
    preview = cancel_preview(disable, state, held=bool(held), price=price)
    return cancel_preview_view(preview, state.term, held)


async def _subscription(subscription_id: str, actor: Actor, db: Queryable, clocks: Clocks) -> SubscriptionView:
    """Return a subscription.

    Raises:
        Problem: 404 unless the caller belongs to its partner or customer.
    """
    row = await SUBSCRIPTIONS.one(db, None, False, *SubscriptionFilters().arguments(subscription_id))
    if row is None or actor.organisation_id not in (row["partner"], row["customer"]):
        raise unknown("subscription")
    (view,) = await subscription_views(db, [row], clocks)
    return view
