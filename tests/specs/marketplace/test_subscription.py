"""A subscription: ordered, confirmed or declined, running, and ended for good by its own rules."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from services.marketplace.domain.auto_renew import AskAgain, DisableAutoRenew, RecordPoolCleared, RecordPoolHeld
from services.marketplace.domain.order import Order, OrderAgain, Resubmit, contract_id, orders
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.subscription import SUBSCRIPTION, Command, RequestRefund
from services.marketplace.domain.terms import still_owed
from shared.events import (
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    SubscriptionOrdered,
)
from tests.examples.marketplace import (
    AUTOCAD,
    AUTOCAD_MONTHLY,
    AUTODESK,
    CLERK,
    CUSTOMER,
    NOON,
    PARTNER,
    PURCHASER,
    TODAY,
    VAULT,
    WITH_CSN,
)
from tests.examples.subscription import (
    ASK,
    ASKED,
    CART,
    CONFIRM,
    CONFIRMED,
    DEADLINE,
    DECLINE,
    FAILED,
    HELD,
    OFF,
    ORDERED,
    RUNNING,
    recorded,
)
from tests.spec import given

# ── The order ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_cart_of_several_lines_becomes_one_order_a_line_in_sequence() -> None:
    made = [recorded(given(SUBSCRIPTION).when(command).then_accepted(), "o") for command in orders(CART, NOON)]
    assert [(o.subscription_id, o.plan, o.seats) for o in made if isinstance(o, SubscriptionOrdered)] == [
        ("sub-1", AUTOCAD_MONTHLY, 3),
        ("sub-2", AUTOCAD, 1),
    ]


def test_an_order_carries_what_was_checked_out() -> None:
    assert (ORDERED.customer, ORDERED.purchaser, ORDERED.partner) == (CUSTOMER, PURCHASER, PARTNER)
    assert (ORDERED.cart_id, ORDERED.starts, ORDERED.total) == ("cart-1", TODAY, AUTOCAD_MONTHLY.price.times(3))
    assert (ORDERED.country, ORDERED.time_zone) == ("DE", "Europe/Berlin")


def test_an_order_is_sent_once() -> None:
    given(SUBSCRIPTION, ORDERED).when(Order(CART, 0, NOON)).then_nothing()
    given(SUBSCRIPTION, *RUNNING).when(Order(CART, 0, NOON)).then_nothing()


def test_a_customer_has_one_contract_per_publisher_and_programme() -> None:
    assert ORDERED.contract_id == contract_id(CUSTOMER, AUTODESK, "subscription")
    assert contract_id(CUSTOMER, AUTODESK, "maintenance") != ORDERED.contract_id
    assert contract_id('a", "b', "c", "d") != contract_id("a", 'b", "c', "d")


def test_a_confirmed_order_runs_for_twelve_months() -> None:
    assert (CONFIRMED.starts, CONFIRMED.ends) == (TODAY, date(2027, 11, 22))
    assert CONFIRMED.publisher_reference == "ADSK-77"


def test_monthly_pre_paid_is_twelve_instalments_that_add_up() -> None:
    assert len(CONFIRMED.instalments) == 12
    assert sum(part.amount.amount for part in CONFIRMED.instalments) == CONFIRMED.total.amount == 720_003
    assert [part.due.day for part in CONFIRMED.instalments] == [23] * 12


def test_the_cancel_by_date_is_stored_with_the_calendar_that_gave_it() -> None:
    # Monday 22 November 2027 is the last day; five business days before it is Monday the 15th.
    assert CONFIRMED.cancel_by.last_day == date(2027, 11, 15)
    assert datetime(2027, 11, 15, 23, tzinfo=NOON.tzinfo) == DEADLINE
    assert (CONFIRMED.cancel_by.calendar, CONFIRMED.cancel_by.calendar_version) == ("DE", "0.1")


def test_a_repeated_confirmation_changes_nothing() -> None:
    given(SUBSCRIPTION, *RUNNING).when(CONFIRM).then_nothing()


def test_a_confirmation_under_another_reference_is_refused() -> None:
    given(SUBSCRIPTION, *RUNNING).when(replace(CONFIRM, reference="ADSK-78")).then_refused(
        "already-confirmed", because=[CONFIRMED]
    )


def test_a_declined_order_fails_with_the_publishers_reason() -> None:
    given(SUBSCRIPTION, ORDERED).when(DECLINE).then(FAILED)
    given(SUBSCRIPTION, ORDERED, FAILED).when(DECLINE).then_nothing()


def test_what_was_confirmed_cannot_be_declined() -> None:
    given(SUBSCRIPTION, *RUNNING).when(DECLINE).then_refused("already-confirmed", because=[CONFIRMED])


def test_what_was_declined_is_confirmed_only_after_it_was_sent_again() -> None:
    given(SUBSCRIPTION, ORDERED, FAILED).when(CONFIRM).then_refused("order-failed", because=[FAILED])


def test_only_the_publisher_that_was_asked_can_answer() -> None:
    given(SUBSCRIPTION, ORDERED).when(replace(CONFIRM, reported_by="acme")).then_refused(
        "foreign-publisher", because=[ORDERED]
    )
    given(SUBSCRIPTION, ORDERED).when(replace(DECLINE, reported_by="")).then_refused(
        "foreign-publisher", because=[ORDERED]
    )


@pytest.mark.parametrize("command", [CONFIRM, DECLINE, ASK, RecordPoolCleared("x"), RequestRefund()])
def test_an_answer_about_an_unknown_subscription_is_kept_as_a_refusal(command: Command) -> None:
    given(SUBSCRIPTION).when(command).then_refused("subscription-unknown")


def test_a_declined_order_can_be_corrected_and_sent_again() -> None:
    later = Resubmit(ordered_by=CLERK, now=NOON, starts=TODAY + timedelta(days=3), seats=2)
    (again,) = given(SUBSCRIPTION, ORDERED, FAILED).when(later).then_accepted()
    assert isinstance(again, SubscriptionOrdered)
    assert (again.starts, again.seats, again.total) == (TODAY + timedelta(days=3), 2, AUTOCAD_MONTHLY.price.times(2))
    given(SUBSCRIPTION, ORDERED, FAILED, again).when(later).then_nothing()
    given(SUBSCRIPTION, ORDERED, FAILED, again).when(CONFIRM).then_accepted()


def test_sending_again_obeys_the_rules_of_ordering() -> None:
    history = (ORDERED, FAILED)
    given(SUBSCRIPTION, *history).when(Resubmit(ordered_by=CLERK, now=NOON, seats=1000)).then_refused(
        "seats-out-of-range"
    )
    given(SUBSCRIPTION, *history).when(Resubmit(ordered_by=CLERK, now=NOON + timedelta(days=1))).then_refused(
        "start-in-the-past"
    )
    vault = ORDERED.model_copy(update={"plan": VAULT})
    given(SUBSCRIPTION, vault, FAILED).when(Resubmit(ordered_by=CLERK, now=NOON)).then_refused("specialised-needs-csn")
    (again,) = (
        given(SUBSCRIPTION, vault, FAILED).when(Resubmit(ordered_by=CLERK, now=NOON, standing=WITH_CSN)).then_accepted()
    )
    assert isinstance(again, SubscriptionOrdered)
    assert again.csn == "5100012345"


def test_an_order_that_is_awaited_or_accepted_is_not_sent_again() -> None:
    given(SUBSCRIPTION, ORDERED).when(Resubmit(ordered_by=CLERK, now=NOON, seats=2)).then_refused(
        "order-awaited", because=[ORDERED]
    )
    given(SUBSCRIPTION, *RUNNING).when(Resubmit(ordered_by=CLERK, now=NOON)).then_refused(
        "already-confirmed", because=[CONFIRMED]
    )


def test_a_late_answer_to_an_earlier_sending_changes_nothing() -> None:
    (again,) = given(SUBSCRIPTION, ORDERED, FAILED).when(Resubmit(ordered_by=CLERK, now=NOON)).then_accepted()
    history = (ORDERED, FAILED, again.recorded("ordered-2"))
    given(SUBSCRIPTION, *history).when(replace(DECLINE, order="ordered-1")).then_nothing()
    given(SUBSCRIPTION, *history).when(replace(CONFIRM, order="ordered-1")).then_nothing()
    given(SUBSCRIPTION, *history).when(replace(CONFIRM, order="ordered-2")).then_accepted()


# ── An order left open ─────────────────────────────────────────────────────────────────────────────────

HOUR_LATER, DAY_LATER = NOON + timedelta(hours=1), NOON + timedelta(days=1)
AGAIN = ORDERED.model_copy(update={"ordered_at": HOUR_LATER}).recorded("ordered-2")


def test_an_order_that_is_left_open_is_sent_again_as_it_was() -> None:
    given(SUBSCRIPTION, ORDERED).when(OrderAgain("ordered-1", HOUR_LATER)).then(AGAIN)
    given(SUBSCRIPTION, ORDERED).when(OrderAgain("ordered-1", HOUR_LATER - timedelta(seconds=1))).then_nothing()
    given(SUBSCRIPTION, ORDERED, AGAIN).when(
        OrderAgain("ordered-1", HOUR_LATER)
    ).then_nothing()  # once for each time it was sent
    assert (
        len(
            given(SUBSCRIPTION, ORDERED, AGAIN)
            .when(OrderAgain("ordered-2", HOUR_LATER + timedelta(hours=1)))
            .then_accepted()
        )
        == 1
    )
    in_a_day = replace(OrderAgain("ordered-1", HOUR_LATER), policy=Policy(order_again_after=timedelta(days=1)))
    given(SUBSCRIPTION, ORDERED).when(in_a_day).then_nothing()


def test_an_order_that_was_answered_is_not_sent_again() -> None:
    for history in (RUNNING, (ORDERED, FAILED), (*RUNNING, ASKED, OFF)):
        given(SUBSCRIPTION, *history).when(OrderAgain("ordered-1", HOUR_LATER)).then_nothing()


def test_the_partner_can_send_it_again_after_the_same_wait() -> None:
    given(SUBSCRIPTION, ORDERED).when(Resubmit(ordered_by=CLERK, now=HOUR_LATER)).then(AGAIN)
    given(SUBSCRIPTION, ORDERED, AGAIN).when(Resubmit(ordered_by=CLERK, now=HOUR_LATER)).then_nothing()
    given(SUBSCRIPTION, ORDERED, AGAIN).when(Resubmit(ordered_by=CLERK, now=HOUR_LATER, seats=2)).then_refused(
        "order-awaited", because=[AGAIN]
    )


@pytest.mark.parametrize("sending", ["ordered-1", "ordered-2", ""])
def test_an_answer_to_any_sending_of_the_same_order_counts(sending: str) -> None:
    (yes,) = given(SUBSCRIPTION, ORDERED, AGAIN).when(replace(CONFIRM, order=sending)).then_accepted()
    assert yes == CONFIRMED
    given(SUBSCRIPTION, ORDERED, AGAIN).when(replace(DECLINE, order=sending)).then(FAILED)
    given(SUBSCRIPTION, ORDERED, AGAIN).when(replace(CONFIRM, order="another's")).then_nothing()


def test_once_its_start_is_over_it_waits_for_an_answer_or_for_another_start() -> None:
    given(SUBSCRIPTION, ORDERED).when(OrderAgain("ordered-1", DAY_LATER)).then_nothing()
    given(SUBSCRIPTION, ORDERED).when(Resubmit(ordered_by=CLERK, now=DAY_LATER)).then_refused("start-in-the-past")
    (moved,) = (
        given(SUBSCRIPTION, ORDERED)
        .when(Resubmit(ordered_by=CLERK, now=DAY_LATER, starts=DAY_LATER.date()))
        .then_accepted()
    )
    assert isinstance(moved, SubscriptionOrdered)
    assert (moved.starts, moved.seats, moved.ordered_at) == (DAY_LATER.date(), ORDERED.seats, DAY_LATER)
    given(SUBSCRIPTION, ORDERED).when(CONFIRM).then(CONFIRMED)  # a late yes is to what was ordered


def test_a_yes_to_an_order_that_was_corrected_is_kept_as_a_refusal() -> None:
    (moved,) = (
        given(SUBSCRIPTION, ORDERED, AGAIN)
        .when(Resubmit(ordered_by=CLERK, now=DAY_LATER, starts=DAY_LATER.date()))
        .then_accepted()
    )
    history = (ORDERED, AGAIN, moved.recorded("ordered-3"))
    given(SUBSCRIPTION, *history).when(replace(CONFIRM, order="ordered-2")).then_refused(
        "order-replaced", because=[AGAIN, moved]
    )
    given(SUBSCRIPTION, *history).when(replace(DECLINE, order="ordered-1")).then_nothing()
    given(SUBSCRIPTION, *history).when(replace(CONFIRM, order="ordered-3")).then_accepted()


def test_an_order_that_was_kept_before_sendings_had_a_time_is_sent_again() -> None:
    old = ORDERED.model_copy(update={"ordered_at": None}).recorded("ordered-1")
    given(SUBSCRIPTION, old).when(OrderAgain("ordered-1", NOON)).then(ORDERED)


# ── Auto-renew ─────────────────────────────────────────────────────────────────────────────────────────


def test_asked_in_time_the_pool_is_asked() -> None:
    given(SUBSCRIPTION, *RUNNING).when(ASK).then(ASKED)


def test_the_deadlines_day_is_included() -> None:
    last_moment = replace(ASK, now=DEADLINE - timedelta(microseconds=1))
    (asked,) = given(SUBSCRIPTION, *RUNNING).when(last_moment).then_accepted()
    assert isinstance(asked, AutoRenewDisableRequested)
    assert asked.binds == "this_term"


def test_a_request_after_the_deadline_binds_the_next_term() -> None:
    (asked,) = given(SUBSCRIPTION, *RUNNING).when(replace(ASK, now=DEADLINE)).then_accepted()
    assert isinstance(asked, AutoRenewDisableRequested)
    assert asked.binds == "next_term"
    (off,) = given(SUBSCRIPTION, *RUNNING, asked.recorded("late")).when(RecordPoolCleared("late")).then_accepted()
    assert off == OFF.model_copy(update={"ends": date(2028, 11, 22)})


def test_by_policy_a_request_after_the_deadline_is_refused() -> None:
    late = replace(ASK, now=DEADLINE, policy=Policy(late_disable_auto_renew="refuse"))
    refusal = given(SUBSCRIPTION, *RUNNING).when(late).then_refused("auto-renew-cutoff-passed", because=[CONFIRMED])
    assert "2027-11-15" in refusal.reason
    given(SUBSCRIPTION, *RUNNING).when(replace(late, now=NOON)).then(ASKED)


def test_with_no_seat_assigned_it_is_turned_off_and_ends_with_the_term() -> None:
    given(SUBSCRIPTION, *RUNNING, ASKED).when(RecordPoolCleared("asked-1")).then(OFF)


def test_with_seats_assigned_it_stays_on_and_says_whose() -> None:
    (answer,) = given(SUBSCRIPTION, *RUNNING, ASKED).when(RecordPoolHeld("asked-1", HELD)).then_accepted()
    assert isinstance(answer, AutoRenewDisableRefused)
    assert (answer.rule, answer.held) == ("seats-assigned", HELD)
    assert "seat 1 (account designer-1)" in answer.reason


def test_after_a_refusal_it_can_be_asked_again() -> None:
    refusal = given(SUBSCRIPTION, *RUNNING, ASKED).when(RecordPoolHeld("asked-1", HELD)).then_accepted()
    later = replace(ASK, now=NOON + timedelta(hours=1))
    (again,) = given(SUBSCRIPTION, *RUNNING, ASKED, *refusal).when(later).then_accepted()
    assert isinstance(again, AutoRenewDisableRequested)


def test_late_and_repeated_answers_of_the_pool_do_no_harm() -> None:
    refusal = given(SUBSCRIPTION, *RUNNING, ASKED).when(RecordPoolHeld("asked-1", HELD)).then_accepted()
    for history in ((ORDERED,), (ORDERED, FAILED), RUNNING, (*RUNNING, ASKED, *refusal), (*RUNNING, ASKED, OFF)):
        given(SUBSCRIPTION, *history).when(RecordPoolCleared("asked-1")).then_nothing()
        given(SUBSCRIPTION, *history).when(RecordPoolHeld("asked-1", HELD)).then_nothing()
    second = ASKED.model_copy().recorded("asked-2")
    history = (*RUNNING, ASKED, *refusal, second)
    given(SUBSCRIPTION, *history).when(RecordPoolCleared("asked-1")).then_nothing()
    given(SUBSCRIPTION, *history).when(RecordPoolCleared("asked-2")).then_accepted()


def test_turned_off_is_final() -> None:
    history = (*RUNNING, ASKED, OFF)
    given(SUBSCRIPTION, *history).when(ASK).then_nothing()
    given(SUBSCRIPTION, *history).when(replace(ASK, now=DEADLINE + timedelta(days=1))).then_nothing()


def test_asking_twice_asks_once() -> None:
    given(SUBSCRIPTION, *RUNNING, ASKED).when(ASK).then_nothing()


def test_an_unanswered_question_is_asked_again_as_it_was() -> None:
    after = DEADLINE + timedelta(days=1)
    again = ASKED.model_copy(update={"requested_at": after})
    given(SUBSCRIPTION, *RUNNING, ASKED).when(DisableAutoRenew("somebody else", after)).then(again)
    given(SUBSCRIPTION, *RUNNING, ASKED).when(AskAgain("asked-1", after)).then(again)
    given(SUBSCRIPTION, *RUNNING, ASKED).when(AskAgain("asked-1", NOON + timedelta(minutes=9))).then_nothing()
    given(SUBSCRIPTION, *RUNNING, ASKED).when(AskAgain("another", after)).then_nothing()
    given(SUBSCRIPTION, *RUNNING, ASKED, OFF).when(AskAgain("asked-1", after)).then_nothing()


def test_nothing_renews_before_the_publisher_accepted_the_order() -> None:
    given(SUBSCRIPTION, ORDERED).when(ASK).then_refused("not-confirmed", because=[ORDERED])
    given(SUBSCRIPTION, ORDERED, FAILED).when(ASK).then_refused("not-confirmed", because=[ORDERED])


# ── Money ──────────────────────────────────────────────────────────────────────────────────────────────


def test_there_are_no_refunds_and_the_record_says_what_was_ordered() -> None:
    given(SUBSCRIPTION, ORDERED).when(RequestRefund("changed our minds")).then_refused("no-refunds", because=[ORDERED])
    refusal = (
        given(SUBSCRIPTION, *RUNNING, ASKED, OFF).when(RequestRefund()).then_refused("no-refunds", because=[CONFIRMED])
    )
    assert "7,200.03 EUR" in refusal.reason


def test_the_charges_run_to_the_end_all_the_same() -> None:
    assert still_owed(CONFIRMED.instalments, "EUR", TODAY).amount == 720_003 - 60_001
    assert still_owed(CONFIRMED.instalments, "EUR", TODAY - timedelta(days=1)).amount == 720_003
    assert still_owed(CONFIRMED.instalments, "EUR", TODAY + timedelta(days=364)).amount == 0
