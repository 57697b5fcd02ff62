"""Events of marketplace that become commands of the seat pool."""

from collections.abc import Sequence
from typing import Final

from services.entitlements.domain.seat_pool import SEAT_POOL, AnswerAutoRenewRequest, OpenPool
from shared.eventlog.projection import Do, Reach, Reactions
from shared.events import AutoRenewDisableRequested, SubscriptionConfirmed
from shared.events.envelope import Envelope
from shared.events.registry import MARKETPLACE

REACTIONS: Final = Reactions("reactions", topics=(MARKETPLACE,))


@REACTIONS.on(SubscriptionConfirmed)
async def _confirmed(event: SubscriptionConfirmed, _of: Envelope, _reach: Reach) -> Sequence[Do]:
    opening = OpenPool(
        event.subscription_id, event.contract_id, event.customer, event.plan.product, event.plan.product_name,
        event.seats, event.starts, event.ends,
    )  # fmt: skip
    return [Do(SEAT_POOL, event.subscription_id, opening)]


@REACTIONS.on(AutoRenewDisableRequested)
async def _asked(event: AutoRenewDisableRequested, of: Envelope, _reach: Reach) -> Sequence[Do]:
    return [Do(SEAT_POOL, event.subscription_id, AnswerAutoRenewRequest(event.subscription_id, of.id))]
