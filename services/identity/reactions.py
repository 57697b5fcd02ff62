"""Events of marketplace that become commands of contracts."""

from collections.abc import Sequence
from typing import Final

from services.identity.domain.contract import CONTRACT, RecordSubscription
from shared.eventlog.projection import Do, Reach, Reactions
from shared.events import SubscriptionConfirmed
from shared.events.envelope import Envelope
from shared.events.registry import MARKETPLACE

REACTIONS: Final = Reactions("reactions", topics=(MARKETPLACE,))


@REACTIONS.on(SubscriptionConfirmed)
async def _confirmed(event: SubscriptionConfirmed, _of: Envelope, _reach: Reach) -> Sequence[Do]:
    record = RecordSubscription(
        event.contract_id, event.customer, event.plan.publisher, event.plan.programme, event.subscription_id,
        event.purchaser, event.plan.agreement, event.plan.product,
    )  # fmt: skip
    return [Do(CONTRACT, event.contract_id, record)]
