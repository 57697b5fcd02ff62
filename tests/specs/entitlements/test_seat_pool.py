"""Given facts about a pool of seats, when a command comes, then facts or a refusal."""

from datetime import UTC, date, datetime, time, timedelta
from functools import reduce

import pytest

from services.entitlements.domain.policy import Policy
from services.entitlements.domain.seat_pool import (
    INITIAL,
    SEAT_POOL,
    AdvanceLadder,
    AnswerAutoRenewRequest,
    AssignSeat,
    Command,
    EndTerm,
    Event,
    NoteCsn,
    OpenPool,
    RenewPool,
    ResizePool,
    UnassignSeat,
    evolve,
)
from services.entitlements.domain.users import Account
from shared.eventlog.decision import Decision, Rejected
from shared.events import (
    AccountClosed,
    HeldSeat,
    PoolCsnNoted,
    SeatAssigned,
    SeatPoolCleared,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolHeld,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatPoolSuspended,
    SeatUnassigned,
    UpdateRightGranted,
    UpdateRightLost,
)
from tests.specs.entitlements.examples import account

OPEN = OpenPool(
    subscription_id="s",
    contract_id="c",
    customer="org",
    product="autocad",
    product_name="AutoCAD",
    seats=2,
    starts=date(2026, 11, 21),
    ends=date(2027, 11, 20),
)
OPENED = SeatPoolOpened(
    subscription_id="s",
    contract_id="c",
    customer="org",
    product="autocad",
    product_name="AutoCAD",
    seats=2,
    starts=date(2026, 11, 21),
    ends=date(2027, 11, 20),
)


def assigned(seat: int, account: str) -> SeatAssigned:
    return SeatAssigned(subscription_id="s", contract_id="c", seat=seat, account_id=account, assigned_by="mina")


def unassigned(seat: int, account: str) -> SeatUnassigned:
    return SeatUnassigned(subscription_id="s", contract_id="c", seat=seat, account_id=account, unassigned_by="mina")


ANA, BEN = assigned(1, "ana"), assigned(2, "ben")


def assign(account_id: str) -> AssignSeat:
    return AssignSeat(account_id, "mina", account(account_id))


def when(command: Command, *, given: tuple[Event, ...]) -> Decision[Event]:
    return SEAT_POOL.decide(command, reduce(evolve, given, INITIAL))


def test_a_confirmed_subscription_gives_its_customer_the_seats_once() -> None:
    assert when(OPEN, given=()) == (OPENED,)
    assert when(OPEN, given=(OPENED, ANA)) == ()


def test_the_lowest_free_seat_is_given() -> None:
    assert when(assign("ana"), given=(OPENED,)) == (ANA,)
    assert when(assign("ben"), given=(OPENED, ANA)) == (BEN,)
    freed = (OPENED, ANA, BEN, unassigned(1, "ana"))
    assert when(assign("chiyo"), given=freed) == (assigned(1, "chiyo"),)


def test_nobody_holds_two_seats_of_a_pool() -> None:
    assert when(assign("ana"), given=(OPENED, ANA)) == ()


def test_never_more_seats_than_bought() -> None:
    refused = when(assign("chiyo"), given=(OPENED, ANA, BEN))
    assert isinstance(refused, Rejected)
    assert (refused.rule, refused.because) == ("seats-exhausted", (ANA, BEN))


GONE = AccountClosed(account_id="ana", organisation_id="org", closed_by="ana").recorded("closed-ana")


@pytest.mark.parametrize("user", [None, account("ana", "other"), GONE])
@pytest.mark.parametrize("held", [(), (ANA,)])
def test_a_user_is_an_open_account_of_the_customers(user: Account | None, held: tuple[Event, ...]) -> None:
    refused = when(AssignSeat("ana", "mina", user), given=(OPENED, *held))
    assert isinstance(refused, Rejected) and refused.rule == "user-unknown"
    assert refused.because == ((GONE,) if user is GONE else ()), "another organisation's may not exist"


def test_seats_may_be_assigned_before_the_term() -> None:
    starting = OPENED.model_copy(update={"starts": date(2026, 12, 21)})  # a pool's clock is not asked at all
    assert when(assign("ana"), given=(starting,)) == (ANA,)


def test_a_seat_is_taken_back_once() -> None:
    assert when(UnassignSeat("ana", "mina"), given=(OPENED, ANA)) == (unassigned(1, "ana"),)
    assert when(UnassignSeat("ana", "mina"), given=(OPENED, ANA, unassigned(1, "ana"))) == ()


@pytest.mark.parametrize(
    "command",
    [
        assign("ana"),
        UnassignSeat("ana", "mina"),
        ResizePool(3),
        RenewPool(3, date(2028, 11, 20)),
        EndTerm(date(2027, 11, 20), datetime(2027, 11, 21, tzinfo=UTC)),
        NoteCsn("org", "N1", 1),
        AdvanceLadder(datetime(2029, 1, 1, tzinfo=UTC)),
    ],
)
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
        HeldSeat(seat=1, account_id="ana", because="event-1"),
        HeldSeat(seat=2, account_id="ben", because="event-2"),
    )
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
    assert when(assign("ana"), given=(OPENED, cleared)) == (ANA,)


# ── The subscription's course ──────────────────────────────────────────────────────────────────────────


def resized(seats: int) -> SeatPoolResized:
    return SeatPoolResized(subscription_id="s", contract_id="c", seats=seats)


def test_more_seats_join_at_once_and_never_go_by_this_way() -> None:
    assert when(ResizePool(4), given=(OPENED,)) == (resized(4),)
    assert when(ResizePool(4), given=(OPENED, resized(4))) == ()
    assert when(ResizePool(1), given=(OPENED, ANA)) == ()
    assert when(assign("chiyo"), given=(OPENED, ANA, BEN, resized(3))) == (assigned(3, "chiyo"),)


NEXT = date(2028, 11, 20)


def renewed(seats: int) -> SeatPoolRenewed:
    return SeatPoolRenewed(subscription_id="s", contract_id="c", seats=seats, ends=NEXT)


def by_renewal(event: SeatAssigned | SeatUnassigned) -> SeatAssigned | SeatUnassigned:
    by = "assigned_by" if isinstance(event, SeatAssigned) else "unassigned_by"
    return event.model_copy(update={by: "renewal"})


def test_the_next_term_begins_once() -> None:
    assert when(RenewPool(2, NEXT), given=(OPENED, ANA)) == (renewed(2),)
    assert when(RenewPool(2, NEXT), given=(OPENED, ANA, renewed(2))) == ()


def test_a_renewal_with_fewer_seats_takes_those_assigned_last() -> None:
    given = (OPENED, assigned(2, "ben"), assigned(1, "ana"))
    assert when(RenewPool(1, NEXT), given=given) == (
        by_renewal(unassigned(1, "ana")),
        by_renewal(unassigned(2, "ben")),
        by_renewal(assigned(1, "ben")),
        renewed(1),
    )


def test_who_stays_keeps_the_number_unless_it_is_above_the_new_count() -> None:
    given = (OPENED, resized(3), assigned(1, "ana"), assigned(3, "chiyo"))
    moved = (by_renewal(unassigned(3, "chiyo")), by_renewal(assigned(2, "chiyo")))
    assert when(RenewPool(2, NEXT), given=given) == (*moved, renewed(2))


ENDS = OPENED.ends
EXPIRED = SeatPoolExpired(
    subscription_id="s", contract_id="c", customer="org", product="autocad", access_until=ENDS + timedelta(days=15)
)
SUSPENDED = SeatPoolSuspended(
    subscription_id="s", contract_id="c", customer="org", product="autocad", kept_until=ENDS + timedelta(days=45)
)
ENDED = SeatPoolEnded(subscription_id="s", contract_id="c", customer="org", product="autocad")


def after(days: int) -> datetime:
    """The last microsecond of so many days after the term's last."""
    return datetime.combine(ENDS + timedelta(days=days + 1), time(), UTC) - timedelta(microseconds=1)


def test_after_the_last_term_the_seats_can_be_used_for_15_days() -> None:
    assert when(EndTerm(ENDS, after(1)), given=(OPENED, ANA)) == (EXPIRED,)
    assert when(EndTerm(ENDS, after(1)), given=(OPENED, ANA, EXPIRED)) == ()
    assert when(AdvanceLadder(after(15)), given=(OPENED, ANA, EXPIRED)) == ()


def test_then_they_are_suspended_for_30_days_or_15_where_the_period_is_monthly() -> None:
    assert when(AdvanceLadder(after(16)), given=(OPENED, ANA, EXPIRED)) == (SUSPENDED,)
    assert when(AdvanceLadder(after(45)), given=(OPENED, ANA, EXPIRED, SUSPENDED)) == ()
    for period, days in (("monthly", 30), ("annual", 45), ("three_year", 45)):
        opened = OPENED.model_copy(update={"period": period})
        until = SUSPENDED.model_copy(update={"kept_until": ENDS + timedelta(days=days)})
        assert when(AdvanceLadder(after(16)), given=(opened, EXPIRED)) == (until,)


def test_in_the_end_everybodys_seat_is_taken_back() -> None:
    events = when(AdvanceLadder(after(46)), given=(OPENED, BEN, ANA, EXPIRED, SUSPENDED))
    gone = [unassigned(1, "ana"), unassigned(2, "ben")]
    assert events == (*(event.model_copy(update={"unassigned_by": "ended"}) for event in gone), ENDED)
    assert when(AdvanceLadder(after(400)), given=(OPENED, EXPIRED, SUSPENDED, ENDED)) == ()


def test_a_clock_moved_by_a_year_takes_every_step_in_order() -> None:
    gone = unassigned(1, "ana").model_copy(update={"unassigned_by": "ended"})
    assert when(EndTerm(ENDS, after(365)), given=(OPENED, ANA)) == (EXPIRED, SUSPENDED, gone, ENDED)
    assert when(AdvanceLadder(after(365)), given=(OPENED, ANA, EXPIRED)) == (SUSPENDED, gone, ENDED)


def test_the_days_are_policy() -> None:
    policy = Policy(expired_days=1, suspended_days=2)
    assert when(EndTerm(ENDS, after(2), policy), given=(OPENED,)) == (
        EXPIRED.model_copy(update={"access_until": ENDS + timedelta(days=1)}),
        SUSPENDED.model_copy(update={"kept_until": ENDS + timedelta(days=3)}),
    )


def test_a_running_term_has_no_steps() -> None:
    assert when(AdvanceLadder(after(999)), given=(OPENED, ANA)) == ()


@pytest.mark.parametrize("command", [assign("chiyo"), RenewPool(2, NEXT)])
@pytest.mark.parametrize("steps", [(EXPIRED,), (EXPIRED, SUSPENDED), (EXPIRED, SUSPENDED, ENDED)])
def test_after_the_last_term_nobody_new_gets_a_seat_and_nothing_renews(
    command: Command, steps: tuple[Event, ...]
) -> None:
    refused = when(command, given=(OPENED, ANA, *steps))
    assert isinstance(refused, Rejected)
    assert (refused.rule, refused.because) == ("term-ended", steps[-1:])
    assert when(ResizePool(9), given=(OPENED, *steps)) == ()


def test_a_seat_is_given_back_after_the_term_too() -> None:
    assert when(UnassignSeat("ana", "mina"), given=(OPENED, ANA, EXPIRED)) == (unassigned(1, "ana"),)


# ── The right to updates ───────────────────────────────────────────────────────────────────────────────

SOLD = OPENED.model_copy(update={"partner": "reseller", "publisher": "autodesk"})


def noted(organisation: str, csn: str | None, as_of: int) -> PoolCsnNoted:
    return PoolCsnNoted(subscription_id="s", organisation_id=organisation, csn=csn, as_of=as_of)


def granted(csn: str) -> UpdateRightGranted:
    return UpdateRightGranted(subscription_id="s", contract_id="c", product="autocad", csn=csn)


def lost(reason: str) -> UpdateRightLost:
    return UpdateRightLost(subscription_id="s", contract_id="c", product="autocad", reason=reason)


@pytest.mark.parametrize("organisation", ["org", "reseller"])
def test_updates_take_a_purchase_and_a_valid_number_of_the_buyer_or_the_seller(organisation: str) -> None:
    given = (SOLD, noted(organisation, "N1", 1), granted("N1"))
    assert when(NoteCsn(organisation, "N1", 1), given=(SOLD,)) == given[1:]
    assert when(NoteCsn(organisation, "N1", 1), given=given) == ()
    assert when(NoteCsn("somebody", "N1", 1), given=(SOLD,)) == ()


def test_losing_the_number_takes_the_right_away_and_getting_one_back_restores_it() -> None:
    given: tuple[Event, ...] = (SOLD, noted("org", "N1", 1), granted("N1"))
    taken = (noted("org", None, 2), lost("Number N1 is not valid any more."))
    assert when(NoteCsn("org", None, 2), given=given) == taken
    assert when(NoteCsn("org", "N2", 3), given=given + taken) == (noted("org", "N2", 3), granted("N2"))


def test_the_right_rests_on_the_other_number_when_one_is_lost() -> None:
    given = (SOLD, noted("org", "N1", 1), granted("N1"), noted("reseller", "R1", 7))
    assert when(NoteCsn("reseller", "R1", 7), given=given[:3]) == given[3:], "it has the right already"
    assert when(NoteCsn("org", None, 2), given=given) == (noted("org", None, 2), granted("R1"))


def test_an_older_word_about_a_number_that_comes_late_is_none() -> None:
    assert when(NoteCsn("org", "N1", 1), given=(SOLD, noted("org", None, 2))) == ()


def test_losing_the_purchase_takes_the_right_away_and_expired_is_not_lost() -> None:
    given = (SOLD, noted("org", "N1", 1), granted("N1"), EXPIRED)
    assert when(EndTerm(ENDS, after(1)), given=given[:3]) == (EXPIRED,)
    assert when(AdvanceLadder(after(16)), given=given) == (SUSPENDED, lost("The subscription is suspended."))
    assert when(NoteCsn("org", "N1", 1), given=(SOLD, EXPIRED)) == (noted("org", "N1", 1), granted("N1"))
    assert when(NoteCsn("org", "N1", 1), given=(SOLD, EXPIRED, SUSPENDED)) == ()
