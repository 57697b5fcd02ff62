"""Given facts about a rollout, when a command comes, then facts or a refusal."""

from dataclasses import replace

import pytest

from services.distribution.domain.rollout import (
    THRESHOLDS,
    Command,
    Event,
    FollowFleet,
    PauseRollout,
    ReportInstall,
    ResumeRollout,
    Running,
    StartRollout,
    StopRollout,
    count,
    decide,
)
from shared.eventlog.decision import Decision, Rejected
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
from tests.specs.distribution.examples import accepted, of_rollout

PILOTS = RolloutPhase(groups=("g",), success_percent=50, error_percent=50)
REST = RolloutPhase(groups=("default",), success_percent=100, error_percent=50)
USERS = {"ana": "g", "ben": "g", "chiyo": "default"}
START = StartRollout(
    rollout_id="c-1",
    contract_id="c",
    customer="org",
    publisher="autodesk",
    update_id="u",
    version="2027.1",
    groups=("g", "default"),
    phases=(PILOTS, REST),
    targets=USERS,
    by="mina",
)
PAUSE, RESUME, STOP = PauseRollout("exams", "mina"), ResumeRollout("mina"), StopRollout("wrong version", "mina")


def report(who: str, succeeded: bool = True, machine: str = "pc") -> ReportInstall:
    return ReportInstall(
        rollout_id="c-1",
        version="2027.1",
        machine=machine,
        succeeded=succeeded,
        account_id=who,
        error="" if succeeded else "disk full",
    )


def when(command: Command, *given: Command) -> Decision[Event]:
    return decide(command, of_rollout(*given))


def refused(decision: Decision[Event], rule: str) -> Rejected:
    assert isinstance(decision, Rejected) and decision.rule == rule, decision
    return decision


def kinds(decision: Decision[Event]) -> list[type[Event]]:
    return [type(event) for event in accepted(decision)]


def test_it_starts_with_its_targets_and_its_first_phase_once() -> None:
    events = accepted(when(START))
    assert [type(e) for e in events] == [RolloutStarted, TargetAdded, TargetAdded, TargetAdded, PhaseStarted]
    assert [(e.account_id, e.phase) for e in events if isinstance(e, TargetAdded)] == [
        ("ana", 0),
        ("ben", 0),
        ("chiyo", 1),
    ]
    assert when(START, START) == ()


def test_a_phase_is_passed_at_its_threshold_and_the_last_one_completes() -> None:
    assert kinds(when(report("ana"), START)) == [InstallSucceeded, PhasePassed, PhaseStarted]
    given = (START, report("ana"))
    passed = accepted(when(report("ana"), START))[1]
    assert isinstance(passed, PhasePassed)
    assert (passed.phase, passed.targets, passed.succeeded, passed.passed_by) == (0, 2, 1, THRESHOLDS)
    assert kinds(when(report("chiyo"), *given)) == [InstallSucceeded, PhasePassed, RolloutCompleted]


def test_a_failure_at_the_threshold_pauses() -> None:
    failed, paused = accepted(when(report("ana", False), START))
    assert isinstance(failed, InstallFailed) and failed.error == "disk full"
    assert isinstance(paused, RolloutPaused) and paused.paused_by == THRESHOLDS and "1 of 2" in paused.reason
    below = replace(START, phases=(PILOTS.model_copy(update={"error_percent": 51}), REST))
    assert kinds(when(report("ana", False), below)) == [InstallFailed]


def test_failures_of_a_passed_phase_pause_as_well() -> None:
    assert kinds(when(report("ben", False), START, report("ana"))) == [InstallFailed, RolloutPaused]


def test_while_paused_reports_count_and_phases_wait() -> None:
    assert kinds(when(report("ana"), START, PAUSE)) == [InstallSucceeded]
    assert kinds(when(RESUME, START, PAUSE, report("ana"))) == [RolloutResumed, PhasePassed, PhaseStarted]


def test_resuming_forgives_failures_up_to_then() -> None:
    given = (START, report("ana", False), RESUME)
    assert kinds(when(RESUME, *given[:-1])) == [RolloutResumed]
    assert kinds(when(report("ben", False), *given)) == [InstallFailed, RolloutPaused], "a new one counts"
    assert kinds(when(report("ana"), *given)) == [InstallSucceeded, PhasePassed, PhaseStarted]


def test_a_machine_that_fails_again_after_a_resume_counts_again() -> None:
    given = (START, report("ana", False), RESUME)
    state = of_rollout(*given)
    assert isinstance(state, Running) and (count(state, 0).failed, count(state, 0).counting) == (1, 0)
    failed, paused = accepted(when(report("ana", False), *given))
    assert isinstance(failed, InstallFailed) and isinstance(paused, RolloutPaused) and "1 of 2" in paused.reason
    again = (*given, report("ana", False))
    assert when(report("ana", False), *again) == (), "once for each resume"
    assert kinds(when(report("ana", False), *again, RESUME)) == [InstallFailed, RolloutPaused]
    assert kinds(when(report("ana"), *again)) == [InstallSucceeded], "it is paused"
    assert kinds(when(RESUME, *again, report("ana"))) == [RolloutResumed, PhasePassed, PhaseStarted]


def test_a_repeated_report_changes_nothing() -> None:
    assert when(report("ana"), START, report("ana")) == ()
    assert when(report("ana", False), START, report("ana", False)) == ()
    assert when(report("ana", False), START, report("ana")) == (), "nor a failure after the success"


def test_a_user_has_the_update_once_every_machine_that_reported_has_it() -> None:
    slow = replace(START, phases=(PILOTS.model_copy(update={"success_percent": 100, "error_percent": 100}), REST))
    state = of_rollout(slow, report("ana"), report("ana", False, "laptop"))
    assert isinstance(state, Running) and (count(state, 0).succeeded, count(state, 0).failed) == (0, 1)
    state = of_rollout(slow, report("ana"), report("ana", False, "laptop"), report("ana", True, "laptop"))
    assert isinstance(state, Running) and (count(state, 0).succeeded, count(state, 0).failed) == (1, 0)


def test_a_report_about_somebody_who_is_no_target_is_refused_with_the_reason() -> None:
    assert refused(when(report("stranger"), START), "not-a-target").because == ()
    assert refused(when(report("ana")), "not-a-target").because == ()
    gone = FollowFleet({"ben": "g", "chiyo": "default"}, {"ana": "The user's subscription has no update right."})
    no_right = refused(when(report("ana"), START, gone), "not-a-target")
    assert "no update right" in no_right.reason and [type(e) for e in no_right.because] == [TargetRemoved]


def test_a_report_fits_its_rollout() -> None:
    refused(when(replace(report("ana"), version="1"), START), "version-mismatch")
    refused(when(report("chiyo"), START), "phase-not-started")


def test_targets_follow_the_fleet() -> None:
    follow = FollowFleet({"ana": "g", "dilek": "default"}, {})
    events = accepted(when(follow, START))
    assert [(type(e), e.account_id) for e in events if isinstance(e, TargetAdded | TargetRemoved)] == [
        (TargetRemoved, "ben"),
        (TargetRemoved, "chiyo"),
        (TargetAdded, "dilek"),
    ]
    assert when(follow, START, follow) == ()
    assert when(follow) == ()
    back = accepted(when(FollowFleet(USERS, {}), START, follow))
    assert isinstance(back[-1], TargetAdded), "who comes back is a target again"


def test_who_moves_within_the_rollout_keeps_the_phase() -> None:
    assert when(FollowFleet(USERS | {"ana": "default"}, {}), START) == ()


def test_losing_those_who_lag_may_pass_a_phase() -> None:
    slow = replace(START, phases=(PILOTS.model_copy(update={"success_percent": 100}), REST))
    left = FollowFleet({"ana": "g", "chiyo": "default"}, {})
    assert kinds(when(left, slow, report("ana"))) == [TargetRemoved, PhasePassed, PhaseStarted]


def test_a_phase_without_users_is_passed_where_others_have_users() -> None:
    assert kinds(when(replace(START, targets={"chiyo": "default"}))) == [
        RolloutStarted,
        TargetAdded,
        PhaseStarted,
        PhasePassed,
        PhaseStarted,
    ]
    last = accepted(when(report("ana"), replace(START, targets={"ana": "g"})))
    assert [type(e) for e in last] == [InstallSucceeded, PhasePassed, PhaseStarted, PhasePassed, RolloutCompleted]
    passed = last[3]
    assert isinstance(passed, PhasePassed) and (passed.phase, passed.targets, passed.succeeded) == (1, 0, 0)


def test_without_any_user_a_rollout_waits_in_its_phase() -> None:
    empty = replace(START, targets={})
    assert kinds(when(empty)) == [RolloutStarted, PhaseStarted]
    assert kinds(when(RESUME, empty, PAUSE)) == [RolloutResumed]
    joined = (empty, FollowFleet(USERS, {}))
    assert kinds(when(joined[1], empty)) == [TargetAdded] * 3, "they are in the first phase and the second"
    refused(when(report("chiyo"), *joined), "phase-not-started")
    assert kinds(when(report("ana"), *joined)) == [InstallSucceeded, PhasePassed, PhaseStarted]


def test_users_whose_right_was_gone_for_a_while_come_back_to_the_phase_that_they_were_in() -> None:
    slow = replace(START, phases=(PILOTS.model_copy(update={"success_percent": 100}), REST))
    gone, back = FollowFleet({}, {}), FollowFleet(USERS, {})
    assert kinds(when(gone, slow, report("ana"))) == [TargetRemoved] * 3, "no phase is passed by that"
    assert kinds(when(back, slow, report("ana"), gone)) == [TargetAdded] * 3
    returned = (slow, report("ana"), gone, back)
    state = of_rollout(*returned)
    assert isinstance(state, Running) and state.phase == 0 and not state.completed
    assert (count(state, 0).targets, count(state, 0).succeeded) == (2, 1), "what was installed stays so"
    refused(when(report("chiyo"), *returned), "phase-not-started")
    assert kinds(when(report("ben", False), *returned)) == [InstallFailed, RolloutPaused], "failures still pause it"
    assert kinds(when(report("ben"), *returned)) == [InstallSucceeded, PhasePassed, PhaseStarted]


def test_who_joins_a_completed_rollout_is_a_target_all_the_same() -> None:
    given = (replace(START, targets={"ana": "g"}), report("ana"), FollowFleet(USERS, {}))
    assert kinds(when(given[-1], *given[:-1])) == [TargetAdded] * 2
    state = of_rollout(*given)
    assert isinstance(state, Running) and state.completed
    assert kinds(when(report("chiyo"), *given)) == [InstallSucceeded]
    assert kinds(when(report("chiyo", False), *given)) == [InstallFailed], "nothing is left to pause for"


def test_shares_are_drawn_once_and_add_up() -> None:
    shares = tuple(RolloutPhase(share=share, success_percent=100, error_percent=100) for share in (10, 90))
    users = {f"user-{n}": "g" for n in range(500)}
    state = of_rollout(replace(START, phases=shares, targets=users))
    assert isinstance(state, Running)
    first = sum(target.phase == 0 for target in state.targets.values())
    assert 25 <= first <= 80 and len(state.targets) == 500


def test_a_withdrawal_stops_it_for_good() -> None:
    over = FollowFleet({}, {}, "autodesk withdrew the update: it breaks printing", "autodesk")
    (stopped,) = accepted(when(over, START))
    assert isinstance(stopped, RolloutStopped) and stopped.stopped_by == "autodesk"
    assert when(over, START, over) == ()
    assert "printing" in refused(when(report("ana"), START, over), "rollout-stopped").reason


def test_it_is_paused_resumed_and_stopped_by_people_once() -> None:
    assert accepted(when(PAUSE, START)) == (RolloutPaused(rollout_id="c-1", paused_by="mina", reason="exams"),)
    assert when(PAUSE, START, PAUSE) == ()
    assert accepted(when(RESUME, START, PAUSE)) == (RolloutResumed(rollout_id="c-1", resumed_by="mina"),)
    assert when(RESUME, START) == ()
    assert kinds(when(STOP, START)) == [RolloutStopped]
    assert when(STOP, START, STOP) == ()


@pytest.mark.parametrize("command", [PAUSE, RESUME])
def test_what_is_stopped_stays_so(command: Command) -> None:
    assert [type(e) for e in refused(when(command, START, STOP), "rollout-stopped").because] == [RolloutStopped]


@pytest.mark.parametrize("command", [PAUSE, RESUME, STOP])
def test_there_is_nothing_to_steer_before_it_starts(command: Command) -> None:
    refused(when(command), "rollout-unknown")
