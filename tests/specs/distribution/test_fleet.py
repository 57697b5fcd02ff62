"""Given what is known of a fleet, when a command comes, then facts or a refusal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.distribution.domain.decisions import (
    ApproveUpdate,
    HoldUpdate,
    LapseApproval,
    OfferUpdate,
    RecallUpdate,
    ScheduleUpdate,
)
from services.distribution.domain.entitlements import Fact
from services.distribution.domain.fleet import ActOnWhatIsDue, Command, Event, decide, evolve, next_due, standing
from services.distribution.domain.groups import DEFAULT_GROUP, CreateGroup, PutUserInGroup, RemoveUserFromGroup
from services.distribution.domain.policy import DEFAULT
from shared.eventlog.decision import Decision, Rejected
from shared.events import (
    EntitlementNoted,
    FleetOpened,
    GroupCreated,
    GroupPolicySet,
    MaintenanceWindow,
    NextDecisionDue,
    RolloutPhase,
    UpdateApproved,
    UpdateHeld,
    UpdateRecalled,
    UpdateScheduled,
    UserPutInGroup,
    UserRemovedFromGroup,
)
from shared.events.distribution import Cadence
from tests.specs.distribution.examples import (
    DAY,
    MONDAY,
    NOON,
    SERVED,
    UPDATE,
    accepted,
    approve,
    note,
    of_fleet,
    weekly,
)

PUT = PutUserInGroup("ana", "c", "g", "mina")
HOLD = HoldUpdate(
    contract_id="c", publisher="autodesk", update_id="u", groups=("default",), reason="it breaks our plug-in", by="mina"
)
EXTENSION = OfferUpdate("c", UPDATE.model_copy(update={"kind": "extension"}), NOON)
RECALL = RecallUpdate("c", "autodesk", "u", "it breaks printing")
HALF = RolloutPhase(share=50, success_percent=90, error_percent=10)


def when(command: Command, *, given: tuple[Command, ...] = SERVED) -> Decision[Event]:
    return decide(command, of_fleet(*given))


def refused(decision: Decision[Event], rule: str) -> Rejected:
    assert isinstance(decision, Rejected) and decision.rule == rule, decision
    return decision


def schedule(starts_at: datetime, *groups: str) -> ScheduleUpdate:
    return ScheduleUpdate(
        contract_id="c",
        publisher="autodesk",
        update_id="u",
        groups=groups or ("default",),
        starts_at=starts_at,
        by="mina",
        now=NOON,
        policy=DEFAULT,
    )


# ── Groups ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_fact_opens_the_fleet_of_its_customer() -> None:
    created = GroupCreated(contract_id="c", group_id="g", name="pilots", created_by="mina")
    create = CreateGroup(name=" pilots ", contract_id="c", group_id="g", customer="org", by="mina")
    assert when(create, given=()) == (FleetOpened(contract_id="c", customer="org"), created)
    assert when(create, given=(create,)) == ()


def test_groups_have_names_of_their_own() -> None:
    taken = refused(
        when(CreateGroup(name="pilots", contract_id="c", group_id="other", customer="org", by="mina")),
        "group-name-taken",
    )
    assert [type(event) for event in taken.because] == [GroupCreated]


def test_a_user_is_in_one_group_at_most_and_otherwise_in_the_default_one() -> None:
    other = CreateGroup(name="others", contract_id="c", group_id="h", customer="org", by="mina")
    state = of_fleet(*SERVED, other, PUT, replace(PUT, group_id="h"))
    assert (state.groups.group_of("ana"), state.groups.group_of("ben")) == ("h", DEFAULT_GROUP)
    assert when(PUT, given=(*SERVED, PUT)) == ()
    (removed,) = accepted(when(RemoveUserFromGroup("c", "g", "ana", "mina"), given=(*SERVED, PUT)))
    assert removed == UserRemovedFromGroup(contract_id="c", group_id="g", account_id="ana", removed_by="mina")
    assert when(replace(PUT, group_id=DEFAULT_GROUP), given=(*SERVED, PUT)) == (removed,)
    assert when(RemoveUserFromGroup("c", "g", "ben", "mina"), given=(*SERVED, PUT)) == ()
    assert when(RemoveUserFromGroup("c", "default", "ben", "mina")) == ()


def test_only_managed_users_are_put_and_only_in_groups_that_exist() -> None:
    assert refused(when(replace(PUT, account_id="stranger")), "user-not-managed").because == ()
    refused(when(replace(PUT, group_id="none")), "group-unknown")


def test_whoever_lost_the_seat_is_told_what_took_it() -> None:
    elsewhere = (note("pool_opened", sub="t"), note("seat_assigned", "ana", sub="t"))
    unassigned = (*SERVED, note("seat_unassigned", "ana"))
    for given, facts in (
        (unassigned, ["seat_unassigned"]),
        ((*unassigned, note("pool_ended")), ["seat_unassigned"]),
        ((*SERVED, note("pool_ended")), ["pool_ended"]),
        ((*unassigned, *elsewhere, note("pool_ended", sub="t")), ["seat_unassigned", "pool_ended"]),
        ((*unassigned, note("seat_assigned", "ana"), note("pool_ended")), ["pool_ended"]),
    ):
        because = refused(when(PUT, given=given), "user-not-managed").because
        assert [each.fact for each in because if isinstance(each, EntitlementNoted)] == facts
    assert accepted(when(PUT, given=(*unassigned, *elsewhere))), "one of two is left"
    assert when(replace(note("seat_unassigned", "ana"), because="again"), given=unassigned) == (), "lost once"


# ── Policies ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cadence", "severity", "published", "first"),
    [
        ("weekly", "normal", "2026-11-19", "2026-11-23"),
        ("weekly", "normal", "2026-11-20", "2026-11-30"),
        ("weekly", "critical", "2026-11-21", "2026-11-23"),
        ("weekly", "critical", "2026-11-22", "2026-11-30"),
        ("monthly", "normal", "2026-11-16", "2026-12-01"),
        ("monthly", "important", "2026-11-17", "2027-01-01"),
        ("monthly", "critical", "2026-11-19", "2026-11-23"),
        ("monthly", "critical", "2026-11-20", "2026-11-30"),
        ("quarterly", "normal", "2026-11-17", "2027-01-01"),
        ("quarterly", "critical", "2026-11-18", "2027-04-01"),
    ],
)
def test_a_cadence_installs_updates_that_are_so_old_at_the_start_of_its_next_period(
    cadence: Cadence, severity: str, published: str, first: str
) -> None:
    out, due = (datetime.fromisoformat(f"{day}T00:00Z") for day in (published, first))
    offered = OfferUpdate("c", UPDATE.model_copy(update={"severity": severity, "published_at": out}), out)
    given = (*SERVED[:4], offered, weekly(cadence=cadence, now=out))
    assert of_fleet(*given).wake == due
    assert when(ActOnWhatIsDue("c", due - timedelta(seconds=1)), given=given) == ()
    approved, next_ = accepted(when(ActOnWhatIsDue("c", due), given=given))
    assert isinstance(approved, UpdateApproved)
    assert (approved.groups, approved.approved_by, len(approved.phases)) == (("default",), f"policy:{cadence}", 1)
    assert next_ == NextDecisionDue(contract_id="c", customer="org", due=None)
    assert when(ActOnWhatIsDue("c", due), given=(*given, ActOnWhatIsDue("c", due))) == ()


def test_off_installs_nothing_and_a_changed_policy_waits_anew() -> None:
    assert of_fleet(*SERVED, weekly(cadence="off")).wake is None
    assert of_fleet(*SERVED, weekly(), weekly(cadence="off")).wake is None
    assert of_fleet(*SERVED, weekly(), weekly(cadence="monthly")).wake == datetime(2027, 1, 1, tzinfo=UTC)
    late = MONDAY + 70 * DAY
    assert of_fleet(*SERVED, weekly(now=late)).wake == late, "not before it was set"
    assert of_fleet(*SERVED, weekly(now=late + timedelta(seconds=1))).wake == late + 7 * DAY
    assert when(weekly(now=late), given=(*SERVED, weekly())) == (), "the same again changes nothing"
    assert of_fleet(*SERVED, weekly("g")).wake == MONDAY


def test_a_policy_from_before_there_were_periods_acts_as_soon_as_the_update_is_old_enough() -> None:
    set_today = of_fleet(*SERVED, weekly()).groups.policies["default"]
    policy = set_today.model_copy(update={"period": None, "critical_period": None})
    assert next_due(evolve(of_fleet(*SERVED), policy)) == NOON + 4 * DAY


def test_a_policy_asks_nothing_where_somebody_decided() -> None:
    for decided in (approve(), HOLD, schedule(NOON + 90 * DAY)):
        state = of_fleet(*SERVED, decided, weekly())
        assert [type(e) for e in accepted(decide(ActOnWhatIsDue("c", NOON + 9 * DAY), state))] == []
    state = of_fleet(*SERVED, approve(), LapseApproval("c", "c-1", "stopped"), weekly())
    assert state.wake is None


def test_a_policy_never_installs_extensions_nor_what_was_withdrawn() -> None:
    assert of_fleet(*SERVED[:4], EXTENSION, weekly()).wake is None
    assert of_fleet(*SERVED, weekly(), RECALL).wake is None


def test_a_policy_keeps_its_windows() -> None:
    window = MaintenanceWindow(weekday="monday", starts="22:00", minutes=240, time_zone="UTC")
    set_ = replace(weekly(), windows=(window,))
    assert any(isinstance(event, GroupPolicySet) and event.windows == (window,) for event in accepted(when(set_)))
    refused(when(weekly("none")), "group-unknown")


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_approval_starts_a_rollout_once() -> None:
    (approved,) = accepted(when(approve()))
    assert isinstance(approved, UpdateApproved)
    assert (approved.rollout_id, approved.number, approved.approved_by) == ("c-1", 1, "mina")
    assert [(p.share, p.success_percent, p.error_percent) for p in approved.phases] == [(100, 90, 10)]
    assert when(approve(), given=(*SERVED, approve())) == ()
    partly = refused(when(approve("g", "default"), given=(*SERVED, approve())), "update-already-approved")
    assert partly.because == (approved,)
    (second,) = accepted(when(approve("g"), given=(*SERVED, approve())))
    assert isinstance(second, UpdateApproved) and second.rollout_id == "c-2"


def test_what_is_not_offered_or_was_withdrawn_is_not_decided_about() -> None:
    commands: tuple[Command, ...] = (approve(), HOLD, schedule(NOON + DAY))
    for command in commands:
        refused(when(command, given=SERVED[:4]), "update-not-available")
        assert isinstance(
            refused(when(command, given=(*SERVED, RECALL)), "update-withdrawn").because[0], UpdateRecalled
        )


def test_what_is_for_a_product_whose_seats_have_ended_is_not_decided_about() -> None:
    given = (*SERVED, note("term_over"))
    assert accepted(when(approve(), given=given)), "the term may be renewed"
    ended = (*given, note("pool_ended"))
    commands: tuple[Command, ...] = (approve(), HOLD, schedule(NOON + DAY))
    for command in commands:
        because = refused(when(command, given=ended), "product-not-owned").because
        assert [e.fact for e in because if isinstance(e, EntitlementNoted)] == ["pool_ended"]
        assert accepted(when(command, given=(*ended, note("pool_opened", sub="t")))), "bought again"
        assert accepted(when(command, given=(note("pool_opened", sub="t"), *ended))), "one of two is left"


def test_extensions_are_decided_about_during_a_term_only_as_they_are_shown() -> None:
    offered = (*SERVED[:4], EXTENSION)
    over = (*offered, note("term_over"))
    soon = (note("pool_opened", starts=(NOON + 3 * DAY).date()), EXTENSION)
    assert when(replace(note("term_over"), because="suspended"), given=over) == (), "over once"
    commands: tuple[Command, ...] = (approve(), HOLD, schedule(NOON + DAY))
    for command in commands:
        assert accepted(when(command, given=offered))
        for given, fact in ((over, "term_over"), (soon, "pool_opened")):
            because = refused(when(command, given=given), "term-not-active").because
            assert [each.fact for each in because if isinstance(each, EntitlementNoted)] == [fact]
        assert accepted(when(command, given=(*over, note("term_renewed"))))
        assert accepted(when(command, given=(*over, note("pool_opened", sub="t")))), "one of two is active"
        assert accepted(when(command, given=(*soon, ActOnWhatIsDue("c", NOON + 3 * DAY))))
        refused(when(command, given=(*over, note("pool_ended"))), "product-not-owned")
        left = (*over, note("pool_ended"), note("pool_opened", sub="t", starts=(NOON + 3 * DAY).date()))
        because = refused(when(command, given=left), "term-not-active").because
        assert [each.subscription_id for each in because if isinstance(each, EntitlementNoted)] == ["t"]


def test_an_extensions_schedule_waits_for_the_next_term() -> None:
    over = (*SERVED[:4], EXTENSION, schedule(NOON + DAY), note("term_over"))
    assert of_fleet(*over).wake is None and when(ActOnWhatIsDue("c", NOON + 9 * DAY), given=over) == ()
    renewed = (*over, note("term_renewed"))
    assert of_fleet(*renewed).wake == NOON + DAY
    assert isinstance(accepted(when(ActOnWhatIsDue("c", NOON + 9 * DAY), given=renewed))[0], UpdateApproved)


def test_policies_and_schedules_wait_while_the_product_is_not_owned() -> None:
    for decided in (weekly(), schedule(MONDAY)):
        given = (*SERVED, decided)
        assert of_fleet(*given).wake == MONDAY
        _, due = accepted(when(note("pool_ended"), given=given))
        assert due == NextDecisionDue(contract_id="c", customer="org", due=None), "the timer is taken back"
        ended = (*given, note("pool_ended"))
        assert when(ActOnWhatIsDue("c", NOON + 9 * DAY), given=ended) == ()
        again = (*ended, note("pool_opened", sub="t", now=NOON + 9 * DAY))
        approved = accepted(when(ActOnWhatIsDue("c", NOON + 9 * DAY), given=again))[0]
        assert isinstance(approved, UpdateApproved), "it is due since long"


def test_groups_are_named_once_and_exist() -> None:
    refused(when(approve("none")), "group-unknown")
    refused(when(replace(approve(), groups=())), "groups-malformed")


@pytest.mark.parametrize(
    "phases",
    [
        (HALF,),
        (HALF, HALF, HALF),
        (HALF.model_copy(update={"share": 100, "success_percent": 0}),),
        (HALF, HALF.model_copy(update={"groups": ("g",)})),
        (HALF.model_copy(update={"share": 0, "groups": ("g",)}),),
    ],
)
def test_phases_share_the_users_out(phases: tuple[RolloutPhase, ...]) -> None:
    refused(when(replace(approve("g", "default"), phases=phases)), "phases-malformed")
    by_group = tuple(HALF.model_copy(update={"share": 0, "groups": (group,)}) for group in ("g", "default"))
    for good in ((HALF, HALF), by_group):
        assert accepted(when(replace(approve("g", "default"), phases=good)))


def test_holding_takes_the_group_out_of_its_rollout() -> None:
    (held,) = accepted(when(HOLD, given=(*SERVED, approve())))
    assert isinstance(held, UpdateHeld) and (held.rollouts, held.held_by) == ((1,), "mina")
    assert when(HOLD, given=(*SERVED, HOLD)) == ()
    state = of_fleet(*SERVED, PUT, approve("g", "default"), HOLD)
    assert standing(state, 1).targets == {"ana": "g"}
    over = standing(of_fleet(*SERVED, approve(), HOLD), 1)
    assert over.over and over.over_by == "mina" and not over.targets
    later = standing(of_fleet(*SERVED, approve(), schedule(NOON + DAY)), 1)
    assert later.over and later.over_by == "mina"
    anew = of_fleet(*SERVED, approve(), HOLD, approve(by="noor"))
    assert standing(anew, 1).over_by == "noor" and set(standing(anew, 2).targets) == {"ana", "ben"}


def test_a_schedule_starts_its_rollout_when_it_is_due() -> None:
    given = (*SERVED, schedule(NOON + DAY, "default", "g"))
    assert of_fleet(*given).wake == NOON + DAY
    assert when(ActOnWhatIsDue("c", NOON), given=given) == ()
    approved, _ = accepted(when(ActOnWhatIsDue("c", NOON + DAY), given=given))
    assert isinstance(approved, UpdateApproved)
    assert (approved.groups, approved.approved_by) == (("default", "g"), "mina")
    assert when(given[-1], given=given) == ()
    moved = accepted(when(schedule(NOON + 2 * DAY, "default", "g"), given=given))
    assert [type(event) for event in moved] == [UpdateScheduled, NextDecisionDue]


def test_a_schedule_whose_groups_were_decided_about_since_is_for_the_others() -> None:
    by_group = tuple(HALF.model_copy(update={"share": 0, "groups": (group,)}) for group in ("g", "default"))
    given = (*SERVED, replace(schedule(NOON + DAY, "default", "g"), phases=by_group), HOLD)
    approved, _ = accepted(when(ActOnWhatIsDue("c", NOON + DAY), given=given))
    assert isinstance(approved, UpdateApproved)
    assert (approved.groups, approved.phases) == (("g",), by_group[:1])


def test_a_schedule_names_an_instant_to_come() -> None:
    refused(when(schedule(NOON)), "schedule-in-the-past")


def test_a_stopped_rollouts_approval_lapses_and_can_be_given_anew() -> None:
    lapse = LapseApproval("c", "c-1", "wrong version")
    given = (*SERVED, approve(), lapse)
    assert when(lapse, given=given) == ()
    (anew,) = accepted(when(approve(), given=given))
    assert isinstance(anew, UpdateApproved) and anew.rollout_id == "c-2"


# ── Entitlement ────────────────────────────────────────────────────────────────────────────────────────


def test_targets_hold_a_seat_in_an_active_term_with_the_update_right() -> None:
    given = (*SERVED, approve())
    assert standing(of_fleet(*given), 1).targets == {"ana": "default", "ben": "default"}
    assert standing(of_fleet(*given, note("seat_unassigned", "ben")), 1).targets == {"ana": "default"}
    pairs: tuple[tuple[Fact, Fact], ...] = (("right_lost", "right_granted"), ("term_over", "term_renewed"))
    for lost, back in pairs:
        without = standing(of_fleet(*given, note(lost)), 1)
        assert not without.targets and set(without.reasons) == {"ana", "ben"}
        assert standing(of_fleet(*given, note(lost), note(back)), 1).targets
    ended = of_fleet(*given, note("pool_ended"))
    assert not standing(ended, 1).targets and not ended.entitlements.managed("ana")


def test_facts_of_different_streams_come_in_any_order() -> None:
    late = (note("right_granted"), note("pool_opened"), note("seat_assigned", "ana"), SERVED[4], approve())
    assert standing(of_fleet(*late), 1).targets == {"ana": "default"}


def test_what_says_nothing_new_is_not_noted() -> None:
    for known in SERVED[:4]:
        assert when(known) == ()
    assert when(note("right_lost", sub="unheard"), given=()) == ()


def test_a_fact_names_the_rollouts_that_it_concerns() -> None:
    given = (*SERVED, approve())
    (noted,) = accepted(when(note("seat_assigned", "chiyo"), given=given))
    assert isinstance(noted, EntitlementNoted) and noted.rollouts == (1,)
    (put,) = accepted(when(PUT, given=given))
    assert isinstance(put, UserPutInGroup) and put.rollouts == (1,)
    (recalled,) = accepted(when(RECALL, given=given))
    assert isinstance(recalled, UpdateRecalled) and recalled.rollouts == (1,)
    assert when(RECALL, given=(*given, RECALL)) == ()


def test_a_term_that_is_to_come_begins_on_its_day() -> None:
    later = note("pool_opened", starts=(NOON + 3 * DAY).date())
    given = (later, *SERVED[1:5], approve())
    begins = (NOON + 3 * DAY).replace(hour=0)
    assert not standing(of_fleet(*given), 1).targets
    assert of_fleet(*given).wake == begins
    assert set(standing(of_fleet(*given, ActOnWhatIsDue("c", begins)), 1).targets) == {"ana", "ben"}


def test_another_publishers_update_is_not_for_this_product() -> None:
    other = UPDATE.model_copy(update={"publisher": "another"})
    given = (*SERVED, OfferUpdate("c", other, NOON))
    approval = ApproveUpdate(
        contract_id="c", publisher="another", update_id="u", groups=("default",), by="mina", policy=DEFAULT
    )
    assert refused(when(approval, given=given), "product-not-owned").because == ()


def test_one_of_two_subscriptions_is_enough() -> None:
    given = (*SERVED, note("pool_opened", sub="t"), note("seat_assigned", "ana", sub="t"), approve())
    assert set(standing(of_fleet(*given), 1).targets) == {"ana", "ben"}
    assert not standing(of_fleet(*given, note("right_lost")), 1).targets


def test_a_withdrawal_is_over_for_every_rollout() -> None:
    over = standing(of_fleet(*SERVED, approve(), RECALL), 1)
    assert "it breaks printing" in over.over and over.over_by == "autodesk" and not over.targets
    early = of_fleet(RECALL, *SERVED)
    refused(decide(approve(), early), "update-withdrawn")
