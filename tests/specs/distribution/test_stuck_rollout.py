"""A phase that nobody completed never passes by itself: it pauses and says why, and an administrator goes on."""

from dataclasses import replace
from datetime import datetime

import pytest

from services.distribution.domain.rollout import (
    ROLLOUT,
    SILENCE,
    THRESHOLDS,
    CheckReports,
    ExcludeTarget,
    MoveOn,
    RetryFailed,
    Running,
    count,
)
from shared.events import (
    FailuresRetried,
    InstallFailed,
    InstallSucceeded,
    PhasePassed,
    PhaseReportsDue,
    PhaseStarted,
    RolloutCompleted,
    RolloutMovedOn,
    RolloutPaused,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    TargetAdded,
    TargetExcluded,
    TargetRemoved,
)
from tests.examples.distribution import DAY, NOON
from tests.examples.rollouts import PAUSE, RESUME, START, STOP, USERS, follow, report
from tests.spec import given

PILOT = replace(START, targets={"ana": "g", "chiyo": "default"})
WATCHED = replace(PILOT, silent_days=14)
RETRY = RetryFailed("mina", NOON)


def exclude(who: str, machine: str = "") -> ExcludeTarget:
    return ExcludeTarget(account_id=who, machine=machine, reason="broken", by="mina", now=NOON)


def move_on(phase: int, now: datetime = NOON) -> MoveOn:
    return MoveOn(phase=phase, reason="the pilot is away", by="mina", now=now)


def checked(day: int) -> CheckReports:
    return CheckReports(NOON + day * DAY)


def due(day: int, phase: int = 0) -> PhaseReportsDue:
    return PhaseReportsDue(rollout_id="c-1", customer="org", phase=phase, due=NOON + day * DAY)


# ── Users who are gone ─────────────────────────────────────────────────────────────────────────────────


def test_the_only_pilot_fails_is_resumed_and_loses_the_seat() -> None:
    gone = follow({"chiyo": "default"}, {"ana": "The user holds no seat of the product any more."})
    _, paused = given(ROLLOUT).after(PILOT, report("ana", False), RESUME).when(gone).then_accepted()
    assert isinstance(paused, RolloutPaused)
    assert (paused.cause, paused.paused_by) == ("no-users", THRESHOLDS)
    assert "Phase 1 has no users any more" in paused.reason
    state = given(ROLLOUT).after(PILOT, report("ana", False), RESUME, gone).state
    assert isinstance(state, Running) and state.phase == 0, "nobody else is offered the update"


def test_it_goes_on_by_itself_with_another_pilot() -> None:
    replaced = (PILOT, follow({"chiyo": "default"}), follow({"dilek": "g", "chiyo": "default"}))
    resumed = RolloutResumed(rollout_id="c-1", resumed_by=THRESHOLDS, forgives=False)
    given(ROLLOUT).after(*replaced[:2]).when(replaced[2]).then(TargetAdded, resumed)
    given(ROLLOUT).after(*replaced).when(report("dilek")).then(InstallSucceeded, PhasePassed, PhaseStarted)
    by_hand = (PILOT, PAUSE, *replaced[1:])
    given(ROLLOUT).after(*by_hand[:-1]).when(by_hand[-1]).then(TargetAdded)  # an administrator paused it


def test_it_is_not_resumed_by_hand_without_users() -> None:
    for history in ((PILOT, follow({"chiyo": "default"})), (PILOT, PAUSE, exclude("ana"))):
        given(ROLLOUT).after(*history).when(RESUME).then_refused("phase-without-users", because=[RolloutPaused])
        assert given(ROLLOUT).after(*history).when(move_on(1)).then_accepted()
    given(ROLLOUT).after(PILOT, report("ana", False), follow({"chiyo": "default"})).when(RETRY).then(FailuresRetried)


def test_going_on_by_itself_forgives_no_failures() -> None:
    lenient = START.phases[0].model_copy(update={"error_percent": 100})
    pair = replace(START, phases=(lenient, START.phases[1]))
    left, back = follow({"ana": "g", "ben": "g"}), follow(USERS)
    history = (pair, report("ben", False), report("ana"), left, back)
    state = given(ROLLOUT).after(*history).state
    assert isinstance(state, Running) and state.phase == 1 and state.paused is None
    assert count(state, 0).counting == 1


def test_the_only_users_of_a_rollout_are_gone() -> None:
    alone = replace(START, targets={"ana": "g"})
    given(ROLLOUT).after(alone).when(follow({})).then(TargetRemoved, RolloutPaused)
    given(ROLLOUT).after(replace(START, targets={})).when(follow({})).then_nothing()


def test_a_completed_rollout_waits_for_whoever_comes_back() -> None:
    everybody = (START, report("ana"), report("chiyo"))
    given(ROLLOUT).after(*everybody).when(follow({})).then(TargetRemoved, TargetRemoved, TargetRemoved)


# ── Users who are silent ───────────────────────────────────────────────────────────────────────────────


def test_reports_are_due_after_the_policys_days() -> None:
    events = given(ROLLOUT).when(WATCHED).then_accepted()
    assert events[-1] == due(14) and isinstance(events[0], RolloutStarted) and events[0].silent_days == 14
    given(ROLLOUT).after(WATCHED).when(checked(13)).then_nothing()
    (paused,) = given(ROLLOUT).after(WATCHED).when(checked(14)).then_accepted()
    assert isinstance(paused, RolloutPaused)
    assert (paused.cause, paused.paused_by) == ("silence", SILENCE)
    assert "0 of 1 users" in paused.reason and "14 days" in paused.reason
    given(ROLLOUT).after(WATCHED, checked(14)).when(checked(14)).then_nothing()


def test_a_report_puts_the_silence_off() -> None:
    all_pilots = START.phases[0].model_copy(update={"success_percent": 100})
    slow = replace(START, silent_days=14, phases=(all_pilots, START.phases[1]))
    heard = (slow, report("ana", now=NOON + 10 * DAY))
    given(ROLLOUT).after(*heard).when(checked(14)).then(due(24))
    (paused,) = given(ROLLOUT).after(*heard, checked(14)).when(checked(24)).then_accepted()
    assert isinstance(paused, RolloutPaused) and "1 of 2 users" in paused.reason


def test_each_phase_and_each_resumption_begins_a_new_silence() -> None:
    passed = given(ROLLOUT).after(WATCHED).when(report("ana", now=NOON + 5 * DAY)).then_accepted()
    assert passed[-1] == due(19, 1)
    resumed = given(ROLLOUT).after(WATCHED, checked(14)).when(replace(RESUME, now=NOON + 20 * DAY))
    resumed.then(RolloutResumed, due(34))


def test_nobody_is_silent_while_it_is_paused_completed_or_without_users() -> None:
    given(ROLLOUT).after(WATCHED, PAUSE).when(checked(14)).then_nothing()
    one = replace(WATCHED, phases=(START.phases[0],), targets={"ana": "g"})
    given(ROLLOUT).after(one, report("ana")).when(checked(14)).then_nothing()
    empty = replace(WATCHED, targets={})
    given(ROLLOUT).when(empty).then(RolloutStarted, PhaseStarted)
    given(ROLLOUT).after(empty).when(replace(follow(USERS), now=NOON + DAY)).then(
        TargetAdded, TargetAdded, TargetAdded, due(15)
    )
    given(ROLLOUT).when(checked(14)).then_nothing()
    given(ROLLOUT).after(WATCHED, STOP).when(checked(14)).then_nothing()


def test_a_rollout_from_before_silence_counted_waits_for_ever() -> None:
    given(ROLLOUT).when(PILOT).then(RolloutStarted, TargetAdded, TargetAdded, PhaseStarted)
    given(ROLLOUT).after(PILOT).when(checked(3000)).then_nothing()


# ── Excluding ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_broken_machine_is_excluded_and_the_new_one_completes_the_phase() -> None:
    broken = (PILOT, report("ana", False), RESUME, report("ana", machine="new"))
    state = given(ROLLOUT).after(*broken).state
    assert isinstance(state, Running) and (count(state, 0).succeeded, count(state, 0).failed) == (0, 1)
    excluded, passed, started = given(ROLLOUT).after(*broken).when(exclude("ana", "pc")).then_accepted()
    assert excluded == TargetExcluded(
        rollout_id="c-1", account_id="ana", machine="pc", reason="broken", excluded_by="mina"
    )
    assert isinstance(passed, PhasePassed) and (passed.targets, passed.succeeded) == (1, 1)
    assert isinstance(started, PhaseStarted)
    given(ROLLOUT).after(*broken, exclude("ana", "pc")).when(exclude("ana", "pc")).then_nothing()


def test_an_excluded_user_does_not_count_and_may_not_report() -> None:
    both = replace(START, phases=(START.phases[0].model_copy(update={"success_percent": 100}), START.phases[1]))
    away = given(ROLLOUT).after(both, report("ana"))
    away.when(exclude("ben")).then(TargetExcluded, PhasePassed, PhaseStarted)
    late = away.after(exclude("ben")).when(report("ben")).then_refused("not-a-target", because=[TargetExcluded])
    assert "broken" in late.reason


def test_excluding_the_last_user_of_a_phase_does_not_pass_it() -> None:
    given(ROLLOUT).after(PILOT).when(exclude("ana")).then(TargetExcluded, RolloutPaused)
    alone = replace(START, targets={"ana": "g"})
    given(ROLLOUT).after(alone).when(exclude("ana")).then(TargetExcluded, RolloutPaused)
    given(ROLLOUT).after(PILOT, report("ana")).when(exclude("ana")).then(TargetExcluded)  # that phase is passed


def test_an_excluded_machine_neither_succeeds_nor_fails() -> None:
    only = (PILOT, PAUSE, report("ana"), exclude("ana", "pc"))
    state = given(ROLLOUT).after(*only).state
    assert isinstance(state, Running) and (count(state, 0).targets, count(state, 0).succeeded) == (1, 0)
    failed = (PILOT, PAUSE, report("ana", False), exclude("ana", "pc"))
    given(ROLLOUT).after(*failed).when(RESUME).then(RolloutResumed)


def test_only_a_user_and_a_machine_of_the_rollout_are_excluded() -> None:
    given(ROLLOUT).after(PILOT).when(exclude("stranger")).then_refused("target-unknown")
    given(ROLLOUT).after(PILOT).when(exclude("ana", "pc")).then_refused("target-unknown")
    gone = follow({"chiyo": "default"}, {"ana": "The user holds no seat of the product any more."})
    removed = given(ROLLOUT).after(PILOT, gone).when(exclude("ana"))
    assert "holds no seat" in removed.then_refused("target-unknown", because=[TargetRemoved]).reason


# ── Retrying and moving on ─────────────────────────────────────────────────────────────────────────────


def test_failures_are_retried_and_what_the_policy_paused_is_resumed() -> None:
    failed = (PILOT, report("ana", False))
    given(ROLLOUT).after(*failed).when(RETRY).then(
        FailuresRetried(rollout_id="c-1", machines=1, retried_by="mina"),
        RolloutResumed(rollout_id="c-1", resumed_by="mina"),
    )
    retried = given(ROLLOUT).after(*failed, RETRY)
    retried.when(report("ana", machine="new")).then(InstallSucceeded, PhasePassed, PhaseStarted)
    retried.when(report("ana", False)).then(InstallFailed, RolloutPaused)
    retried.when(RETRY).then_refused("nothing-failed")
    given(ROLLOUT).after(PILOT, PAUSE, report("ana", False)).when(RETRY).then(FailuresRetried)


def test_an_administrator_moves_on_below_the_threshold() -> None:
    moved, started = given(ROLLOUT).after(PILOT).when(move_on(1)).then_accepted()
    assert moved == RolloutMovedOn(
        rollout_id="c-1", phase=0, targets=1, succeeded=0, reason="the pilot is away", moved_by="mina"
    )
    assert started == PhaseStarted(rollout_id="c-1", phase=1, started_by="mina")
    given(ROLLOUT).after(PILOT, move_on(1)).when(report("chiyo")).then(InstallSucceeded, PhasePassed, RolloutCompleted)
    given(ROLLOUT).after(PILOT, move_on(1)).when(move_on(2)).then(RolloutMovedOn, RolloutCompleted)


def test_moving_on_resumes_what_the_policy_paused_and_not_what_somebody_did() -> None:
    for history in ((PILOT, report("ana", False)), (PILOT, follow({"chiyo": "default"})), (WATCHED, checked(14))):
        events = given(ROLLOUT).after(*history).when(move_on(1)).then_accepted()
        assert [type(event) for event in events[:3]] == [RolloutMovedOn, RolloutResumed, PhaseStarted]
        assert not any(isinstance(event, RolloutPaused) for event in events)
    given(ROLLOUT).after(PILOT, PAUSE).when(move_on(1)).then(RolloutMovedOn, PhaseStarted)


@pytest.mark.parametrize("phase", [2, 3])
def test_only_the_present_phase_is_ended(phase: int) -> None:
    given(ROLLOUT).after(PILOT).when(move_on(phase)).then_refused("phase-not-present")
    given(ROLLOUT).after(PILOT, move_on(1)).when(move_on(1)).then_refused("phase-not-present")
    given(ROLLOUT).after(PILOT, move_on(1), move_on(2)).when(move_on(2)).then_refused("phase-not-present")


@pytest.mark.parametrize("command", [exclude("ana"), RETRY, move_on(1)])
def test_there_is_nothing_to_decide_before_the_start_and_after_the_stop(
    command: ExcludeTarget | RetryFailed | MoveOn,
) -> None:
    given(ROLLOUT).when(command).then_refused("rollout-unknown")
    given(ROLLOUT).after(PILOT, STOP).when(command).then_refused("rollout-stopped", because=[RolloutStopped])
