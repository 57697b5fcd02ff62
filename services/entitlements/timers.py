"""What entitlements does when time has come, in the customer's own time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.entitlements.domain.credits import CREDITS, ExpireCredits
from services.entitlements.domain.seat_pool import SEAT_POOL, AdvanceLadder
from services.entitlements.lookups import policy_for
from shared import days
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.deliver.timers import Cancel, Set, Timers
from shared.events import (
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    PoolCsnNoted,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatPoolSuspended,
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS

TIMERS: Final = Timers(
    topics=(ENTITLEMENTS,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.POOL_ANSWERS,
        *subjects.SEATS,
        *subjects.UPDATE_RIGHTS,
        PoolCsnNoted,
        SeatPoolOpened,
        SeatPoolRenewed,
        SeatPoolResized,
    ),
)


@TIMERS.on(SeatPoolExpired)
def _expired(event: SeatPoolExpired, _envelope: Envelope) -> Sequence[Set | Cancel]:
    return [Set("ladder", event.subscription_id, days.ends(event.access_until, event.time_zone), event.customer)]


@TIMERS.on(SeatPoolSuspended)
def _suspended(event: SeatPoolSuspended, _envelope: Envelope) -> Sequence[Set | Cancel]:
    return [Set("ladder", event.subscription_id, days.ends(event.kept_until, event.time_zone), event.customer)]


@TIMERS.on(SeatPoolEnded)
def _ended(event: SeatPoolEnded, _envelope: Envelope) -> Sequence[Set | Cancel]:
    return [Cancel("ladder", event.subscription_id)]


@TIMERS.on(CreditsGranted)
@TIMERS.on(CreditsConsumed)
@TIMERS.on(CreditsExpired)
def _next_expiry(
    event: CreditsGranted | CreditsConsumed | CreditsExpired, _envelope: Envelope
) -> Sequence[Set | Cancel]:
    """One timer a contract, for the earliest of its lots: spending may empty that one."""
    if event.next_expiry is None:
        return [Cancel("credits", event.contract_id)]
    return [Set("credits", event.contract_id, days.ends(event.next_expiry, event.time_zone), event.customer)]


@TIMERS.fires("ladder", SEAT_POOL)
async def _advance(key: str, now: datetime, reach: ReactionContext) -> AdvanceLadder:
    return AdvanceLadder(now, await policy_for(reach.log, key))


@TIMERS.fires("credits", CREDITS)
async def _expire(_key: str, now: datetime, _reach: ReactionContext) -> ExpireCredits:
    return ExpireCredits(now)
