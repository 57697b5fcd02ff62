"""What other systems' events, and marketplace's own, make it do."""

from services.marketplace.calendars import calendar_of_order
from services.marketplace.domain.auto_renew import RecordPoolCleared, RecordPoolHeld
from services.marketplace.domain.order import ConfirmOrder, FailOrder, orders
from services.marketplace.domain.plan import PLAN, AnnouncePrice, ListPlan, WithdrawPlan, plan_key
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.standing import STANDING, RecordCsn, RevokeCsn
from services.marketplace.domain.subscription import SUBSCRIPTION
from shared.eventlog.deliver.projection import Dispatch, ReactionContext, Reactions
from shared.events import (
    CartCheckedOut,
    CartDiscarded,
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
from shared.runtime.policies import policy_of

PUBLISHER = Reactions("publisher", topics=(INBOUND,), ignores=(*subjects.UPDATES, CreditsPurchased))
PROCESS = Reactions(
    "process",
    topics=(MARKETPLACE, ENTITLEMENTS),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.AUTO_RENEW,
        *subjects.CSNS,
        *subjects.ENGAGEMENTS,
        *subjects.ORDERS,
        *subjects.PLANS,
        *subjects.SEAT_NUMBERS,
        *subjects.SEATS_REQUESTS,
        *subjects.TERMS,
        *subjects.CREDITS,
        *subjects.POOLS,
        *subjects.SEATS,
        *subjects.UPDATE_RIGHTS,
        CartDiscarded,
        CartLineAdded,
        CartLineRemoved,
        CartOpened,
        PoolCsnNoted,
    ),
)

# ── What publishers say ────────────────────────────────────────────────────────────────────────────────


@PUBLISHER.on(PlanListed)
async def list_plan(event: PlanListed, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    plan = event.plan
    key = plan_key(plan.publisher, plan.product_id)
    return [Dispatch(PLAN, key, ListPlan(plan, publisher_of(envelope.source), envelope.time))]


@PUBLISHER.on(PlanWithdrawn)
async def withdraw_plan(event: PlanWithdrawn, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    key = plan_key(event.publisher, event.product_id)
    return [
        Dispatch(
            PLAN, key, WithdrawPlan(event.product_id, event.publisher, publisher_of(envelope.source), envelope.time)
        )
    ]


@PUBLISHER.on(PlanPriceAnnounced)
async def announce_price(event: PlanPriceAnnounced, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    key = plan_key(event.publisher, event.product_id)
    announce = AnnouncePrice(
        product_id=event.product_id,
        publisher=event.publisher,
        price=event.price,
        valid_from=event.valid_from,
        reported_by=publisher_of(envelope.source),
        said_at=envelope.time,
    )
    return [Dispatch(PLAN, key, announce)]


@PUBLISHER.on(CsnIssued)
async def record_csn(event: CsnIssued, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    record = RecordCsn(
        csn=event.csn,
        organisation_id=event.organisation_id,
        publisher=event.publisher,
        reported_by=publisher_of(envelope.source),
        said_at=envelope.time,
        policy=policy_of(Policy, event.publisher),
    )
    return [Dispatch(STANDING, event.organisation_id, record)]


@PUBLISHER.on(CsnRevoked)
async def revoke_csn(event: CsnRevoked, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    revoke = RevokeCsn(
        csn=event.csn,
        organisation_id=event.organisation_id,
        publisher=event.publisher,
        reason=event.reason,
        reported_by=publisher_of(envelope.source),
        said_at=envelope.time,
    )
    return [Dispatch(STANDING, event.organisation_id, revoke)]


@PUBLISHER.on(OrderConfirmed)
async def confirm_order(event: OrderConfirmed, envelope: Envelope, reach: ReactionContext) -> list[Dispatch]:
    state = await reach.log.state(SUBSCRIPTION, event.subscription_id)
    calendar = calendar_of_order(state)
    publisher = publisher_of(envelope.source)
    confirm = ConfirmOrder(
        reference=event.reference,
        reported_by=publisher,
        calendar=calendar,
        order=event.order,
        policy=policy_of(Policy, publisher),
    )
    return [Dispatch(SUBSCRIPTION, event.subscription_id, confirm)]


@PUBLISHER.on(OrderDeclined)
async def fail_order(event: OrderDeclined, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    fail = FailOrder(event.reason, publisher_of(envelope.source), event.order)
    return [Dispatch(SUBSCRIPTION, event.subscription_id, fail)]


# ── What follows from our own, and from the seat pool's answers ────────────────────────────────────────


@PROCESS.on(CartCheckedOut)
async def order_subscriptions(event: CartCheckedOut, _envelope: Envelope, reach: ReactionContext) -> list[Dispatch]:
    lines = zip(event.lines, orders(event, reach.time_of(event.customer)), strict=True)
    return [Dispatch(SUBSCRIPTION, line.subscription_id, order) for line, order in lines]


@PROCESS.on(SeatPoolCleared)
async def record_pool_cleared(event: SeatPoolCleared, _envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    return [Dispatch(SUBSCRIPTION, event.subscription_id, RecordPoolCleared(event.request))]


@PROCESS.on(SeatPoolHeld)
async def record_pool_held(event: SeatPoolHeld, _envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    return [Dispatch(SUBSCRIPTION, event.subscription_id, RecordPoolHeld(event.request, event.held))]
