"""What other systems' events, and marketplace's own, make it do."""

from datetime import date

from services.marketplace.calendars import business_calendar
from services.marketplace.domain.auto_renew import RecordPoolCleared, RecordPoolHeld
from services.marketplace.domain.order import Awaiting, ConfirmOrder, FailOrder, orders
from services.marketplace.domain.plan import PLAN, AnnouncePrice, ListPlan, WithdrawPlan, plan_key
from services.marketplace.domain.standing import STANDING, RecordCsn, RevokeCsn
from services.marketplace.domain.subscription import SUBSCRIPTION
from services.marketplace.domain.terms import term_ends
from services.marketplace.policies import policy_of
from shared.eventlog.deliver.projection import Do, Reach, Reactions
from shared.events import (
    CartCheckedOut,
    CartLineAdded,
    CartLineRemoved,
    CartOpened,
    CreditsPurchased,
    CsnIssued,
    CsnRevoked,
    OrderConfirmed,
    OrderDeclined,
    PlanListed,
    PlanPriceAnnounced,
    PlanWithdrawn,
    PoolCsnNoted,
    SeatPoolCleared,
    SeatPoolHeld,
    subjects,
)
from shared.events.envelope import Envelope, publisher_of
from shared.events.registry import ENTITLEMENTS, INBOUND, MARKETPLACE

PUBLISHER = Reactions("publisher", topics=(INBOUND,), ignores=(*subjects.UPDATES, CreditsPurchased))
PROCESS = Reactions(
    "process",
    topics=(MARKETPLACE, ENTITLEMENTS),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.AUTO_RENEW,
        *subjects.CSNS,
        *subjects.ORDERS,
        *subjects.PLANS,
        *subjects.SEAT_NUMBERS,
        *subjects.TERMS,
        *subjects.CREDITS,
        *subjects.POOLS,
        *subjects.SEATS,
        *subjects.UPDATE_RIGHTS,
        CartLineAdded,
        CartLineRemoved,
        CartOpened,
        PoolCsnNoted,
    ),
)

# ── What publishers say ────────────────────────────────────────────────────────────────────────────────


@PUBLISHER.on(PlanListed)
async def list_plan(event: PlanListed, of: Envelope, _reach: Reach) -> list[Do]:
    plan = event.plan
    key = plan_key(plan.publisher, plan.product_id)
    return [Do(PLAN, key, ListPlan(plan, publisher_of(of.source), of.time))]


@PUBLISHER.on(PlanWithdrawn)
async def withdraw_plan(event: PlanWithdrawn, of: Envelope, _reach: Reach) -> list[Do]:
    key = plan_key(event.publisher, event.product_id)
    return [Do(PLAN, key, WithdrawPlan(event.product_id, event.publisher, publisher_of(of.source), of.time))]


@PUBLISHER.on(PlanPriceAnnounced)
async def announce_price(event: PlanPriceAnnounced, of: Envelope, _reach: Reach) -> list[Do]:
    key = plan_key(event.publisher, event.product_id)
    announce = AnnouncePrice(
        product_id=event.product_id,
        publisher=event.publisher,
        price=event.price,
        valid_from=event.valid_from,
        said_by=publisher_of(of.source),
        said_at=of.time,
    )
    return [Do(PLAN, key, announce)]


@PUBLISHER.on(CsnIssued)
async def record_csn(event: CsnIssued, of: Envelope, _reach: Reach) -> list[Do]:
    record = RecordCsn(
        csn=event.csn,
        organisation_id=event.organisation_id,
        publisher=event.publisher,
        said_by=publisher_of(of.source),
        said_at=of.time,
        policy=policy_of(event.publisher),
    )
    return [Do(STANDING, event.organisation_id, record)]


@PUBLISHER.on(CsnRevoked)
async def revoke_csn(event: CsnRevoked, of: Envelope, _reach: Reach) -> list[Do]:
    revoke = RevokeCsn(
        csn=event.csn,
        organisation_id=event.organisation_id,
        publisher=event.publisher,
        reason=event.reason,
        said_by=publisher_of(of.source),
        said_at=of.time,
    )
    return [Do(STANDING, event.organisation_id, revoke)]


@PUBLISHER.on(OrderConfirmed)
async def confirm_order(event: OrderConfirmed, of: Envelope, reach: Reach) -> list[Do]:
    state = await reach.log.state(SUBSCRIPTION, event.subscription_id)
    # Only an awaited order's calendar is ever used; any other state answers without one.
    country, zone, starts = "", "UTC", date(2000, 1, 1)
    if isinstance(state, Awaiting):
        country, zone, starts = state.order.country, state.order.time_zone, state.order.starts
    publisher = publisher_of(of.source)
    calendar = business_calendar(country, zone, term_ends(starts))
    confirm = ConfirmOrder(
        reference=event.reference, said_by=publisher, calendar=calendar, order=event.order, policy=policy_of(publisher)
    )
    return [Do(SUBSCRIPTION, event.subscription_id, confirm)]


@PUBLISHER.on(OrderDeclined)
async def fail_order(event: OrderDeclined, of: Envelope, _reach: Reach) -> list[Do]:
    fail = FailOrder(event.reason, publisher_of(of.source), event.order)
    return [Do(SUBSCRIPTION, event.subscription_id, fail)]


# ── What follows from our own, and from the seat pool's answers ────────────────────────────────────────


@PROCESS.on(CartCheckedOut)
async def order_subscriptions(event: CartCheckedOut, _of: Envelope, reach: Reach) -> list[Do]:
    lines = zip(event.lines, orders(event, reach.time_of(event.customer)), strict=True)
    return [Do(SUBSCRIPTION, line.subscription_id, order) for line, order in lines]


@PROCESS.on(SeatPoolCleared)
async def record_pool_cleared(event: SeatPoolCleared, _of: Envelope, _reach: Reach) -> list[Do]:
    return [Do(SUBSCRIPTION, event.subscription_id, RecordPoolCleared(event.request))]


@PROCESS.on(SeatPoolHeld)
async def record_pool_held(event: SeatPoolHeld, _of: Envelope, _reach: Reach) -> list[Do]:
    return [Do(SUBSCRIPTION, event.subscription_id, RecordPoolHeld(event.request, event.held))]
