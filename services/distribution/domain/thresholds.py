"""What a rollout's policy decides: that a phase is passed, or that the rollout pauses.

A phase that nobody completed is never passed by these. The rollout pauses instead, while the phase has no users, or
once none of its users has reported for so many days.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import reduce
from typing import Final

from services.distribution.domain.rollout_state import Event, Running, State, count, evolve
from shared.events import PhasePassed, PhaseReportsDue, PhaseStarted, RolloutCompleted, RolloutPaused, RolloutResumed
from shared.events.distribution import PauseCause

THRESHOLDS: Final = "policy:thresholds"
"""The actor of decisions that follow from the approval's thresholds. It was `thresholds` in older events."""
SILENCE: Final = "policy:silence"
"""The actor of a pause because nobody reports."""


def paused_by_policy(state: Running) -> bool:
    """Return whether the rollout is paused, and not by an administrator."""
    return state.paused is not None and state.paused.paused_by.startswith(("policy:", "thresholds"))


def with_policy(events: Sequence[Event], state: State, now: datetime) -> tuple[Event, ...]:
    """Return the events, followed by what the rollout's policy decides after them.

    That is a pause, or phases passed and started up to the first that is not passed; then when the present phase's
    reports are due.
    """
    after = _folded(events, state)
    result = list(events)
    while isinstance(after, Running) and (more := _threshold(after)):
        result += more
        after = _folded(more, after)
    if isinstance(after, Running) and after.due is None and _waits(after):
        result.append(_due(after, now + timedelta(after.started.silent_days)))
    return tuple(result)


def _folded(events: Sequence[Event], state: State) -> State:
    return reduce(evolve, events, state)


def _threshold(state: Running) -> tuple[Event, ...]:
    """Return the events that a threshold causes now: a pause, its end, a passed phase, or none.

    A rollout that never had a target waits: its users may be known later than its approval.
    """
    rollout_id, phases, number = state.started.rollout_id, state.started.phases, state.phase
    if state.paused is not None and state.paused.cause == "no-users" and count(state, number).targets:
        return (RolloutResumed(rollout_id=rollout_id, resumed_by=THRESHOLDS, forgives=False),)
    if state.paused is not None or state.completed:
        return ()
    for started in range(number + 1):
        counts = count(state, started)
        if counts.counting and 100 * counts.counting >= phases[started].error_percent * counts.targets:
            failed = f"{counts.counting} of {counts.targets} users failed to install the update"
            return (_pause(state, THRESHOLDS, "failures", f"In phase {started + 1}, {failed}."),)
    counts = count(state, number)
    if not counts.targets:
        return (_without_users(state),) if lacks_users(state) else ()
    if 100 * counts.succeeded < phases[number].success_percent * counts.targets:
        return ()
    passed = PhasePassed(
        rollout_id=rollout_id,
        phase=number,
        targets=counts.targets,
        succeeded=counts.succeeded,
        passed_by=THRESHOLDS,
    )
    return (passed, *next_phase(state, THRESHOLDS))


def next_phase(state: Running, by: str) -> tuple[Event, ...]:
    """Return the start of the phase after the present one, or the completion after the last."""
    rollout_id, following = state.started.rollout_id, state.phase + 1
    if following == len(state.started.phases):
        return (RolloutCompleted(rollout_id=rollout_id, completed_by=by),)
    return (PhaseStarted(rollout_id=rollout_id, phase=following, started_by=by),)


def lacks_users(state: Running) -> bool:
    """Return whether nobody is in the phase, and somebody was, or waits in another one."""
    return not count(state, state.phase).targets and (state.phase in state.left or len(state.counted) > 0)


def _without_users(state: Running) -> RolloutPaused:
    gone = "has no users any more" if state.phase in state.left else "has no users"
    reason = (
        f"Phase {state.phase + 1} {gone}, so nobody can try the update. The rollout is resumed once it has some. Or "
        "move on to the next phase, or stop the rollout."
    )
    return _pause(state, THRESHOLDS, "no-users", reason)


def _pause(state: Running, by: str, cause: PauseCause, reason: str) -> RolloutPaused:
    return RolloutPaused(rollout_id=state.started.rollout_id, paused_by=by, reason=reason, cause=cause)


# ── Silence ────────────────────────────────────────────────────────────────────────────────────────────


def _waits(state: Running) -> bool:
    """Return whether the rollout waits for reports, and a policy says for how long at most."""
    watched = state.started.silent_days > 0 and state.paused is None and not state.completed
    return watched and count(state, state.phase).targets > 0


def _due(state: Running, due: datetime) -> PhaseReportsDue:
    started = state.started
    return PhaseReportsDue(rollout_id=started.rollout_id, customer=started.customer, phase=state.phase, due=due)


def check_reports(state: Running, now: datetime) -> tuple[Event, ...]:
    """Return the pause of a rollout whose phase is silent, or when its next reports are due."""
    if state.due is None or state.due > now or not _waits(state):
        return ()
    days = state.started.silent_days
    latest = state.latest_report(state.phase)
    if latest is not None and latest + timedelta(days) > now:
        return (_due(state, latest + timedelta(days)),)
    counts = count(state, state.phase)
    reason = (
        f"In phase {state.phase + 1}, {counts.succeeded} of {counts.targets} users have the update, and nobody has "
        f"reported for {days} days. Exclude those who are away, retry the failed, or move on."
    )
    return (_pause(state, SILENCE, "silence", reason),)
