"""Given facts about a pool of seats, when a command comes, then facts or a refusal."""

from datetime import date
from functools import reduce

import pytest

from services.entitlements.domain.seat_pool import (
    INITIAL,
    SEAT_POOL,
    AnswerAutoRenewRequest,
    AssignSeat,
    Command,
    Event,
    OpenPool,
    UnassignSeat,
    evolve,
)
from shared.eventlog.decision import Decision, Rejected
from shared.events import HeldSeat, SeatAssigned, SeatPoolCleared, SeatPoolHeld, SeatPoolOpened, SeatUnassigned

OPEN = OpenPool("s", "c", "org", "autocad", "AutoCAD", 2, date(2026, 11, 21), date(2027, 11, 20))
OPENED = SeatPoolOpened(
    subscription_id="s", contract_id="c", customer="org", product="autocad", product_name="AutoCAD", seats=2,
    starts=date(2026, 11, 21), ends=date(2027, 11, 20),
)  # fmt: skip


def assigned(seat: int, account: str) -> SeatAssigned:
    return SeatAssigned(subscription_id="s", contract_id="c", seat=seat, account_id=account, assigned_by="mina")


def unassigned(seat: int, account: str) -> SeatUnassigned:
    return SeatUnassigned(subscription_id="s", contract_id="c", seat=seat, account_id=account, unassigned_by="mina")


ANA, BEN = assigned(1, "ana"), assigned(2, "ben")


def when(command: Command, *, given: tuple[Event, ...]) -> Decision[Event]:
    return SEAT_POOL.decide(command, reduce(evolve, given, INITIAL))


def test_a_confirmed_subscription_gives_its_customer_the_seats_once() -> None:
    assert when(OPEN, given=()) == (OPENED,)
    assert when(OPEN, given=(OPENED, ANA)) == ()


def test_the_lowest_free_seat_is_given() -> None:
    assert when(AssignSeat("ana", "mina"), given=(OPENED,)) == (ANA,)
    assert when(AssignSeat("ben", "mina"), given=(OPENED, ANA)) == (BEN,)
    freed = (OPENED, ANA, BEN, unassigned(1, "ana"))
    assert when(AssignSeat("chiyo", "mina"), given=freed) == (assigned(1, "chiyo"),)


def test_nobody_holds_two_seats_of_a_pool() -> None:
    assert when(AssignSeat("ana", "mina"), given=(OPENED, ANA)) == ()


def test_never_more_seats_than_bought() -> None:
    refused = when(AssignSeat("chiyo", "mina"), given=(OPENED, ANA, BEN))
    assert isinstance(refused, Rejected)
    assert (refused.rule, refused.because) == ("seats-exhausted", (ANA, BEN))


def test_a_seat_is_taken_back_once() -> None:
    assert when(UnassignSeat("ana", "mina"), given=(OPENED, ANA)) == (unassigned(1, "ana"),)
    assert when(UnassignSeat("ana", "mina"), given=(OPENED, ANA, unassigned(1, "ana"))) == ()


@pytest.mark.parametrize("command", [AssignSeat("ana", "mina"), UnassignSeat("ana", "mina")])
def test_there_are_no_seats_before_the_publisher_has_confirmed(command: Command) -> None:
    refused = when(command, given=())
    assert isinstance(refused, Rejected) and refused.rule == "pool-not-open"


def test_with_no_seat_assigned_the_way_is_clear() -> None:
    cleared = SeatPoolCleared(subscription_id="s", request="asked-1")
    assert when(AnswerAutoRenewRequest("s", "asked-1"), given=(OPENED, ANA, unassigned(1, "ana"))) == (cleared,)
    assert when(AnswerAutoRenewRequest("s", "asked-1"), given=()) == (cleared,), (
        "nobody sits in a pool that never opened"
    )


def test_with_seats_assigned_it_is_held_and_names_seats_users_and_facts() -> None:
    given = (OPENED, ANA.model_copy().recorded("event-1"), BEN.model_copy().recorded("event-2"))
    held = (
        HeldSeat(seat=1, account_id="ana", because="event-1"), HeldSeat(seat=2, account_id="ben", because="event-2"),
    )  # fmt: skip
    answer = SeatPoolHeld(subscription_id="s", request="asked-1", held=held)
    assert when(AnswerAutoRenewRequest("s", "asked-1"), given=given) == (answer,)


def test_a_question_is_answered_once_and_a_new_one_anew() -> None:
    held = SeatPoolHeld(subscription_id="s", request="asked-1", held=())
    given = (OPENED, ANA, held, unassigned(1, "ana"))
    assert when(AnswerAutoRenewRequest("s", "asked-1"), given=given) == ()
    cleared = SeatPoolCleared(subscription_id="s", request="asked-2")
    assert when(AnswerAutoRenewRequest("s", "asked-2"), given=given) == (cleared,)


def test_seats_may_be_assigned_again_after_the_way_was_clear() -> None:
    cleared = SeatPoolCleared(subscription_id="s", request="asked-1")
    assert when(AssignSeat("ana", "mina"), given=(OPENED, cleared)) == (ANA,)
