"""Distribution's timers: what is due next in a fleet, and a rollout's reports."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.distribution.domain.fleet import FLEET, ActOnWhatIsDue
from services.distribution.domain.rollout import ROLLOUT, CheckReports
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.deliver.timers import Cancel, Change, Set, Timers
from shared.events import (
    EntitlementNoted,
    FailuresRetried,
    FleetOpened,
    NextDecisionDue,
    PhaseReportsDue,
    RolloutCompleted,
    RolloutPaused,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    subjects,
)
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
        *subjects.INSTALLS,
        *subjects.PHASES,
        *subjects.TARGETS,
        *subjects.UPDATES,
        EntitlementNoted,
        FailuresRetried,
        FleetOpened,
        RolloutResumed,
        RolloutStarted,
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


@TIMERS.on(PhaseReportsDue)
def _reports_due(event: PhaseReportsDue, _envelope: Envelope) -> Sequence[Change]:
    return [Set("reports", event.rollout_id, event.due, event.customer)]


@TIMERS.on(RolloutPaused)
@TIMERS.on(RolloutCompleted)
@TIMERS.on(RolloutStopped)
def _no_reports_due(event: RolloutPaused | RolloutCompleted | RolloutStopped, _envelope: Envelope) -> Sequence[Change]:
    return [Cancel("reports", event.rollout_id)]


@TIMERS.fires("reports", ROLLOUT)
async def _check_reports(_key: str, now: datetime, _reach: ReactionContext) -> CheckReports:
    return CheckReports(now)
