"""What time brings about: one timer a contract, set to whatever of its fleet is due next."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.distribution.domain.fleet import FLEET, ActOnWhatIsDue
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.deliver.timers import Cancel, Change, Set, Timers
from shared.events import EntitlementNoted, FleetOpened, NextDecisionDue, subjects
from shared.events.envelope import Envelope
from shared.events.registry import DISTRIBUTION

TIMERS: Final = Timers(
    topics=(DISTRIBUTION,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.DECISIONS,
        *subjects.GROUPS,
        *subjects.LINES,
        *subjects.OFFERS,
        *subjects.ROLLOUTS,
        *subjects.UPDATES,
        EntitlementNoted,
        FleetOpened,
    ),
)


@TIMERS.on(NextDecisionDue)
def _due(event: NextDecisionDue, _envelope: Envelope) -> Sequence[Change]:
    if event.due is None:
        return [Cancel("fleet", event.contract_id)]
    return [Set("fleet", event.contract_id, event.due, event.customer)]


@TIMERS.fires("fleet", FLEET)
async def _fire(key: str, now: datetime, _reach: ReactionContext) -> ActOnWhatIsDue:
    return ActOnWhatIsDue(key, now)
