"""The Contract Manager asks the partner for seats, and the partner confirms in one step or declines."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.marketplace.domain.policy import Policy
from services.marketplace.domain.seats_request import ConfirmSeatsRequest, DeclineSeatsRequest, RequestSeats
from services.marketplace.domain.subscription import SUBSCRIPTION, ChangeSeats, CloseTerm, Event
from shared.events import (
    SeatsAdded,
    SeatsRequestConfirmed,
    SeatsRequestDeclined,
    SeatsRequested,
    SubscriptionEnded,
    SubscriptionRenewed,
)
from tests.examples.marketplace import CLERK, CUSTOMER, NOON, PARTNER, PURCHASER, RELEASED
from tests.examples.subscription import ASKED, BERLIN, CONFIRMED, OFF, ORDERED, RUNNING
from tests.spec import given

OVER = datetime(2027, 11, 22, 23, 0, tzinfo=UTC)
REQUEST = RequestSeats(seats=5, requested_by=PURCHASER, now=NOON)
CONFIRM = ConfirmSeatsRequest(request="requested-1", confirmed_by=CLERK, now=NOON)
DECLINE = DeclineSeatsRequest(request="requested-1", reason="over the budget", declined_by=CLERK)
CHANGE = ChangeSeats(seats=5, changed_by=CLERK, now=NOON)


def requested(seats: int = 5, ref: str = "requested-1") -> SeatsRequested:
    event = SeatsRequested(
        subscription_id="sub-1",
        contract_id=CONFIRMED.contract_id,
        partner=PARTNER,
        customer=CUSTOMER,
        seats=seats,
        requested_by=PURCHASER,
    )
    return event.recorded(ref)


ANSWERS = {"subscription_id": "sub-1", "partner": PARTNER, "customer": CUSTOMER, "request": "requested-1"}
CONFIRMATION = SeatsRequestConfirmed(**ANSWERS, seats=5, confirmed_by=CLERK).recorded("answer-1")
REFUSAL = SeatsRequestDeclined(**ANSWERS, reason="over the budget", declined_by=CLERK).recorded("answer-1")
WAITING: tuple[Event, ...] = (*RUNNING, requested())


def added(*history: Event, command: ChangeSeats = CHANGE) -> SeatsAdded:
    event = given(SUBSCRIPTION, *history).when(command).then_accepted()[0]
    assert isinstance(event, SeatsAdded)
    return event.recorded("added-1")


def test_the_contract_manager_asks_for_more_seats() -> None:
    given(SUBSCRIPTION, *RUNNING).when(REQUEST).then(requested())
    given(SUBSCRIPTION, *WAITING).when(REQUEST).then_nothing()


def test_another_number_replaces_an_open_request() -> None:
    given(SUBSCRIPTION, *WAITING).when(replace(REQUEST, seats=6)).then(requested(6))
    replaced = (*WAITING, requested(6, "requested-2"))
    given(SUBSCRIPTION, *replaced).when(CONFIRM).then_refused("no-seats-request", because=replaced[-1:])
    given(SUBSCRIPTION, *replaced).when(DECLINE).then_refused("no-seats-request", because=replaced[-1:])


@pytest.mark.parametrize("seats", [0, 1000])
def test_a_request_is_for_a_number_that_a_subscription_can_have(seats: int) -> None:
    given(SUBSCRIPTION, *RUNNING).when(replace(REQUEST, seats=seats)).then_refused("seats-out-of-range")
    strict = replace(REQUEST, policy=Policy(seats_at_most=4))
    given(SUBSCRIPTION, *RUNNING).when(strict).then_refused("seats-out-of-range")


@pytest.mark.parametrize("seats", [1, 3])
def test_a_request_is_for_more_seats(seats: int) -> None:
    given(SUBSCRIPTION, *RUNNING).when(replace(REQUEST, seats=seats)).then_refused(
        "no-more-seats-requested", because=[CONFIRMED]
    )


def test_seats_are_asked_for_while_the_subscription_runs() -> None:
    given(SUBSCRIPTION).when(REQUEST).then_refused("subscription-unknown")
    given(SUBSCRIPTION, ORDERED).when(REQUEST).then_refused("not-confirmed", because=[ORDERED])
    given(SUBSCRIPTION, *RUNNING).when(replace(REQUEST, now=OVER)).then_refused("term-changing", because=[CONFIRMED])


def test_a_released_partner_is_not_asked_and_confirms_nothing() -> None:
    given(SUBSCRIPTION, *RUNNING).when(replace(REQUEST, released=RELEASED)).then_refused(
        "partner-not-engaged", because=[RELEASED]
    )
    given(SUBSCRIPTION, *WAITING).when(replace(CONFIRM, released=RELEASED)).then_refused(
        "partner-not-engaged", because=[RELEASED]
    )


# ── Answers ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_partner_confirms_in_one_step_by_which_the_seats_are_added() -> None:
    given(SUBSCRIPTION, *WAITING).when(CONFIRM).then(added(*RUNNING), CONFIRMATION)
    done = (*WAITING, added(*RUNNING), CONFIRMATION)
    given(SUBSCRIPTION, *done).when(CONFIRM).then_nothing()
    given(SUBSCRIPTION, *done).when(DECLINE).then_refused("no-seats-request", because=[CONFIRMATION])


def test_confirming_is_refused_as_adding_seats_is() -> None:
    given(SUBSCRIPTION, *WAITING).when(replace(CONFIRM, now=OVER)).then_refused("term-changing", because=[CONFIRMED])
    strict = replace(CONFIRM, policy=Policy(seats_at_most=4))
    given(SUBSCRIPTION, *WAITING).when(strict).then_refused("seats-out-of-range")


def test_the_partner_declines_with_a_reason() -> None:
    given(SUBSCRIPTION, *WAITING).when(DECLINE).then(REFUSAL)
    done = (*WAITING, REFUSAL)
    given(SUBSCRIPTION, *done).when(DECLINE).then_nothing()
    given(SUBSCRIPTION, *done).when(CONFIRM).then_refused("no-seats-request", because=[REFUSAL])
    given(SUBSCRIPTION, *done).when(REQUEST).then(requested())


def test_a_request_that_was_never_made_has_no_answer() -> None:
    for answer in (CONFIRM, DECLINE):
        given(SUBSCRIPTION, *RUNNING).when(answer).then_refused("no-seats-request")


def test_seats_that_the_partner_adds_itself_confirm_the_request_that_they_meet() -> None:
    given(SUBSCRIPTION, *WAITING).when(CHANGE).then(added(*RUNNING), CONFIRMATION)
    more = given(SUBSCRIPTION, *WAITING).when(replace(CHANGE, seats=7)).then_accepted()
    assert isinstance(more[1], SeatsRequestConfirmed) and more[1].seats == 7
    given(SUBSCRIPTION, *WAITING).when(replace(CHANGE, seats=4)).then(SeatsAdded)


def test_an_open_request_outlasts_the_term() -> None:
    close = CloseTerm(term=1, now=OVER, calendar=BERLIN, price=None)
    (renewal,) = given(SUBSCRIPTION, *WAITING).when(close).then_accepted()
    assert isinstance(renewal, SubscriptionRenewed)
    later = replace(CONFIRM, now=OVER)
    given(SUBSCRIPTION, *WAITING, renewal).when(later).then(SeatsAdded, CONFIRMATION)


def test_an_ended_subscription_has_no_request() -> None:
    close = CloseTerm(term=1, now=OVER, calendar=BERLIN, price=None)
    (end,) = given(SUBSCRIPTION, *WAITING, ASKED, OFF).when(close).then_accepted()
    assert isinstance(end, SubscriptionEnded)
    over = (*WAITING, ASKED, OFF, end.recorded("ended"))
    for command in (REQUEST, CONFIRM, DECLINE):
        given(SUBSCRIPTION, *over).when(command).then_refused("subscription-ended", because=over[-1:])
