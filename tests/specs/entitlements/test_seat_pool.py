"""Given facts about a pool of seats, when a command comes, then facts or a refusal."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from services.entitlements.domain.policy import Policy
from services.entitlements.domain.seat_pool import (
    SEAT_POOL,
    AdvanceLadder,
    AnswerAutoRenewRequest,
    AssignSeat,
    Command,
    EndTerm,
    Event,
    NoteCsn,
    RenewPool,
    ResizePool,
    Step,
    TransferSeat,
    UnassignSeat,
)
from services.entitlements.domain.users import NOBODY, Account
from shared.events import (
    AccountClosed,
    HeldSeat,
    PoolCsnNoted,
    SeatAssigned,
    SeatPoolCleared,
    SeatPoolHeld,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatUnassigned,
    UpdateRightGranted,
    UpdateRightLost,
)
from tests.examples.entitlements import ENDED, ENDS, EXPIRED, OPEN, OPENED, SUSPENDED, account, assigned, unassigned
from tests.spec import given

ANA, BEN = assigned(1, "ana"), assigned(2, "ben")


def assign(account_id: str) -> AssignSeat:
    return AssignSeat(account_id, "mina", account(account_id))


def test_a_confirmed_subscription_gives_its_customer_the_seats_once() -> None:
    given(SEAT_POOL).when(OPEN).then(OPENED)
    given(SEAT_POOL, OPENED, ANA).when(OPEN).then_nothing()


def test_the_lowest_free_seat_is_given() -> None:
    given(SEAT_POOL, OPENED).when(assign("ana")).then(ANA)
    given(SEAT_POOL, OPENED, ANA).when(assign("ben")).then(BEN)
    freed = (OPENED, ANA, BEN, unassigned(1, "ana"))
    given(SEAT_POOL, *freed).when(assign("chiyo")).then(assigned(1, "chiyo"))


def test_nobody_holds_two_seats_of_a_pool() -> None:
    given(SEAT_POOL, OPENED, ANA).when(assign("ana")).then_nothing()


def test_never_more_seats_than_bought() -> None:
    given(SEAT_POOL, OPENED, ANA, BEN).when(assign("chiyo")).then_refused("seats-exhausted", because=[ANA, BEN])


GONE = AccountClosed(account_id="ana", organisation_id="org", closed_by="ana").recorded("closed-ana")


@pytest.mark.parametrize("user", [None, account("ana", "other"), GONE])
@pytest.mark.parametrize("held", [(), (ANA,)])
def test_a_user_is_an_open_account_of_the_customers(user: Account | None, held: tuple[Event, ...]) -> None:
    because = [GONE] if user is GONE else []  # another organisation's account is not told of
    given(SEAT_POOL, OPENED, *held).when(AssignSeat("ana", "mina", user)).then_refused("user-unknown", because=because)


def test_seats_may_be_assigned_before_the_term() -> None:
    starting = OPENED.model_copy(update={"starts": date(2026, 12, 21)})  # a pool's clock is not asked at all
    given(SEAT_POOL, starting).when(assign("ana")).then(ANA)


def test_a_seat_is_taken_back_once() -> None:
    given(SEAT_POOL, OPENED, ANA).when(UnassignSeat("ana", "mina")).then(unassigned(1, "ana"))
    given(SEAT_POOL, OPENED, ANA, unassigned(1, "ana")).when(UnassignSeat("ana", "mina")).then_nothing()


def test_an_address_of_nobody_is_refused_and_not_repeated() -> None:
    for command in (
        AssignSeat(NOBODY, "mina", None),
        UnassignSeat(NOBODY, "mina"),
        TransferSeat(account_id=NOBODY, to_account_id="ben", transferred_by="mina", to=account("ben")),
        TransferSeat(account_id="ana", to_account_id=NOBODY, transferred_by="mina", to=None),
    ):
        refused = given(SEAT_POOL, OPENED, ANA).when(command).then_refused("user-unknown")
        assert "e-mail address" in refused.reason


# ── A seat moves to somebody else ──────────────────────────────────────────────────────────────────────


def transfer(holder: str, to: str, user: Account | None = None) -> TransferSeat:
    return TransferSeat(account_id=holder, to_account_id=to, transferred_by="mina", to=user or account(to))


def test_a_seat_moves_to_somebody_else_in_one_decision_and_keeps_its_number() -> None:
    given(SEAT_POOL, OPENED, ANA, BEN).when(transfer("ana", "chiyo")).then(unassigned(1, "ana"), assigned(1, "chiyo"))


def test_a_full_pool_moves_seats_too() -> None:
    history = (OPENED, ANA, BEN, unassigned(1, "ana"), assigned(1, "chiyo"))
    given(SEAT_POOL, *history).when(transfer("ben", "ana")).then(unassigned(2, "ben"), assigned(2, "ana"))


def test_who_holds_no_seat_has_none_to_move() -> None:
    given(SEAT_POOL, OPENED, BEN).when(transfer("ana", "chiyo")).then_refused("seat-not-held", because=[OPENED])


def test_a_seat_does_not_move_to_who_holds_one() -> None:
    given(SEAT_POOL, OPENED, ANA, BEN).when(transfer("ana", "ben")).then_refused("seat-held-already", because=[BEN])
    given(SEAT_POOL, OPENED, ANA).when(transfer("ana", "ana")).then_refused("seat-held-already", because=[ANA])


def test_a_seat_moves_to_an_open_account_of_the_customers_only() -> None:
    nobody = TransferSeat(account_id="ana", to_account_id="chiyo", transferred_by="mina", to=None)
    given(SEAT_POOL, OPENED, ANA).when(nobody).then_refused("user-unknown")
    given(SEAT_POOL, OPENED, ANA).when(transfer("ana", "chiyo", account("chiyo", "other"))).then_refused("user-unknown")
    closed = AccountClosed(account_id="chiyo", organisation_id="org", closed_by="chiyo").recorded("closed-chiyo")
    given(SEAT_POOL, OPENED, ANA).when(transfer("ana", "chiyo", closed)).then_refused("user-unknown", because=[closed])


def test_no_seat_moves_after_the_last_term() -> None:
    last_day = date(2027, 11, 20)
    for days in (1, 16, 46):
        ended = given(SEAT_POOL, OPENED, ANA).when(
            EndTerm(last_day, datetime.combine(last_day + timedelta(days=days), time(), UTC))
        )
        steps = [event for event in ended.events if isinstance(event, Step)]
        given(SEAT_POOL, OPENED, ANA, *ended.events).when(transfer("ana", "ben")).then_refused(
            "term-ended", because=[steps[-1]]
        )


@pytest.mark.parametrize(
    "command",
    [
        assign("ana"),
        transfer("ana", "ben"),
        UnassignSeat("ana", "mina"),
        ResizePool(3),
        RenewPool(3, date(2028, 11, 20)),
        EndTerm(date(2027, 11, 20), datetime(2027, 11, 21, tzinfo=UTC)),
        NoteCsn("org", "N1", 1),
        AdvanceLadder(datetime(2029, 1, 1, tzinfo=UTC)),
    ],
)
def test_there_are_no_seats_before_the_publisher_has_confirmed(command: Command) -> None:
    given(SEAT_POOL).when(command).then_refused("pool-not-open")


def test_with_no_seat_assigned_the_way_is_clear() -> None:
    cleared = SeatPoolCleared(subscription_id="s", request="asked-1")
    given(SEAT_POOL, OPENED, ANA, unassigned(1, "ana")).when(AnswerAutoRenewRequest("s", "asked-1")).then(cleared)
    given(SEAT_POOL).when(AnswerAutoRenewRequest("s", "asked-1")).then(
        cleared
    )  # nobody sits in a pool that never opened


def test_with_seats_assigned_it_is_held_and_names_seats_users_and_facts() -> None:
    history = (OPENED, ANA.model_copy().recorded("event-1"), BEN.model_copy().recorded("event-2"))
    held = (
        HeldSeat(seat=1, account_id="ana", because="event-1"),
        HeldSeat(seat=2, account_id="ben", because="event-2"),
    )
    answer = SeatPoolHeld(subscription_id="s", request="asked-1", held=held)
    given(SEAT_POOL, *history).when(AnswerAutoRenewRequest("s", "asked-1")).then(answer)


def test_a_question_is_answered_once_and_a_new_one_anew() -> None:
    held = SeatPoolHeld(subscription_id="s", request="asked-1", held=())
    history = (OPENED, ANA, held, unassigned(1, "ana"))
    given(SEAT_POOL, *history).when(AnswerAutoRenewRequest("s", "asked-1")).then_nothing()
    cleared = SeatPoolCleared(subscription_id="s", request="asked-2")
    given(SEAT_POOL, *history).when(AnswerAutoRenewRequest("s", "asked-2")).then(cleared)


def test_seats_may_be_assigned_again_after_the_way_was_clear() -> None:
    cleared = SeatPoolCleared(subscription_id="s", request="asked-1")
    given(SEAT_POOL, OPENED, cleared).when(assign("ana")).then(ANA)


# ── The subscription's course ──────────────────────────────────────────────────────────────────────────


def resized(seats: int) -> SeatPoolResized:
    return SeatPoolResized(subscription_id="s", contract_id="c", seats=seats)


def test_more_seats_join_at_once_and_never_go_by_this_way() -> None:
    given(SEAT_POOL, OPENED).when(ResizePool(4)).then(resized(4))
    given(SEAT_POOL, OPENED, resized(4)).when(ResizePool(4)).then_nothing()
    given(SEAT_POOL, OPENED, ANA).when(ResizePool(1)).then_nothing()
    given(SEAT_POOL, OPENED, ANA, BEN, resized(3)).when(assign("chiyo")).then(assigned(3, "chiyo"))


NEXT = date(2028, 11, 20)


def renewed(seats: int) -> SeatPoolRenewed:
    return SeatPoolRenewed(subscription_id="s", contract_id="c", seats=seats, ends=NEXT, time_zone="UTC")


def by_renewal(event: SeatAssigned | SeatUnassigned) -> SeatAssigned | SeatUnassigned:
    by = "assigned_by" if isinstance(event, SeatAssigned) else "unassigned_by"
    return event.model_copy(update={by: "renewal"})


def test_the_next_term_begins_once() -> None:
    given(SEAT_POOL, OPENED, ANA).when(RenewPool(2, NEXT)).then(renewed(2))
    given(SEAT_POOL, OPENED, ANA, renewed(2)).when(RenewPool(2, NEXT)).then_nothing()


def test_a_renewal_with_fewer_seats_takes_those_assigned_last() -> None:
    history = (OPENED, assigned(2, "ben"), assigned(1, "ana"))
    given(SEAT_POOL, *history).when(RenewPool(1, NEXT)).then(
        by_renewal(unassigned(1, "ana")), by_renewal(unassigned(2, "ben")), by_renewal(assigned(1, "ben")), renewed(1)
    )


def test_who_stays_keeps_the_number_unless_it_is_above_the_new_count() -> None:
    history = (OPENED, resized(3), assigned(1, "ana"), assigned(3, "chiyo"))
    moved = (by_renewal(unassigned(3, "chiyo")), by_renewal(assigned(2, "chiyo")))
    given(SEAT_POOL, *history).when(RenewPool(2, NEXT)).then(*moved, renewed(2))


def after(days: int) -> datetime:
    """The last microsecond of so many days after the term's last."""
    return datetime.combine(ENDS + timedelta(days=days + 1), time(), UTC) - timedelta(microseconds=1)


def test_after_the_last_term_the_seats_can_be_used_for_15_days() -> None:
    given(SEAT_POOL, OPENED, ANA).when(EndTerm(ENDS, after(1))).then(EXPIRED)
    given(SEAT_POOL, OPENED, ANA, EXPIRED).when(EndTerm(ENDS, after(1))).then_nothing()
    given(SEAT_POOL, OPENED, ANA, EXPIRED).when(AdvanceLadder(after(15))).then_nothing()


def test_then_they_are_suspended_for_30_days_or_15_where_the_period_is_monthly() -> None:
    given(SEAT_POOL, OPENED, ANA, EXPIRED).when(AdvanceLadder(after(16))).then(SUSPENDED)
    given(SEAT_POOL, OPENED, ANA, EXPIRED, SUSPENDED).when(AdvanceLadder(after(45))).then_nothing()
    for period, days in (("monthly", 30), ("annual", 45), ("three_year", 45)):
        opened = OPENED.model_copy(update={"period": period})
        until = SUSPENDED.model_copy(update={"kept_until": ENDS + timedelta(days=days)})
        given(SEAT_POOL, opened, EXPIRED).when(AdvanceLadder(after(16))).then(until)


def test_in_the_end_everybodys_seat_is_taken_back() -> None:
    gone = [
        event.model_copy(update={"unassigned_by": "ended"}) for event in (unassigned(1, "ana"), unassigned(2, "ben"))
    ]
    given(SEAT_POOL, OPENED, BEN, ANA, EXPIRED, SUSPENDED).when(AdvanceLadder(after(46))).then(*gone, ENDED)
    given(SEAT_POOL, OPENED, EXPIRED, SUSPENDED, ENDED).when(AdvanceLadder(after(400))).then_nothing()


def test_a_clock_moved_by_a_year_takes_every_step_in_order() -> None:
    gone = unassigned(1, "ana").model_copy(update={"unassigned_by": "ended"})
    given(SEAT_POOL, OPENED, ANA).when(EndTerm(ENDS, after(365))).then(EXPIRED, SUSPENDED, gone, ENDED)
    given(SEAT_POOL, OPENED, ANA, EXPIRED).when(AdvanceLadder(after(365))).then(SUSPENDED, gone, ENDED)


def test_the_days_are_policy() -> None:
    policy = Policy(expired_days=1, suspended_days=2)
    given(SEAT_POOL, OPENED).when(EndTerm(ENDS, after(2), policy)).then(
        EXPIRED.model_copy(update={"access_until": ENDS + timedelta(days=1)}),
        SUSPENDED.model_copy(update={"kept_until": ENDS + timedelta(days=3)}),
    )


def test_a_running_term_has_no_steps() -> None:
    given(SEAT_POOL, OPENED, ANA).when(AdvanceLadder(after(999))).then_nothing()


@pytest.mark.parametrize("command", [assign("chiyo"), RenewPool(2, NEXT)])
@pytest.mark.parametrize("steps", [(EXPIRED,), (EXPIRED, SUSPENDED), (EXPIRED, SUSPENDED, ENDED)])
def test_after_the_last_term_nobody_new_gets_a_seat_and_nothing_renews(
    command: Command, steps: tuple[Event, ...]
) -> None:
    given(SEAT_POOL, OPENED, ANA, *steps).when(command).then_refused("term-ended", because=steps[-1:])
    given(SEAT_POOL, OPENED, *steps).when(ResizePool(9)).then_nothing()


def test_a_seat_is_given_back_after_the_term_too() -> None:
    given(SEAT_POOL, OPENED, ANA, EXPIRED).when(UnassignSeat("ana", "mina")).then(unassigned(1, "ana"))


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
    history = (SOLD, noted(organisation, "N1", 1), granted("N1"))
    given(SEAT_POOL, SOLD).when(NoteCsn(organisation, "N1", 1)).then(*history[1:])
    given(SEAT_POOL, *history).when(NoteCsn(organisation, "N1", 1)).then_nothing()
    given(SEAT_POOL, SOLD).when(NoteCsn("somebody", "N1", 1)).then_nothing()


def test_losing_the_number_takes_the_right_away_and_getting_one_back_restores_it() -> None:
    history: tuple[Event, ...] = (SOLD, noted("org", "N1", 1), granted("N1"))
    taken = (noted("org", None, 2), lost("CSN N1 is not valid any more."))
    given(SEAT_POOL, *history).when(NoteCsn("org", None, 2)).then(*taken)
    given(SEAT_POOL, *history + taken).when(NoteCsn("org", "N2", 3)).then(noted("org", "N2", 3), granted("N2"))


def test_the_right_rests_on_the_other_number_when_one_is_lost() -> None:
    history = (SOLD, noted("org", "N1", 1), granted("N1"), noted("reseller", "R1", 7))
    given(SEAT_POOL, *history[:3]).when(NoteCsn("reseller", "R1", 7)).then(*history[3:])  # it has the right already
    given(SEAT_POOL, *history).when(NoteCsn("org", None, 2)).then(noted("org", None, 2), granted("R1"))


def test_an_older_word_about_a_number_that_comes_late_is_none() -> None:
    given(SEAT_POOL, SOLD, noted("org", None, 2)).when(NoteCsn("org", "N1", 1)).then_nothing()


def test_losing_the_purchase_takes_the_right_away_and_expired_is_not_lost() -> None:
    history = (SOLD, noted("org", "N1", 1), granted("N1"), EXPIRED)
    given(SEAT_POOL, *history[:3]).when(EndTerm(ENDS, after(1))).then(EXPIRED)
    given(SEAT_POOL, *history).when(AdvanceLadder(after(16))).then(SUSPENDED, lost("The subscription is suspended."))
    given(SEAT_POOL, SOLD, EXPIRED).when(NoteCsn("org", "N1", 1)).then(noted("org", "N1", 1), granted("N1"))
    given(SEAT_POOL, SOLD, EXPIRED, SUSPENDED).when(NoteCsn("org", "N1", 1)).then_nothing()
