"""Given what is known of a fleet, when a command comes, then facts or a refusal."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from services.distribution.domain.decisions import (
    ApproveUpdate,
    HoldUpdate,
    LapseApproval,
    OfferUpdate,
)
from services.distribution.domain.entitlements import Fact
from services.distribution.domain.fleet import FLEET, ActOnWhatIsDue, Command, evolve, next_due, standing
from services.distribution.domain.groups import DEFAULT_GROUP, NOBODY, CreateGroup, PutUserInGroup, RemoveUserFromGroup
from services.distribution.domain.policy import DEFAULT
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
from tests.examples.distribution import (
    DAY,
    MONDAY,
    NOON,
    SERVED,
    UPDATE,
    approve,
    note,
    recall,
    schedule,
    weekly,
)
from tests.spec import given

PUT = PutUserInGroup("ana", "c", "g", "mina")
HOLD = HoldUpdate(
    contract_id="c", publisher="autodesk", update_id="u", groups=("default",), reason="it breaks our plug-in", by="mina"
)
EXTENSION = OfferUpdate("c", UPDATE.model_copy(update={"kind": "extension"}), NOON)
RECALL = recall("u")
HALF = RolloutPhase(share=50, success_percent=90, error_percent=10)


# ── Groups ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_fact_opens_the_fleet_of_its_customer() -> None:
    created = GroupCreated(contract_id="c", group_id="g", name="pilots", created_by="mina")
    create = CreateGroup(name=" pilots ", contract_id="c", group_id="g", customer="org", by="mina")
    given(FLEET).when(create).then(FleetOpened(contract_id="c", customer="org"), created)
    given(FLEET).after(create).when(create).then_nothing()


def test_groups_have_names_of_their_own() -> None:
    create = CreateGroup(name="pilots", contract_id="c", group_id="other", customer="org", by="mina")
    given(FLEET).after(*SERVED).when(create).then_refused("group-name-taken", because=[GroupCreated])


def test_a_user_is_in_one_group_at_most_and_otherwise_in_the_default_one() -> None:
    other = CreateGroup(name="others", contract_id="c", group_id="h", customer="org", by="mina")
    state = given(FLEET).after(*SERVED, other, PUT, replace(PUT, group_id="h")).state
    assert (state.groups.group_of("ana"), state.groups.group_of("ben")) == ("h", DEFAULT_GROUP)
    given(FLEET).after(*SERVED, PUT).when(PUT).then_nothing()
    (removed,) = given(FLEET).after(*SERVED, PUT).when(RemoveUserFromGroup("c", "g", "ana", "mina")).then_accepted()
    assert removed == UserRemovedFromGroup(contract_id="c", group_id="g", account_id="ana", removed_by="mina")
    given(FLEET).after(*SERVED, PUT).when(replace(PUT, group_id=DEFAULT_GROUP)).then(removed)
    given(FLEET).after(*SERVED, PUT).when(RemoveUserFromGroup("c", "g", "ben", "mina")).then_nothing()
    given(FLEET).after(*SERVED).when(RemoveUserFromGroup("c", "default", "ben", "mina")).then_nothing()


def test_only_managed_users_are_put_and_only_in_groups_that_exist() -> None:
    given(FLEET).after(*SERVED).when(replace(PUT, account_id="stranger")).then_refused("user-not-managed")
    given(FLEET).after(*SERVED).when(replace(PUT, account_id=NOBODY)).then_refused("user-not-managed")
    given(FLEET).after(*SERVED).when(replace(PUT, group_id="none")).then_refused("group-unknown")


def test_whoever_lost_the_seat_is_told_what_took_it() -> None:
    elsewhere = (note("pool_opened", sub="t"), note("seat_assigned", "ana", sub="t"))
    unassigned = (*SERVED, note("seat_unassigned", "ana"))
    for history, facts in (
        (unassigned, ["seat_unassigned"]),
        ((*unassigned, note("pool_ended")), ["seat_unassigned"]),
        ((*SERVED, note("pool_ended")), ["pool_ended"]),
        ((*unassigned, *elsewhere, note("pool_ended", sub="t")), ["seat_unassigned", "pool_ended"]),
        ((*unassigned, note("seat_assigned", "ana"), note("pool_ended")), ["pool_ended"]),
    ):
        because = given(FLEET).after(*history).when(PUT).then_refused("user-not-managed", because=None).because
        assert [each.fact for each in because if isinstance(each, EntitlementNoted)] == facts
    assert given(FLEET).after(*unassigned, *elsewhere).when(PUT).then_accepted(), "one of two is left"
    given(FLEET).after(*unassigned).when(
        replace(note("seat_unassigned", "ana"), because="again")
    ).then_nothing()  # lost once


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
    history = (*SERVED[:4], offered, weekly(cadence=cadence, now=out))
    assert given(FLEET).after(*history).state.wake == due
    given(FLEET).after(*history).when(ActOnWhatIsDue("c", due - timedelta(seconds=1))).then_nothing()
    approved, next_ = given(FLEET).after(*history).when(ActOnWhatIsDue("c", due)).then_accepted()
    assert isinstance(approved, UpdateApproved)
    assert (approved.groups, approved.approved_by, len(approved.phases)) == (("default",), f"policy:{cadence}", 1)
    assert next_ == NextDecisionDue(contract_id="c", customer="org", due=None)
    given(FLEET).after(*history, ActOnWhatIsDue("c", due)).when(ActOnWhatIsDue("c", due)).then_nothing()


def test_off_installs_nothing_and_a_changed_policy_waits_anew() -> None:
    assert given(FLEET).after(*SERVED, weekly(cadence="off")).state.wake is None
    assert given(FLEET).after(*SERVED, weekly(), weekly(cadence="off")).state.wake is None
    assert given(FLEET).after(*SERVED, weekly(), weekly(cadence="monthly")).state.wake == datetime(
        2027, 1, 1, tzinfo=UTC
    )
    late = MONDAY + 70 * DAY
    assert given(FLEET).after(*SERVED, weekly(now=late)).state.wake == late, "not before it was set"
    assert given(FLEET).after(*SERVED, weekly(now=late + timedelta(seconds=1))).state.wake == late + 7 * DAY
    given(FLEET).after(*SERVED, weekly()).when(weekly(now=late)).then_nothing()  # the same again changes nothing
    assert given(FLEET).after(*SERVED, weekly("g")).state.wake == MONDAY


def test_a_policy_from_before_there_were_periods_acts_as_soon_as_the_update_is_old_enough() -> None:
    set_today = given(FLEET).after(*SERVED, weekly()).state.groups.policies["default"]
    policy = set_today.model_copy(update={"period": None, "critical_period": None})
    assert next_due(evolve(given(FLEET).after(*SERVED).state, policy)) == NOON + 4 * DAY


def test_a_policy_asks_nothing_where_somebody_decided() -> None:
    for decided in (approve(), HOLD, schedule(NOON + 90 * DAY)):
        given(FLEET).after(*SERVED, decided, weekly()).when(ActOnWhatIsDue("c", NOON + 9 * DAY)).then_nothing()
    state = given(FLEET).after(*SERVED, approve(), LapseApproval("c", "c-1", "stopped"), weekly()).state
    assert state.wake is None


def test_a_policy_never_installs_extensions_nor_what_was_withdrawn() -> None:
    assert given(FLEET).after(*SERVED[:4], EXTENSION, weekly()).state.wake is None
    assert given(FLEET).after(*SERVED, weekly(), RECALL).state.wake is None


def test_a_policy_keeps_its_windows() -> None:
    window = MaintenanceWindow(weekday="monday", starts="22:00", minutes=240, time_zone="UTC")
    set_ = replace(weekly(), windows=(window,))
    assert any(
        isinstance(event, GroupPolicySet) and event.windows == (window,)
        for event in given(FLEET).after(*SERVED).when(set_).then_accepted()
    )
    given(FLEET).after(*SERVED).when(weekly("none")).then_refused("group-unknown")


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_approval_starts_a_rollout_once() -> None:
    (approved,) = given(FLEET).after(*SERVED).when(approve()).then_accepted()
    assert isinstance(approved, UpdateApproved)
    assert (approved.rollout_id, approved.number, approved.approved_by) == ("c-1", 1, "mina")
    assert [(p.share, p.success_percent, p.error_percent) for p in approved.phases] == [(100, 90, 10)]
    given(FLEET).after(*SERVED, approve()).when(approve()).then_nothing()
    partly = given(FLEET).after(*SERVED, approve()).when(approve("g", "default"))
    partly.then_refused("update-already-approved", because=[approved])
    (second,) = given(FLEET).after(*SERVED, approve()).when(approve("g")).then_accepted()
    assert isinstance(second, UpdateApproved) and second.rollout_id == "c-2"


def test_what_is_not_offered_or_was_withdrawn_is_not_decided_about() -> None:
    commands: tuple[Command, ...] = (approve(), HOLD, schedule(NOON + DAY))
    for command in commands:
        given(FLEET).after(*SERVED[:4]).when(command).then_refused("update-not-available")
        recalled = given(FLEET).after(*SERVED, RECALL)
        recalled.when(command).then_refused("update-withdrawn", because=[UpdateRecalled])


def test_what_is_for_a_product_whose_seats_have_ended_is_not_decided_about() -> None:
    history = (*SERVED, note("term_over"))
    assert given(FLEET).after(*history).when(approve()).then_accepted(), "the term may be renewed"
    ended = (*history, note("pool_ended"))
    commands: tuple[Command, ...] = (approve(), HOLD, schedule(NOON + DAY))
    for command in commands:
        because = given(FLEET).after(*ended).when(command).then_refused("product-not-owned", because=None).because
        assert [e.fact for e in because if isinstance(e, EntitlementNoted)] == ["pool_ended"]
        assert given(FLEET).after(*ended, note("pool_opened", sub="t")).when(command).then_accepted(), "bought again"
        assert given(FLEET).after(note("pool_opened", sub="t"), *ended).when(command).then_accepted(), (
            "one of two is left"
        )


def test_extensions_are_decided_about_during_a_term_only_as_they_are_shown() -> None:
    offered = (*SERVED[:4], EXTENSION)
    over = (*offered, note("term_over"))
    soon = (note("pool_opened", starts=(NOON + 3 * DAY).date()), EXTENSION)
    given(FLEET).after(*over).when(replace(note("term_over"), because="suspended")).then_nothing()  # over once
    commands: tuple[Command, ...] = (approve(), HOLD, schedule(NOON + DAY))
    for command in commands:
        assert given(FLEET).after(*offered).when(command).then_accepted()
        for history, fact in ((over, "term_over"), (soon, "pool_opened")):
            because = given(FLEET).after(*history).when(command).then_refused("term-not-active", because=None).because
            assert [each.fact for each in because if isinstance(each, EntitlementNoted)] == [fact]
        assert given(FLEET).after(*over, note("term_renewed")).when(command).then_accepted()
        assert given(FLEET).after(*over, note("pool_opened", sub="t")).when(command).then_accepted(), (
            "one of two is active"
        )
        assert given(FLEET).after(*soon, ActOnWhatIsDue("c", NOON + 3 * DAY)).when(command).then_accepted()
        given(FLEET).after(*over, note("pool_ended")).when(command).then_refused(
            "product-not-owned", because=[EntitlementNoted]
        )
        left = (*over, note("pool_ended"), note("pool_opened", sub="t", starts=(NOON + 3 * DAY).date()))
        because = given(FLEET).after(*left).when(command).then_refused("term-not-active", because=None).because
        assert [each.subscription_id for each in because if isinstance(each, EntitlementNoted)] == ["t"]


def test_an_extensions_schedule_waits_for_the_next_term() -> None:
    over = (*SERVED[:4], EXTENSION, schedule(NOON + DAY), note("term_over"))
    assert (
        given(FLEET).after(*over).state.wake is None
        and given(FLEET).after(*over).when(ActOnWhatIsDue("c", NOON + 9 * DAY)).decision == ()
    )
    renewed = (*over, note("term_renewed"))
    assert given(FLEET).after(*renewed).state.wake == NOON + DAY
    approved = given(FLEET).after(*renewed).when(ActOnWhatIsDue("c", NOON + 9 * DAY)).then_accepted()[0]
    assert isinstance(approved, UpdateApproved)


def test_policies_and_schedules_wait_while_the_product_is_not_owned() -> None:
    for decided in (weekly(), schedule(MONDAY)):
        history = (*SERVED, decided)
        assert given(FLEET).after(*history).state.wake == MONDAY
        _, due = given(FLEET).after(*history).when(note("pool_ended")).then_accepted()
        assert due == NextDecisionDue(contract_id="c", customer="org", due=None), "the timer is taken back"
        ended = (*history, note("pool_ended"))
        given(FLEET).after(*ended).when(ActOnWhatIsDue("c", NOON + 9 * DAY)).then_nothing()
        again = (*ended, note("pool_opened", sub="t", now=NOON + 9 * DAY))
        approved = given(FLEET).after(*again).when(ActOnWhatIsDue("c", NOON + 9 * DAY)).then_accepted()[0]
        assert isinstance(approved, UpdateApproved), "it is due since long"


def test_groups_are_named_once_and_exist() -> None:
    given(FLEET).after(*SERVED).when(approve("none")).then_refused("group-unknown")
    given(FLEET).after(*SERVED).when(replace(approve(), groups=())).then_refused("groups-malformed")


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
    given(FLEET).after(*SERVED).when(replace(approve("g", "default"), phases=phases)).then_refused("phases-malformed")
    by_group = tuple(HALF.model_copy(update={"share": 0, "groups": (group,)}) for group in ("g", "default"))
    for good in ((HALF, HALF), by_group):
        assert given(FLEET).after(*SERVED).when(replace(approve("g", "default"), phases=good)).then_accepted()


def test_holding_takes_the_group_out_of_its_rollout() -> None:
    (held,) = given(FLEET).after(*SERVED, approve()).when(HOLD).then_accepted()
    assert isinstance(held, UpdateHeld) and (held.rollouts, held.held_by) == ((1,), "mina")
    given(FLEET).after(*SERVED, HOLD).when(HOLD).then_nothing()
    state = given(FLEET).after(*SERVED, PUT, approve("g", "default"), HOLD).state
    assert standing(state, 1).targets == {"ana": "g"}
    over = standing(given(FLEET).after(*SERVED, approve(), HOLD).state, 1)
    assert over.over and over.over_by == "mina" and not over.targets
    later = standing(given(FLEET).after(*SERVED, approve(), schedule(NOON + DAY)).state, 1)
    assert later.over and later.over_by == "mina"
    anew = given(FLEET).after(*SERVED, approve(), HOLD, approve(by="noor")).state
    assert standing(anew, 1).over_by == "noor" and set(standing(anew, 2).targets) == {"ana", "ben"}


def test_a_schedule_starts_its_rollout_when_it_is_due() -> None:
    history = (*SERVED, schedule(NOON + DAY, "default", "g"))
    assert given(FLEET).after(*history).state.wake == NOON + DAY
    given(FLEET).after(*history).when(ActOnWhatIsDue("c", NOON)).then_nothing()
    approved, _ = given(FLEET).after(*history).when(ActOnWhatIsDue("c", NOON + DAY)).then_accepted()
    assert isinstance(approved, UpdateApproved)
    assert (approved.groups, approved.approved_by) == (("default", "g"), "mina")
    given(FLEET).after(*history).when(history[-1]).then_nothing()
    moved = given(FLEET).after(*history).when(schedule(NOON + 2 * DAY, "default", "g")).then_accepted()
    assert [type(event) for event in moved] == [UpdateScheduled, NextDecisionDue]


def test_a_schedule_whose_groups_were_decided_about_since_is_for_the_others() -> None:
    by_group = tuple(HALF.model_copy(update={"share": 0, "groups": (group,)}) for group in ("g", "default"))
    history = (*SERVED, replace(schedule(NOON + DAY, "default", "g"), phases=by_group), HOLD)
    approved, _ = given(FLEET).after(*history).when(ActOnWhatIsDue("c", NOON + DAY)).then_accepted()
    assert isinstance(approved, UpdateApproved)
    assert (approved.groups, approved.phases) == (("g",), by_group[:1])


def test_a_schedule_names_an_instant_to_come() -> None:
    given(FLEET).after(*SERVED).when(schedule(NOON)).then_refused("schedule-in-the-past")


def test_a_stopped_rollouts_approval_lapses_and_can_be_given_anew() -> None:
    lapse = LapseApproval("c", "c-1", "wrong version")
    history = (*SERVED, approve(), lapse)
    given(FLEET).after(*history).when(lapse).then_nothing()
    (anew,) = given(FLEET).after(*history).when(approve()).then_accepted()
    assert isinstance(anew, UpdateApproved) and anew.rollout_id == "c-2"


# ── Entitlement ────────────────────────────────────────────────────────────────────────────────────────


def test_targets_hold_a_seat_in_an_active_term_with_the_update_right() -> None:
    history = (*SERVED, approve())
    assert standing(given(FLEET).after(*history).state, 1).targets == {"ana": "default", "ben": "default"}
    assert standing(given(FLEET).after(*history, note("seat_unassigned", "ben")).state, 1).targets == {"ana": "default"}
    pairs: tuple[tuple[Fact, Fact], ...] = (("right_lost", "right_granted"), ("term_over", "term_renewed"))
    for lost, back in pairs:
        without = standing(given(FLEET).after(*history, note(lost)).state, 1)
        assert not without.targets and set(without.reasons) == {"ana", "ben"}
        assert standing(given(FLEET).after(*history, note(lost), note(back)).state, 1).targets
    ended = given(FLEET).after(*history, note("pool_ended")).state
    assert not standing(ended, 1).targets and not ended.entitlements.managed("ana")


def test_facts_of_different_streams_come_in_any_order() -> None:
    late = (note("right_granted"), note("pool_opened"), note("seat_assigned", "ana"), SERVED[4], approve())
    assert standing(given(FLEET).after(*late).state, 1).targets == {"ana": "default"}


def test_what_says_nothing_new_is_not_noted() -> None:
    for known in SERVED[:4]:
        given(FLEET).after(*SERVED).when(known).then_nothing()
    given(FLEET).when(note("right_lost", sub="unheard")).then_nothing()


def test_a_fact_names_the_rollouts_that_it_concerns() -> None:
    history = (*SERVED, approve())
    (noted,) = given(FLEET).after(*history).when(note("seat_assigned", "chiyo")).then_accepted()
    assert isinstance(noted, EntitlementNoted) and noted.rollouts == (1,)
    (put,) = given(FLEET).after(*history).when(PUT).then_accepted()
    assert isinstance(put, UserPutInGroup) and put.rollouts == (1,)
    (recalled,) = given(FLEET).after(*history).when(RECALL).then_accepted()
    assert isinstance(recalled, UpdateRecalled) and recalled.rollouts == (1,)
    given(FLEET).after(*history, RECALL).when(RECALL).then_nothing()


def test_a_term_that_is_to_come_begins_on_its_day() -> None:
    later = note("pool_opened", starts=(NOON + 3 * DAY).date())
    history = (later, *SERVED[1:5], approve())
    begins = (NOON + 3 * DAY).replace(hour=0)
    assert not standing(given(FLEET).after(*history).state, 1).targets
    assert given(FLEET).after(*history).state.wake == begins
    assert set(standing(given(FLEET).after(*history, ActOnWhatIsDue("c", begins)).state, 1).targets) == {"ana", "ben"}


def test_a_term_begins_at_midnight_in_the_customers_time_zone() -> None:
    later = replace(note("pool_opened", starts=date(2026, 12, 1)), time_zone="Pacific/Auckland")
    assert given(FLEET).after(later).state.wake == datetime(2026, 11, 30, 11, tzinfo=UTC)


def test_another_publishers_update_is_not_for_this_product() -> None:
    other = UPDATE.model_copy(update={"publisher": "another"})
    history = (*SERVED, OfferUpdate("c", other, NOON))
    approval = ApproveUpdate(
        contract_id="c", publisher="another", update_id="u", groups=("default",), by="mina", policy=DEFAULT
    )
    given(FLEET).after(*history).when(approval).then_refused("product-not-owned")


def test_one_of_two_subscriptions_is_enough() -> None:
    history = (*SERVED, note("pool_opened", sub="t"), note("seat_assigned", "ana", sub="t"), approve())
    assert set(standing(given(FLEET).after(*history).state, 1).targets) == {"ana", "ben"}
    assert not standing(given(FLEET).after(*history, note("right_lost")).state, 1).targets


def test_a_withdrawal_is_over_for_every_rollout() -> None:
    over = standing(given(FLEET).after(*SERVED, approve(), RECALL).state, 1)
    assert "it breaks printing" in over.over and over.over_by == "autodesk" and not over.targets
    given(FLEET).after(RECALL, *SERVED).when(approve()).then_refused("update-withdrawn", because=[UpdateRecalled])
