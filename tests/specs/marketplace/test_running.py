"""A confirmed subscription over the years: its seats, its reminders, its renewals, its end."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from services.marketplace.domain.auto_renew import RecordPoolCleared
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.subscription import SUBSCRIPTION, ChangeSeats, CloseTerm, Event, Remind
from services.marketplace.domain.terms import still_owed
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRequested,
    Money,
    RenewalReminded,
    SeatDecreaseScheduled,
    SeatsAdded,
    SubscriptionEnded,
    SubscriptionRenewed,
)
from tests.examples.marketplace import CLERK, NO_CSN_ANY_MORE, NOON, REVOKED, VAULT, WITH_CSN
from tests.examples.subscription import ASK, ASKED, BERLIN, CONFIRMED, FAILED, OFF, ORDERED, RUNNING
from tests.spec import given

ENDS = date(2027, 11, 22)
OVER = datetime(2027, 11, 22, 23, 0, tzinfo=UTC)
"""Midnight in Berlin, after the term's last day."""
CLOSE = CloseTerm(term=1, now=OVER, calendar=BERLIN, price=None)
MORE = ChangeSeats(seats=5, changed_by=CLERK, now=NOON)
FEWER = ChangeSeats(seats=2, changed_by=CLERK, now=NOON)


def test_the_examples_hold() -> None:
    assert (CONFIRMED.ends, CONFIRMED.seats, CONFIRMED.total.amount) == (ENDS, 3, 720_003)


# ── Renewal ────────────────────────────────────────────────────────────────────────────────────────────


def renewed(*, history: tuple[Event, ...] = RUNNING, close: CloseTerm = CLOSE) -> SubscriptionRenewed:
    (event,) = given(SUBSCRIPTION, *history).when(close).then_accepted()
    assert isinstance(event, SubscriptionRenewed)
    return event.recorded("renewed")


def test_a_term_renews_when_its_last_day_is_over_where_the_customer_is() -> None:
    given(SUBSCRIPTION, *RUNNING).when(replace(CLOSE, now=OVER - timedelta(microseconds=1))).then_nothing()
    event = renewed()
    assert (event.term, event.starts, event.ends, event.seats) == (2, date(2027, 11, 23), date(2028, 11, 22), 3)
    assert sum(part.amount.amount for part in event.instalments) == event.total.amount == 720_003
    assert event.cancel_by.calendar == "DE"
    given(SUBSCRIPTION, *RUNNING, event).when(CLOSE).then_nothing()  # each term renews once


def test_a_new_price_holds_from_the_next_term() -> None:
    event = renewed(close=replace(CLOSE, price=Money(amount=100, currency="EUR")))
    assert (event.total.amount, event.plan.price.amount) == (300, 100)
    assert CONFIRMED.total.amount == 720_003
    assert renewed(close=replace(CLOSE, price=Money(amount=1, currency="USD"))).total == CONFIRMED.total


def test_with_auto_renew_off_it_ends() -> None:
    (event,) = given(SUBSCRIPTION, *RUNNING, ASKED, OFF).when(CLOSE).then_accepted()
    assert isinstance(event, SubscriptionEnded) and event.ended == ENDS
    over = (*RUNNING, ASKED, OFF, event.recorded("ended"))
    given(SUBSCRIPTION, *over).when(CLOSE).then_nothing()
    given(SUBSCRIPTION, *over).when(ASK).then_nothing()
    given(SUBSCRIPTION, *over).when(MORE).then_refused("subscription-ended", because=over[-1:])


def test_a_late_request_lets_it_renew_once_more() -> None:
    (asked,) = given(SUBSCRIPTION, *RUNNING).when(replace(ASK, now=OVER - timedelta(hours=1))).then_accepted()
    (off,) = given(SUBSCRIPTION, *RUNNING, asked.recorded("late")).when(RecordPoolCleared("late")).then_accepted()
    history = (*RUNNING, asked.recorded("late"), off)
    event = renewed(history=history)
    (end,) = (
        given(SUBSCRIPTION, *history, event)
        .when(CloseTerm(term=2, now=OVER + timedelta(days=366), calendar=BERLIN, price=None))
        .then_accepted()
    )
    assert isinstance(end, SubscriptionEnded) and end.ended == date(2028, 11, 22)


def test_a_late_request_that_is_answered_in_the_next_term_ends_that_one() -> None:
    (asked,) = given(SUBSCRIPTION, *RUNNING).when(replace(ASK, now=OVER - timedelta(hours=1))).then_accepted()
    history = (*RUNNING, asked.recorded("late"))
    (off,) = given(SUBSCRIPTION, *history, renewed(history=history)).when(RecordPoolCleared("late")).then_accepted()
    assert isinstance(off, AutoRenewDisabled) and off.ends == date(2028, 11, 22)


def test_an_open_question_that_came_in_time_decides_about_its_term() -> None:
    (again,) = given(SUBSCRIPTION, *RUNNING, ASKED).when(CLOSE).then_accepted()
    assert isinstance(again, AutoRenewDisableRequested) and again.requested_at == OVER
    history = (*RUNNING, ASKED, again.recorded("again"))
    (off,) = given(SUBSCRIPTION, *history).when(RecordPoolCleared("again")).then_accepted()
    (end,) = given(SUBSCRIPTION, *history, off).when(CLOSE).then_accepted()
    assert isinstance(end, SubscriptionEnded)


@pytest.mark.parametrize("history", [(ORDERED,), (ORDERED, FAILED)])
def test_what_does_not_run_neither_renews_nor_is_announced(history: tuple[Event, ...]) -> None:
    for command in (CLOSE, Remind(1, OVER)):
        given(SUBSCRIPTION, *history).when(command).then_nothing()


def test_years_of_renewals_keep_the_anniversary() -> None:
    history: tuple[Event, ...] = RUNNING
    ends: list[date] = []
    for term in range(1, 5):
        close = CloseTerm(term=term, now=OVER + timedelta(days=366 * (term - 1)), calendar=BERLIN, price=None)
        event = renewed(history=history, close=close)
        history, ends = (*history, event), [*ends, event.ends]
    assert ends == [date(year, 11, 22) for year in (2028, 2029, 2030, 2031)]


# ── Reminders ──────────────────────────────────────────────────────────────────────────────────────────


def days_before(command: Remind, *history: Event) -> list[int]:
    answer = given(SUBSCRIPTION, *RUNNING, *history).when(command).then_accepted()
    return [event.days_before for event in answer if isinstance(event, RenewalReminded)]


def test_reminders_come_90_60_and_30_days_before_with_the_date_to_cancel_by() -> None:
    noon = datetime(2027, 11, 22, 12, tzinfo=UTC)
    given(SUBSCRIPTION, *RUNNING).when(Remind(1, noon - timedelta(days=91))).then_nothing()
    (first,) = given(SUBSCRIPTION, *RUNNING).when(Remind(1, noon - timedelta(days=90))).then_accepted()
    assert isinstance(first, RenewalReminded)
    assert (first.days_before, first.cancel_by.last_day, first.ends) == (90, date(2027, 11, 15), ENDS)
    given(SUBSCRIPTION, *RUNNING, first).when(Remind(1, noon - timedelta(days=61))).then_nothing()
    assert days_before(Remind(1, noon - timedelta(days=60)), first) == [60]
    assert days_before(Remind(1, noon), first) == [60, 30], "late ones are made up for, the earliest first"
    assert days_before(Remind(1, OVER + timedelta(days=40))) == [90, 60, 30], "even after the end, before the renewal"
    given(SUBSCRIPTION, *RUNNING, renewed()).when(Remind(1, OVER)).then_nothing()
    given(SUBSCRIPTION, *RUNNING, ASKED, OFF).when(Remind(1, noon)).then_nothing()  # nothing renews
    assert days_before(Remind(1, noon, Policy(reminder_days=(7,)))) == [7]


# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────


def test_more_seats_join_at_once_and_are_charged_to_the_terms_end() -> None:
    half = NOON + timedelta(days=183)
    (added,) = given(SUBSCRIPTION, *RUNNING).when(replace(MORE, now=half)).then_accepted()
    assert isinstance(added, SeatsAdded)
    assert (added.added, added.seats, added.term) == (2, 5, 1)
    # 240,001 a seat and year, two seats, 182 of 365 days
    assert (added.instalment.number, added.instalment.amount.amount) == (13, round(240_001 * 2 * 182 / 365))
    assert added.instalment.due == half.date()
    history = (*RUNNING, added)
    given(SUBSCRIPTION, *history).when(replace(MORE, now=half)).then_nothing()
    assert renewed(history=history).seats == 5
    assert still_owed((*CONFIRMED.instalments, added.instalment), "EUR", half.date()).amount > 0


def test_before_the_start_a_seat_costs_the_whole_term() -> None:
    (added,) = given(SUBSCRIPTION, *RUNNING).when(replace(MORE, now=NOON - timedelta(days=5))).then_accepted()
    assert isinstance(added, SeatsAdded)
    assert (added.instalment.amount.amount, added.instalment.due) == (480_002, CONFIRMED.starts)


def test_fewer_seats_take_effect_at_the_renewal() -> None:
    (fewer,) = given(SUBSCRIPTION, *RUNNING).when(FEWER).then_accepted()
    assert isinstance(fewer, SeatDecreaseScheduled)
    assert (fewer.seats, fewer.takes_effect) == (2, date(2027, 11, 23))
    history = (*RUNNING, fewer)
    given(SUBSCRIPTION, *history).when(FEWER).then_nothing()
    assert renewed(history=history).seats == 2
    (kept,) = given(SUBSCRIPTION, *history).when(ChangeSeats(seats=3, changed_by=CLERK, now=NOON)).then_accepted()
    assert renewed(history=(*history, kept)).seats == 3, "a later number replaces an earlier one"
    (added,) = given(SUBSCRIPTION, *history).when(MORE).then_accepted()
    assert renewed(history=(*history, added)).seats == 5


def test_a_subscription_has_1_to_999_seats() -> None:
    for seats in (0, 1000):
        given(SUBSCRIPTION, *RUNNING).when(ChangeSeats(seats=seats, changed_by=CLERK, now=NOON)).then_refused(
            "seats-out-of-range"
        )
    given(SUBSCRIPTION, ORDERED).when(MORE).then_refused("not-confirmed", because=[ORDERED])


def test_more_seats_of_a_specialised_plan_take_a_valid_csn() -> None:
    confirmed = CONFIRMED.model_copy(update={"plan": VAULT}).recorded("confirmed-1")
    history: tuple[Event, ...] = (ORDERED, confirmed)
    assert len(given(SUBSCRIPTION, *history).when(replace(MORE, standing=WITH_CSN)).then_accepted()) == 1
    given(SUBSCRIPTION, *history).when(MORE).then_refused("specialised-needs-csn")
    lost = replace(MORE, standing=NO_CSN_ANY_MORE)
    given(SUBSCRIPTION, *history).when(lost).then_refused("specialised-needs-csn", because=[REVOKED])
    assert len(given(SUBSCRIPTION, *RUNNING).when(lost).then_accepted()) == 1, "an open plan takes none"

    (fewer,) = given(SUBSCRIPTION, *history).when(replace(lost, seats=2)).then_accepted()
    (kept,) = given(SUBSCRIPTION, *history, fewer).when(replace(lost, seats=3)).then_accepted()
    assert isinstance(kept, SeatDecreaseScheduled), "what the contract renews is no order"
    assert renewed(history=(*history, fewer, kept)).seats == 3


def test_where_no_term_follows_fewer_seats_mean_nothing() -> None:
    history = (*RUNNING, ASKED, OFF)
    given(SUBSCRIPTION, *history).when(FEWER).then_refused("no-next-term", because=[OFF])
    assert len(given(SUBSCRIPTION, *history).when(MORE).then_accepted()) == 1
    given(SUBSCRIPTION, *history).when(replace(MORE, now=OVER)).then_refused("subscription-ended", because=[OFF])


def test_between_two_terms_nobody_is_told_that_it_ended() -> None:
    refusal = (
        given(SUBSCRIPTION, *RUNNING).when(replace(MORE, now=OVER)).then_refused("term-changing", because=[CONFIRMED])
    )
    assert "in a moment" in refusal.remedy
    given(SUBSCRIPTION, *RUNNING, ASKED).when(replace(FEWER, now=OVER)).then_refused("term-changing", because=[ASKED])
    next_year = OFF.model_copy(update={"ends": date(2028, 11, 22)})
    given(SUBSCRIPTION, *RUNNING, ASKED, next_year).when(replace(MORE, now=OVER)).then_refused(
        "term-changing", because=[CONFIRMED]
    )
    assert len(given(SUBSCRIPTION, *RUNNING, renewed()).when(replace(MORE, now=OVER)).then_accepted()) == 1
