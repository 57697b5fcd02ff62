"""Given facts about a rollout, when a command comes, then facts or a refusal."""

from dataclasses import replace

import pytest

from services.distribution.domain.rollout import (
    ROLLOUT,
    THRESHOLDS,
    Command,
    Event,
    Running,
    count,
)
from shared.events import (
    InstallFailed,
    InstallSucceeded,
    PhasePassed,
    PhaseStarted,
    RolloutCompleted,
    RolloutPaused,
    RolloutPhase,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    TargetAdded,
    TargetRemoved,
)
from tests.examples.rollouts import (
    ONLY,
    PAUSE,
    PILOTS,
    REST,
    RESUME,
    START,
    STOP,
    USERS,
    follow,
    report,
)
from tests.spec import Outcome, given


def kinds(outcome: Outcome[Event]) -> list[type[Event]]:
    return [type(event) for event in outcome.events]


def test_it_starts_with_its_targets_and_its_first_phase_once() -> None:
    events = given(ROLLOUT).when(START).then_accepted()
    assert [type(e) for e in events] == [RolloutStarted, TargetAdded, TargetAdded, TargetAdded, PhaseStarted]
    assert [(e.account_id, e.phase) for e in events if isinstance(e, TargetAdded)] == [
        ("ana", 0),
        ("ben", 0),
        ("chiyo", 1),
    ]
    given(ROLLOUT).after(START).when(START).then_nothing()


def test_a_phase_is_passed_at_its_threshold_and_the_last_one_completes() -> None:
    assert kinds(given(ROLLOUT).after(START).when(report("ana"))) == [InstallSucceeded, PhasePassed, PhaseStarted]
    history = (START, report("ana"))
    passed = given(ROLLOUT).after(START).when(report("ana")).then_accepted()[1]
    assert isinstance(passed, PhasePassed)
    assert (passed.phase, passed.targets, passed.succeeded, passed.passed_by) == (0, 2, 1, THRESHOLDS)
    assert kinds(given(ROLLOUT).after(*history).when(report("chiyo"))) == [
        InstallSucceeded,
        PhasePassed,
        RolloutCompleted,
    ]


def test_a_failure_at_the_threshold_pauses() -> None:
    failed, paused = given(ROLLOUT).after(START).when(report("ana", False)).then_accepted()
    assert isinstance(failed, InstallFailed) and failed.error == "disk full"
    assert isinstance(paused, RolloutPaused) and paused.paused_by == THRESHOLDS and "1 of 2" in paused.reason
    below = replace(START, phases=(PILOTS.model_copy(update={"error_percent": 51}), REST))
    assert kinds(given(ROLLOUT).after(below).when(report("ana", False))) == [InstallFailed]


def test_failures_of_a_passed_phase_pause_as_well() -> None:
    assert kinds(given(ROLLOUT).after(START, report("ana")).when(report("ben", False))) == [
        InstallFailed,
        RolloutPaused,
    ]


def test_while_paused_reports_count_and_phases_wait() -> None:
    assert kinds(given(ROLLOUT).after(START, PAUSE).when(report("ana"))) == [InstallSucceeded]
    assert kinds(given(ROLLOUT).after(START, PAUSE, report("ana")).when(RESUME)) == [
        RolloutResumed,
        PhasePassed,
        PhaseStarted,
    ]


def test_resuming_forgives_failures_up_to_then() -> None:
    history = (START, report("ana", False), RESUME)
    assert kinds(given(ROLLOUT).after(*history[:-1]).when(RESUME)) == [RolloutResumed]
    assert kinds(given(ROLLOUT).after(*history).when(report("ben", False))) == [InstallFailed, RolloutPaused], (
        "a new one counts"
    )
    assert kinds(given(ROLLOUT).after(*history).when(report("ana"))) == [InstallSucceeded, PhasePassed, PhaseStarted]


def test_a_machine_that_fails_again_after_a_resume_counts_again() -> None:
    history = (START, report("ana", False), RESUME)
    state = given(ROLLOUT).after(*history).state
    assert isinstance(state, Running) and (count(state, 0).failed, count(state, 0).counting) == (1, 0)
    failed, paused = given(ROLLOUT).after(*history).when(report("ana", False)).then_accepted()
    assert isinstance(failed, InstallFailed) and isinstance(paused, RolloutPaused) and "1 of 2" in paused.reason
    again = (*history, report("ana", False))
    given(ROLLOUT).after(*again).when(report("ana", False)).then_nothing()  # once for each resume
    assert kinds(given(ROLLOUT).after(*again, RESUME).when(report("ana", False))) == [InstallFailed, RolloutPaused]
    assert kinds(given(ROLLOUT).after(*again).when(report("ana"))) == [InstallSucceeded], "it is paused"
    assert kinds(given(ROLLOUT).after(*again, report("ana")).when(RESUME)) == [
        RolloutResumed,
        PhasePassed,
        PhaseStarted,
    ]


def test_a_repeated_report_changes_nothing() -> None:
    given(ROLLOUT).after(START, report("ana")).when(report("ana")).then_nothing()
    given(ROLLOUT).after(START, report("ana", False)).when(report("ana", False)).then_nothing()
    given(ROLLOUT).after(START, report("ana")).when(
        report("ana", False)
    ).then_nothing()  # nor a failure after the success


def test_a_user_has_the_update_once_every_machine_that_reported_has_it() -> None:
    slow = replace(START, phases=(PILOTS.model_copy(update={"success_percent": 100, "error_percent": 100}), REST))
    state = given(ROLLOUT).after(slow, report("ana"), report("ana", False, "laptop")).state
    assert isinstance(state, Running) and (count(state, 0).succeeded, count(state, 0).failed) == (0, 1)
    state = (
        given(ROLLOUT).after(slow, report("ana"), report("ana", False, "laptop"), report("ana", True, "laptop")).state
    )
    assert isinstance(state, Running) and (count(state, 0).succeeded, count(state, 0).failed) == (1, 0)


def test_a_report_about_somebody_who_is_no_target_is_refused_with_the_reason() -> None:
    given(ROLLOUT).after(START).when(report("stranger")).then_refused("not-a-target")
    given(ROLLOUT).when(report("ana")).then_refused("not-a-target")
    gone = follow({"ben": "g", "chiyo": "default"}, {"ana": "The user's subscription has no update right."})
    no_right = (
        given(ROLLOUT).after(START, gone).when(report("ana")).then_refused("not-a-target", because=[TargetRemoved])
    )
    assert "no update right" in no_right.reason


def test_a_report_fits_its_rollout() -> None:
    given(ROLLOUT).after(START).when(replace(report("ana"), version="1")).then_refused(
        "version-mismatch", because=[RolloutStarted]
    )
    given(ROLLOUT).after(START).when(report("chiyo")).then_refused("phase-not-started", because=[TargetAdded])


def test_targets_follow_the_fleet() -> None:
    moved = follow({"ana": "g", "dilek": "default"})
    events = given(ROLLOUT).after(START).when(moved).then_accepted()
    assert [(type(e), e.account_id) for e in events if isinstance(e, TargetAdded | TargetRemoved)] == [
        (TargetRemoved, "ben"),
        (TargetRemoved, "chiyo"),
        (TargetAdded, "dilek"),
    ]
    given(ROLLOUT).after(START, moved).when(moved).then_nothing()
    given(ROLLOUT).when(moved).then_nothing()
    back = given(ROLLOUT).after(START, moved).when(follow(USERS, {})).then_accepted()
    assert isinstance(back[-1], TargetAdded), "who comes back is a target again"


def test_who_moves_within_the_rollout_keeps_the_phase() -> None:
    given(ROLLOUT).after(START).when(follow(USERS | {"ana": "default"}, {})).then_nothing()


def test_losing_those_who_lag_may_pass_a_phase() -> None:
    slow = replace(START, phases=(PILOTS.model_copy(update={"success_percent": 100}), REST))
    left = follow({"ana": "g", "chiyo": "default"}, {})
    assert kinds(given(ROLLOUT).after(slow, report("ana")).when(left)) == [TargetRemoved, PhasePassed, PhaseStarted]


def test_a_phase_without_users_pauses_where_others_have_users() -> None:
    assert kinds(given(ROLLOUT).when(replace(START, targets={"chiyo": "default"}))) == [
        RolloutStarted,
        TargetAdded,
        PhaseStarted,
        RolloutPaused,
    ]
    last = given(ROLLOUT).after(replace(START, targets={"ana": "g"})).when(report("ana")).then_accepted()
    assert [type(e) for e in last] == [InstallSucceeded, PhasePassed, PhaseStarted, RolloutPaused]
    paused = last[3]
    assert isinstance(paused, RolloutPaused) and (paused.cause, paused.paused_by) == ("no-users", THRESHOLDS)
    assert "Phase 2 has no users" in paused.reason


def test_without_any_user_a_rollout_waits_in_its_phase() -> None:
    empty = replace(START, targets={})
    assert kinds(given(ROLLOUT).when(empty)) == [RolloutStarted, PhaseStarted]
    assert kinds(given(ROLLOUT).after(empty, PAUSE).when(RESUME)) == [RolloutResumed]
    joined = (empty, follow(USERS, {}))
    assert kinds(given(ROLLOUT).after(empty).when(joined[1])) == [TargetAdded] * 3, (
        "they are in the first phase and the second"
    )
    given(ROLLOUT).after(*joined).when(report("chiyo")).then_refused("phase-not-started", because=[TargetAdded])
    assert kinds(given(ROLLOUT).after(*joined).when(report("ana"))) == [InstallSucceeded, PhasePassed, PhaseStarted]


def test_users_whose_right_was_gone_for_a_while_come_back_to_the_phase_that_they_were_in() -> None:
    slow = replace(START, phases=(PILOTS.model_copy(update={"success_percent": 100}), REST))
    gone, back = follow({}, {}), follow(USERS, {})
    *removed, paused = given(ROLLOUT).after(slow, report("ana")).when(gone).then_accepted()
    assert [type(event) for event in removed] == [TargetRemoved] * 3
    assert isinstance(paused, RolloutPaused) and "Phase 1 has no users any more" in paused.reason
    assert kinds(given(ROLLOUT).after(slow, report("ana"), gone).when(back)) == [*[TargetAdded] * 3, RolloutResumed]
    returned = (slow, report("ana"), gone, back)
    state = given(ROLLOUT).after(*returned).state
    assert isinstance(state, Running) and state.phase == 0 and not state.completed
    assert (count(state, 0).targets, count(state, 0).succeeded) == (2, 1), "what was installed stays so"
    given(ROLLOUT).after(*returned).when(report("chiyo")).then_refused("phase-not-started", because=[TargetAdded])
    assert kinds(given(ROLLOUT).after(*returned).when(report("ben", False))) == [InstallFailed, RolloutPaused], (
        "failures still pause it"
    )
    assert kinds(given(ROLLOUT).after(*returned).when(report("ben"))) == [InstallSucceeded, PhasePassed, PhaseStarted]


def test_who_joins_a_completed_rollout_is_a_target_all_the_same() -> None:
    history = (replace(START, targets={"ana": "g"}, phases=(ONLY,)), report("ana"), follow(USERS, {}))
    assert kinds(given(ROLLOUT).after(*history[:-1]).when(history[-1])) == [TargetAdded] * 2
    state = given(ROLLOUT).after(*history).state
    assert isinstance(state, Running) and state.completed
    assert kinds(given(ROLLOUT).after(*history).when(report("chiyo"))) == [InstallSucceeded]
    assert kinds(given(ROLLOUT).after(*history).when(report("chiyo", False))) == [InstallFailed], (
        "nothing is left to pause for"
    )


def test_shares_are_drawn_once_and_add_up() -> None:
    shares = tuple(RolloutPhase(share=share, success_percent=100, error_percent=100) for share in (10, 90))
    users = {f"user-{n}": "g" for n in range(500)}
    state = given(ROLLOUT).after(replace(START, phases=shares, targets=users)).state
    assert isinstance(state, Running)
    first = sum(target.phase == 0 for target in state.targets.values())
    assert 25 <= first <= 80 and len(state.targets) == 500


def test_a_withdrawal_stops_it_for_good() -> None:
    over = follow({}, {}, "autodesk withdrew the update: it breaks printing", "autodesk")
    (stopped,) = given(ROLLOUT).after(START).when(over).then_accepted()
    assert isinstance(stopped, RolloutStopped) and stopped.stopped_by == "autodesk"
    given(ROLLOUT).after(START, over).when(over).then_nothing()
    late = given(ROLLOUT).after(START, over).when(report("ana")).then_refused("rollout-stopped", because=[stopped])
    assert "printing" in late.reason


def test_it_is_paused_resumed_and_stopped_by_people_once() -> None:
    given(ROLLOUT).after(START).when(PAUSE).then(
        RolloutPaused(rollout_id="c-1", paused_by="mina", reason="exams", cause="decision")
    )
    given(ROLLOUT).after(START, PAUSE).when(PAUSE).then_nothing()
    given(ROLLOUT).after(START, PAUSE).when(RESUME).then(RolloutResumed(rollout_id="c-1", resumed_by="mina"))
    given(ROLLOUT).after(START).when(RESUME).then_nothing()
    assert kinds(given(ROLLOUT).after(START).when(STOP)) == [RolloutStopped]
    given(ROLLOUT).after(START, STOP).when(STOP).then_nothing()


@pytest.mark.parametrize("command", [PAUSE, RESUME])
def test_what_is_stopped_stays_so(command: Command) -> None:
    given(ROLLOUT).after(START, STOP).when(command).then_refused("rollout-stopped", because=[RolloutStopped])


@pytest.mark.parametrize("command", [PAUSE, RESUME, STOP])
def test_there_is_nothing_to_steer_before_it_starts(command: Command) -> None:
    given(ROLLOUT).when(command).then_refused("rollout-unknown")
