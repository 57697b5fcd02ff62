"""A subscription: ordered, confirmed or declined, running, and ended for good by its own rules."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import reduce

import pytest

from services.marketplace.domain.auto_renew import AskAgain, DisableAutoRenew, RecordPoolCleared, RecordPoolHeld
from services.marketplace.domain.calendar import Calendar
from services.marketplace.domain.order import ConfirmOrder, FailOrder, Order, OrderAgain, Resubmit, contract_id, orders
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.subscription import INITIAL, Command, Event, RequestRefund, decide, evolve
from services.marketplace.domain.terms import still_owed
from shared.eventlog.decision import Decision
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CartCheckedOut,
    HeldSeat,
    Money,
    OrderLine,
    SubscriptionConfirmed,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
)
from tests.specs.marketplace.examples import (
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
    refused,
)

CART = CartCheckedOut(
    cart_id="cart-1",
    partner=PARTNER,
    ordered_by=CLERK,
    customer=CUSTOMER,
    purchaser=PURCHASER,
    starts=TODAY,
    csn=None,
    lines=(
        OrderLine(subscription_id="sub-1", plan=AUTOCAD_MONTHLY, seats=3, total=AUTOCAD_MONTHLY.price.times(3)),
        OrderLine(subscription_id="sub-2", plan=AUTOCAD, seats=1, total=AUTOCAD.price),
    ),
    total=Money(amount=947_503, currency="EUR"),
    country="DE",
    time_zone="Europe/Berlin",
)
BERLIN = Calendar(id="DE", version="0.1", time_zone="Europe/Berlin")
CONFIRM = ConfirmOrder(reference="ADSK-77", said_by=AUTODESK, calendar=BERLIN)
DECLINE = FailOrder("The customer's address is incomplete.", AUTODESK)
HELD = (HeldSeat(seat=1, account_id="designer-1", because="seat-assigned-1"),)


def when(command: Command, *, given: tuple[Event, ...]) -> Decision[Event]:
    return decide(command, reduce(evolve, given, INITIAL))


def facts(command: Command, *, given: tuple[Event, ...] = ()) -> tuple[Event, ...]:
    decision = when(command, given=given)
    assert isinstance(decision, tuple), decision
    return decision


def recorded(decision: tuple[Event, ...], ref: str) -> Event:
    (event,) = decision
    event.recorded(ref)
    return event


def kept_ordered() -> SubscriptionOrdered:
    event = recorded(facts(Order(CART, 0, NOON)), "ordered-1")
    assert isinstance(event, SubscriptionOrdered)
    return event


def kept_confirmed() -> SubscriptionConfirmed:
    event = recorded(facts(CONFIRM, given=(ORDERED,)), "confirmed-1")
    assert isinstance(event, SubscriptionConfirmed)
    return event


ORDERED = kept_ordered()
CONFIRMED = kept_confirmed()
FAILED = SubscriptionOrderFailed(subscription_id="sub-1", partner=PARTNER, reason=DECLINE.reason).recorded("failed-1")
RUNNING: tuple[Event, ...] = (ORDERED, CONFIRMED)
DEADLINE = CONFIRMED.cancel_by.deadline
ASK = DisableAutoRenew(PURCHASER, NOON)
ASKED = AutoRenewDisableRequested(
    subscription_id="sub-1",
    requested_by=PURCHASER,
    requested_at=NOON,
    term_ends=CONFIRMED.ends,
    deadline=DEADLINE,
    publisher=AUTODESK,
).recorded("asked-1")
OFF = AutoRenewDisabled(subscription_id="sub-1", ends=CONFIRMED.ends, requested_by=PURCHASER).recorded("off-1")


# ── The order ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_cart_of_several_lines_becomes_one_order_a_line_in_sequence() -> None:
    made = [recorded(facts(command), "o") for command in orders(CART, NOON)]
    assert [(o.subscription_id, o.plan, o.seats) for o in made if isinstance(o, SubscriptionOrdered)] == [
        ("sub-1", AUTOCAD_MONTHLY, 3),
        ("sub-2", AUTOCAD, 1),
    ]


def test_an_order_carries_what_was_checked_out() -> None:
    assert (ORDERED.customer, ORDERED.purchaser, ORDERED.partner) == (CUSTOMER, PURCHASER, PARTNER)
    assert (ORDERED.cart_id, ORDERED.starts, ORDERED.total) == ("cart-1", TODAY, AUTOCAD_MONTHLY.price.times(3))
    assert (ORDERED.country, ORDERED.time_zone) == ("DE", "Europe/Berlin")


def test_an_order_is_sent_once() -> None:
    assert when(Order(CART, 0, NOON), given=(ORDERED,)) == ()
    assert when(Order(CART, 0, NOON), given=RUNNING) == ()


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
    assert when(CONFIRM, given=RUNNING) == ()


def test_a_confirmation_under_another_reference_is_refused() -> None:
    refused(when(replace(CONFIRM, reference="ADSK-78"), given=RUNNING), "already-confirmed", ["confirmed-1"])


def test_a_declined_order_fails_with_the_publishers_reason() -> None:
    assert when(DECLINE, given=(ORDERED,)) == (FAILED,)
    assert when(DECLINE, given=(ORDERED, FAILED)) == ()


def test_what_was_confirmed_cannot_be_declined() -> None:
    refused(when(DECLINE, given=RUNNING), "already-confirmed", ["confirmed-1"])


def test_what_was_declined_is_confirmed_only_after_it_was_sent_again() -> None:
    refused(when(CONFIRM, given=(ORDERED, FAILED)), "order-failed", ["failed-1"])


def test_only_the_publisher_that_was_asked_can_answer() -> None:
    refused(when(replace(CONFIRM, said_by="acme"), given=(ORDERED,)), "foreign-publisher", ["ordered-1"])
    refused(when(replace(DECLINE, said_by=""), given=(ORDERED,)), "foreign-publisher", ["ordered-1"])


@pytest.mark.parametrize("command", [CONFIRM, DECLINE, ASK, RecordPoolCleared("x"), RequestRefund()])
def test_an_answer_about_an_unknown_subscription_is_kept_as_a_refusal(command: Command) -> None:
    refused(when(command, given=()), "subscription-unknown")


def test_a_declined_order_can_be_corrected_and_sent_again() -> None:
    later = Resubmit(ordered_by=CLERK, now=NOON, starts=TODAY + timedelta(days=3), seats=2)
    (again,) = facts(later, given=(ORDERED, FAILED))
    assert isinstance(again, SubscriptionOrdered)
    assert (again.starts, again.seats, again.total) == (TODAY + timedelta(days=3), 2, AUTOCAD_MONTHLY.price.times(2))
    assert when(later, given=(ORDERED, FAILED, again)) == ()
    assert isinstance(when(CONFIRM, given=(ORDERED, FAILED, again)), tuple)


def test_sending_again_obeys_the_rules_of_ordering() -> None:
    given = (ORDERED, FAILED)
    refused(when(Resubmit(ordered_by=CLERK, now=NOON, seats=1000), given=given), "seats-out-of-range")
    refused(when(Resubmit(ordered_by=CLERK, now=NOON + timedelta(days=1)), given=given), "start-in-the-past")
    vault = ORDERED.model_copy(update={"plan": VAULT})
    refused(when(Resubmit(ordered_by=CLERK, now=NOON), given=(vault, FAILED)), "specialised-needs-csn")
    (again,) = facts(Resubmit(ordered_by=CLERK, now=NOON, standing=WITH_CSN), given=(vault, FAILED))
    assert isinstance(again, SubscriptionOrdered)
    assert again.csn == "5100012345"


def test_an_order_that_is_awaited_or_accepted_is_not_sent_again() -> None:
    refused(when(Resubmit(ordered_by=CLERK, now=NOON, seats=2), given=(ORDERED,)), "order-awaited", ["ordered-1"])
    refused(when(Resubmit(ordered_by=CLERK, now=NOON), given=RUNNING), "already-confirmed", ["confirmed-1"])


def test_a_late_answer_to_an_earlier_sending_changes_nothing() -> None:
    (again,) = facts(Resubmit(ordered_by=CLERK, now=NOON), given=(ORDERED, FAILED))
    given = (ORDERED, FAILED, again.recorded("ordered-2"))
    assert when(replace(DECLINE, order="ordered-1"), given=given) == ()
    assert when(replace(CONFIRM, order="ordered-1"), given=given) == ()
    assert isinstance(when(replace(CONFIRM, order="ordered-2"), given=given), tuple)


# ── An order left open ─────────────────────────────────────────────────────────────────────────────────

HOUR_LATER, DAY_LATER = NOON + timedelta(hours=1), NOON + timedelta(days=1)
AGAIN = ORDERED.model_copy(update={"ordered_at": HOUR_LATER}).recorded("ordered-2")


def test_an_order_that_is_left_open_is_sent_again_as_it_was() -> None:
    assert when(OrderAgain("ordered-1", HOUR_LATER), given=(ORDERED,)) == (AGAIN,)
    assert when(OrderAgain("ordered-1", HOUR_LATER - timedelta(seconds=1)), given=(ORDERED,)) == ()
    assert when(OrderAgain("ordered-1", HOUR_LATER), given=(ORDERED, AGAIN)) == (), "once for each time it was sent"
    assert len(facts(OrderAgain("ordered-2", HOUR_LATER + timedelta(hours=1)), given=(ORDERED, AGAIN))) == 1
    in_a_day = replace(OrderAgain("ordered-1", HOUR_LATER), policy=Policy(order_again_after=timedelta(days=1)))
    assert when(in_a_day, given=(ORDERED,)) == ()


def test_an_order_that_was_answered_is_not_sent_again() -> None:
    for given in (RUNNING, (ORDERED, FAILED), (*RUNNING, ASKED, OFF)):
        assert when(OrderAgain("ordered-1", HOUR_LATER), given=given) == ()


def test_the_partner_can_send_it_again_after_the_same_wait() -> None:
    assert when(Resubmit(ordered_by=CLERK, now=HOUR_LATER), given=(ORDERED,)) == (AGAIN,)
    assert when(Resubmit(ordered_by=CLERK, now=HOUR_LATER), given=(ORDERED, AGAIN)) == ()
    refused(
        when(Resubmit(ordered_by=CLERK, now=HOUR_LATER, seats=2), given=(ORDERED, AGAIN)),
        "order-awaited",
        ["ordered-2"],
    )


@pytest.mark.parametrize("sending", ["ordered-1", "ordered-2", ""])
def test_an_answer_to_any_sending_of_the_same_order_counts(sending: str) -> None:
    (yes,) = facts(replace(CONFIRM, order=sending), given=(ORDERED, AGAIN))
    assert yes == CONFIRMED
    assert when(replace(DECLINE, order=sending), given=(ORDERED, AGAIN)) == (FAILED,)
    assert when(replace(CONFIRM, order="another's"), given=(ORDERED, AGAIN)) == ()


def test_once_its_start_is_over_it_waits_for_an_answer_or_for_another_start() -> None:
    assert when(OrderAgain("ordered-1", DAY_LATER), given=(ORDERED,)) == ()
    refused(when(Resubmit(ordered_by=CLERK, now=DAY_LATER), given=(ORDERED,)), "start-in-the-past")
    (moved,) = facts(Resubmit(ordered_by=CLERK, now=DAY_LATER, starts=DAY_LATER.date()), given=(ORDERED,))
    assert isinstance(moved, SubscriptionOrdered)
    assert (moved.starts, moved.seats, moved.ordered_at) == (DAY_LATER.date(), ORDERED.seats, DAY_LATER)
    assert when(CONFIRM, given=(ORDERED,)) == (CONFIRMED,), "a late yes is to what was ordered"


def test_a_yes_to_an_order_that_was_corrected_is_kept_as_a_refusal() -> None:
    (moved,) = facts(Resubmit(ordered_by=CLERK, now=DAY_LATER, starts=DAY_LATER.date()), given=(ORDERED, AGAIN))
    given = (ORDERED, AGAIN, moved.recorded("ordered-3"))
    refused(when(replace(CONFIRM, order="ordered-2"), given=given), "order-replaced", ["ordered-2", "ordered-3"])
    assert when(replace(DECLINE, order="ordered-1"), given=given) == ()
    assert isinstance(when(replace(CONFIRM, order="ordered-3"), given=given), tuple)


def test_an_order_that_was_kept_before_sendings_had_a_time_is_sent_again() -> None:
    old = ORDERED.model_copy(update={"ordered_at": None}).recorded("ordered-1")
    assert when(OrderAgain("ordered-1", NOON), given=(old,)) == (ORDERED,)


# ── Auto-renew ─────────────────────────────────────────────────────────────────────────────────────────


def test_asked_in_time_the_pool_is_asked() -> None:
    assert when(ASK, given=RUNNING) == (ASKED,)


def test_the_deadlines_day_is_included() -> None:
    last_moment = replace(ASK, now=DEADLINE - timedelta(microseconds=1))
    (asked,) = facts(last_moment, given=RUNNING)
    assert isinstance(asked, AutoRenewDisableRequested)
    assert asked.binds == "this_term"


def test_a_request_after_the_deadline_binds_the_next_term() -> None:
    (asked,) = facts(replace(ASK, now=DEADLINE), given=RUNNING)
    assert isinstance(asked, AutoRenewDisableRequested)
    assert asked.binds == "next_term"
    (off,) = facts(RecordPoolCleared("late"), given=(*RUNNING, asked.recorded("late")))
    assert off == AutoRenewDisabled(subscription_id="sub-1", ends=date(2028, 11, 22), requested_by=PURCHASER)


def test_by_policy_a_request_after_the_deadline_is_refused() -> None:
    late = replace(ASK, now=DEADLINE, policy=Policy(late_disable_auto_renew="refuse"))
    refusal = refused(when(late, given=RUNNING), "auto-renew-cutoff-passed", ["confirmed-1"])
    assert "2027-11-15" in refusal.reason
    assert when(replace(late, now=NOON), given=RUNNING) == (ASKED,)


def test_with_no_seat_assigned_it_is_turned_off_and_ends_with_the_term() -> None:
    assert when(RecordPoolCleared("asked-1"), given=(*RUNNING, ASKED)) == (OFF,)


def test_with_seats_assigned_it_stays_on_and_says_whose() -> None:
    (answer,) = facts(RecordPoolHeld("asked-1", HELD), given=(*RUNNING, ASKED))
    assert isinstance(answer, AutoRenewDisableRefused)
    assert (answer.rule, answer.held) == ("seats-assigned", HELD)
    assert "seat 1 (account designer-1)" in answer.reason


def test_after_a_refusal_it_can_be_asked_again() -> None:
    refusal = facts(RecordPoolHeld("asked-1", HELD), given=(*RUNNING, ASKED))
    later = replace(ASK, now=NOON + timedelta(hours=1))
    (again,) = facts(later, given=(*RUNNING, ASKED, *refusal))
    assert isinstance(again, AutoRenewDisableRequested)


def test_late_and_repeated_answers_of_the_pool_do_no_harm() -> None:
    refusal = facts(RecordPoolHeld("asked-1", HELD), given=(*RUNNING, ASKED))
    for given in ((ORDERED,), (ORDERED, FAILED), RUNNING, (*RUNNING, ASKED, *refusal), (*RUNNING, ASKED, OFF)):
        assert when(RecordPoolCleared("asked-1"), given=given) == ()
        assert when(RecordPoolHeld("asked-1", HELD), given=given) == ()
    second = ASKED.model_copy().recorded("asked-2")
    given = (*RUNNING, ASKED, *refusal, second)
    assert when(RecordPoolCleared("asked-1"), given=given) == ()
    assert isinstance(when(RecordPoolCleared("asked-2"), given=given), tuple)


def test_turned_off_is_final() -> None:
    given = (*RUNNING, ASKED, OFF)
    assert when(ASK, given=given) == ()
    assert when(replace(ASK, now=DEADLINE + timedelta(days=1)), given=given) == ()


def test_asking_twice_asks_once() -> None:
    assert when(ASK, given=(*RUNNING, ASKED)) == ()


def test_an_unanswered_question_is_asked_again_as_it_was() -> None:
    after = DEADLINE + timedelta(days=1)
    again = ASKED.model_copy(update={"requested_at": after})
    assert when(DisableAutoRenew("somebody else", after), given=(*RUNNING, ASKED)) == (again,)
    assert when(AskAgain("asked-1", after), given=(*RUNNING, ASKED)) == (again,)
    assert when(AskAgain("asked-1", NOON + timedelta(minutes=9)), given=(*RUNNING, ASKED)) == ()
    assert when(AskAgain("another", after), given=(*RUNNING, ASKED)) == ()
    assert when(AskAgain("asked-1", after), given=(*RUNNING, ASKED, OFF)) == ()


def test_nothing_renews_before_the_publisher_accepted_the_order() -> None:
    refused(when(ASK, given=(ORDERED,)), "not-confirmed", ["ordered-1"])
    refused(when(ASK, given=(ORDERED, FAILED)), "not-confirmed", ["ordered-1"])


# ── Money ──────────────────────────────────────────────────────────────────────────────────────────────


def test_there_are_no_refunds_and_the_record_says_what_was_ordered() -> None:
    refused(when(RequestRefund("changed our minds"), given=(ORDERED,)), "no-refunds", ["ordered-1"])
    refusal = refused(when(RequestRefund(), given=(*RUNNING, ASKED, OFF)), "no-refunds", ["confirmed-1"])
    assert "720003 EUR" in refusal.reason


def test_the_charges_run_to_the_end_all_the_same() -> None:
    assert still_owed(CONFIRMED.instalments, "EUR", NOON).amount == 720_003 - 60_001
    assert still_owed(CONFIRMED.instalments, "EUR", NOON - timedelta(days=1)).amount == 720_003
    assert still_owed(CONFIRMED.instalments, "EUR", NOON + timedelta(days=364)).amount == 0
