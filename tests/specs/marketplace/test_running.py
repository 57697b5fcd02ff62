"""A confirmed subscription over the years: its seats, its reminders, its renewals, its end."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from services.marketplace.domain.auto_renew import RecordPoolCleared
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.subscription import ChangeSeats, CloseTerm, Event, Remind
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
from tests.specs.marketplace.examples import CLERK, NO_CSN_ANY_MORE, NOON, VAULT, WITH_CSN, refused
from tests.specs.marketplace.test_subscription import (
    ASK,
    ASKED,
    BERLIN,
    CONFIRMED,
    FAILED,
    OFF,
    ORDERED,
    RUNNING,
    facts,
    when,
)

ENDS = date(2027, 11, 22)
OVER = datetime(2027, 11, 22, 23, 0, tzinfo=UTC)
"""Midnight in Berlin, after the term's last day."""
CLOSE = CloseTerm(term=1, now=OVER, calendar=BERLIN, price=None)
MORE = ChangeSeats(seats=5, changed_by=CLERK, now=NOON)
FEWER = ChangeSeats(seats=2, changed_by=CLERK, now=NOON)


def test_the_examples_hold() -> None:
    assert (CONFIRMED.ends, CONFIRMED.seats, CONFIRMED.total.amount) == (ENDS, 3, 720_003)


# ── Renewal ────────────────────────────────────────────────────────────────────────────────────────────


def renewed(*, given: tuple[Event, ...] = RUNNING, close: CloseTerm = CLOSE) -> SubscriptionRenewed:
    (event,) = facts(close, given=given)
    assert isinstance(event, SubscriptionRenewed)
    return event.recorded("renewed")


def test_a_term_renews_when_its_last_day_is_over_where_the_customer_is() -> None:
    assert when(replace(CLOSE, now=OVER - timedelta(microseconds=1)), given=RUNNING) == ()
    event = renewed()
    assert (event.term, event.starts, event.ends, event.seats) == (2, date(2027, 11, 23), date(2028, 11, 22), 3)
    assert sum(part.amount.amount for part in event.instalments) == event.total.amount == 720_003
    assert event.cancel_by.calendar == "DE"
    assert when(CLOSE, given=(*RUNNING, event)) == (), "each term renews once"


def test_a_new_price_holds_from_the_next_term() -> None:
    event = renewed(close=replace(CLOSE, price=Money(amount=100, currency="EUR")))
    assert (event.total.amount, event.plan.price.amount) == (300, 100)
    assert CONFIRMED.total.amount == 720_003
    assert renewed(close=replace(CLOSE, price=Money(amount=1, currency="USD"))).total == CONFIRMED.total


def test_with_auto_renew_off_it_ends() -> None:
    (event,) = facts(CLOSE, given=(*RUNNING, ASKED, OFF))
    assert isinstance(event, SubscriptionEnded) and event.ended == ENDS
    over = (*RUNNING, ASKED, OFF, event.recorded("ended"))
    assert when(CLOSE, given=over) == when(ASK, given=over) == ()
    refused(when(MORE, given=over), "subscription-ended", ["ended"])


def test_a_late_request_lets_it_renew_once_more() -> None:
    (asked,) = facts(replace(ASK, now=OVER - timedelta(hours=1)), given=RUNNING)
    (off,) = facts(RecordPoolCleared("late"), given=(*RUNNING, asked.recorded("late")))
    given = (*RUNNING, asked.recorded("late"), off)
    event = renewed(given=given)
    (end,) = facts(
        CloseTerm(term=2, now=OVER + timedelta(days=366), calendar=BERLIN, price=None), given=(*given, event)
    )
    assert isinstance(end, SubscriptionEnded) and end.ended == date(2028, 11, 22)


def test_a_late_request_that_is_answered_in_the_next_term_ends_that_one() -> None:
    (asked,) = facts(replace(ASK, now=OVER - timedelta(hours=1)), given=RUNNING)
    given = (*RUNNING, asked.recorded("late"))
    (off,) = facts(RecordPoolCleared("late"), given=(*given, renewed(given=given)))
    assert isinstance(off, AutoRenewDisabled) and off.ends == date(2028, 11, 22)


def test_an_open_question_that_came_in_time_decides_about_its_term() -> None:
    (again,) = facts(CLOSE, given=(*RUNNING, ASKED))
    assert isinstance(again, AutoRenewDisableRequested) and again.requested_at == OVER
    given = (*RUNNING, ASKED, again.recorded("again"))
    (off,) = facts(RecordPoolCleared("again"), given=given)
    (end,) = facts(CLOSE, given=(*given, off))
    assert isinstance(end, SubscriptionEnded)


@pytest.mark.parametrize("given", [(), (ORDERED,), (ORDERED, FAILED)])
def test_what_does_not_run_neither_renews_nor_is_announced(given: tuple[Event, ...]) -> None:
    for command in (CLOSE, Remind(1, OVER)):
        answer = when(command, given=given)
        assert answer == () or not given


def test_years_of_renewals_keep_the_anniversary() -> None:
    given: tuple[Event, ...] = RUNNING
    ends: list[date] = []
    for term in range(1, 5):
        close = CloseTerm(term=term, now=OVER + timedelta(days=366 * (term - 1)), calendar=BERLIN, price=None)
        event = renewed(given=given, close=close)
        given, ends = (*given, event), [*ends, event.ends]
    assert ends == [date(year, 11, 22) for year in (2028, 2029, 2030, 2031)]


# ── Reminders ──────────────────────────────────────────────────────────────────────────────────────────


def days_before(command: Remind, *given: Event) -> list[int]:
    answer = facts(command, given=(*RUNNING, *given))
    return [event.days_before for event in answer if isinstance(event, RenewalReminded)]


def test_reminders_come_90_60_and_30_days_before_with_the_date_to_cancel_by() -> None:
    noon = datetime(2027, 11, 22, 12, tzinfo=UTC)
    assert when(Remind(1, noon - timedelta(days=91)), given=RUNNING) == ()
    (first,) = facts(Remind(1, noon - timedelta(days=90)), given=RUNNING)
    assert isinstance(first, RenewalReminded)
    assert (first.days_before, first.cancel_by.last_day, first.ends) == (90, date(2027, 11, 15), ENDS)
    assert when(Remind(1, noon - timedelta(days=61)), given=(*RUNNING, first)) == ()
    assert days_before(Remind(1, noon - timedelta(days=60)), first) == [60]
    assert days_before(Remind(1, noon), first) == [60, 30], "late ones are made up for, the earliest first"
    assert days_before(Remind(1, OVER + timedelta(days=40))) == [90, 60, 30], "even after the end, before the renewal"
    assert when(Remind(1, OVER), given=(*RUNNING, renewed())) == ()
    assert when(Remind(1, noon), given=(*RUNNING, ASKED, OFF)) == (), "nothing renews"
    assert days_before(Remind(1, noon, Policy(reminder_days=(7,)))) == [7]


# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────


def test_more_seats_join_at_once_and_are_charged_to_the_terms_end() -> None:
    half = NOON + timedelta(days=183)
    (added,) = facts(replace(MORE, now=half), given=RUNNING)
    assert isinstance(added, SeatsAdded)
    assert (added.added, added.seats, added.term) == (2, 5, 1)
    # 240,001 a seat and year, two seats, 182 of 365 days
    assert (added.instalment.number, added.instalment.amount.amount) == (13, round(240_001 * 2 * 182 / 365))
    assert added.instalment.due == half.date()
    given = (*RUNNING, added)
    assert when(replace(MORE, now=half), given=given) == ()
    assert renewed(given=given).seats == 5
    assert still_owed((*CONFIRMED.instalments, added.instalment), "EUR", half).amount > 0


def test_before_the_start_a_seat_costs_the_whole_term() -> None:
    (added,) = facts(replace(MORE, now=NOON - timedelta(days=5)), given=RUNNING)
    assert isinstance(added, SeatsAdded)
    assert (added.instalment.amount.amount, added.instalment.due) == (480_002, CONFIRMED.starts)


def test_fewer_seats_take_effect_at_the_renewal() -> None:
    (fewer,) = facts(FEWER, given=RUNNING)
    assert isinstance(fewer, SeatDecreaseScheduled)
    assert (fewer.seats, fewer.takes_effect) == (2, date(2027, 11, 23))
    given = (*RUNNING, fewer)
    assert when(FEWER, given=given) == ()
    assert renewed(given=given).seats == 2
    (kept,) = facts(ChangeSeats(seats=3, changed_by=CLERK, now=NOON), given=given)
    assert renewed(given=(*given, kept)).seats == 3, "a later number replaces an earlier one"
    (added,) = facts(MORE, given=given)
    assert renewed(given=(*given, added)).seats == 5


def test_a_subscription_has_1_to_999_seats() -> None:
    for seats in (0, 1000):
        refused(when(ChangeSeats(seats=seats, changed_by=CLERK, now=NOON), given=RUNNING), "seats-out-of-range", [])
    refused(when(MORE, given=(ORDERED,)), "not-confirmed", ["ordered-1"])


def test_more_seats_of_a_specialised_plan_take_a_valid_csn() -> None:
    confirmed = CONFIRMED.model_copy(update={"plan": VAULT}).recorded("confirmed-1")
    given: tuple[Event, ...] = (ORDERED, confirmed)
    assert len(facts(replace(MORE, standing=WITH_CSN), given=given)) == 1
    refused(when(MORE, given=given), "specialised-needs-csn", [])
    lost = replace(MORE, standing=NO_CSN_ANY_MORE)
    refused(when(lost, given=given), "specialised-needs-csn", ["csn-revoked-1"])
    assert len(facts(lost, given=RUNNING)) == 1, "an open plan takes none"

    (fewer,) = facts(replace(lost, seats=2), given=given)
    (kept,) = facts(replace(lost, seats=3), given=(*given, fewer))
    assert isinstance(kept, SeatDecreaseScheduled), "what the contract renews is no order"
    assert renewed(given=(*given, fewer, kept)).seats == 3


def test_where_no_term_follows_fewer_seats_mean_nothing() -> None:
    given = (*RUNNING, ASKED, OFF)
    refused(when(FEWER, given=given), "no-next-term", ["off-1"])
    assert len(facts(MORE, given=given)) == 1
    refused(when(replace(MORE, now=OVER), given=given), "subscription-ended", ["off-1"])


def test_between_two_terms_nobody_is_told_that_it_ended() -> None:
    refusal = refused(when(replace(MORE, now=OVER), given=RUNNING), "term-changing", ["confirmed-1"])
    assert "in a moment" in refusal.remedy
    refused(when(replace(FEWER, now=OVER), given=(*RUNNING, ASKED)), "term-changing", ["asked-1"])
    next_year = OFF.model_copy(update={"ends": date(2028, 11, 22)})
    refused(when(replace(MORE, now=OVER), given=(*RUNNING, ASKED, next_year)), "term-changing", ["confirmed-1"])
    assert len(facts(replace(MORE, now=OVER), given=(*RUNNING, renewed()))) == 1
