"""A pool's days are the customer's: its zone comes with the order, from the opening to the end."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from services.entitlements.domain.credits import usable_seat
from services.entitlements.domain.seat_pool import SEAT_POOL, AdvanceLadder, AssignSeat, EndTerm, RenewPool
from shared import days
from shared.events import SeatPoolEnded, SeatPoolExpired, SeatPoolOpened, SeatPoolRenewed, SeatPoolSuspended
from tests.examples import entitlements
from tests.examples.entitlements import account
from tests.examples.zones import FAR_APART
from tests.spec import given

AUCKLAND = "Pacific/Auckland"
INSTANT = timedelta(microseconds=1)
OPEN = replace(entitlements.OPEN, starts=date(2026, 12, 1), ends=date(2027, 11, 30), time_zone=AUCKLAND)
MIDNIGHT = datetime(2026, 11, 30, 11, tzinfo=UTC)
"""The first instant of 1 December in Auckland."""


def test_seats_in_auckland_can_be_used_from_midnight_there() -> None:
    state: Any = given(SEAT_POOL).after(OPEN, AssignSeat("ana", "oskar", account("ana"))).state
    assert usable_seat(state, "ana", MIDNIGHT - INSTANT) is None
    assert usable_seat(state, "ana", MIDNIGHT) is not None


def test_every_step_after_the_term_is_taken_at_midnight_in_the_pools_zone() -> None:
    over = days.ends(OPEN.ends, AUCKLAND)
    history = given(SEAT_POOL).after(OPEN, EndTerm(OPEN.ends, over))
    (expired,) = given(SEAT_POOL).after(OPEN).when(EndTerm(OPEN.ends, over)).then_accepted()
    assert isinstance(expired, SeatPoolExpired)
    assert (expired.access_until, expired.time_zone) == (date(2027, 12, 15), AUCKLAND)
    closes = datetime(2027, 12, 15, 11, tzinfo=UTC)
    history.when(AdvanceLadder(closes - INSTANT)).then_nothing()
    (suspended,) = history.when(AdvanceLadder(closes)).then_accepted()
    assert isinstance(suspended, SeatPoolSuspended) and suspended.time_zone == AUCKLAND
    ends = days.ends(suspended.kept_until, AUCKLAND)
    history.after(AdvanceLadder(closes)).when(AdvanceLadder(ends - INSTANT)).then_nothing()
    history.after(AdvanceLadder(closes)).when(AdvanceLadder(ends)).then(SeatPoolEnded)


@for_any(st.sampled_from(FAR_APART), st.dates(date(2026, 1, 1), date(2040, 1, 1)))
def test_a_step_is_due_at_the_instant_that_its_timer_is_set_to(zone: str, ended: date) -> None:
    history = given(SEAT_POOL).after(replace(OPEN, time_zone=zone), EndTerm(ended, days.ends(ended, zone)))
    state: Any = history.state
    due = days.ends(state.over.access_until, state.over.time_zone)
    history.when(AdvanceLadder(due - INSTANT)).then_nothing()
    history.when(AdvanceLadder(due)).then(SeatPoolSuspended)


@pytest.mark.parametrize(("named", "zone"), [("Europe/Berlin", "Europe/Berlin"), (None, "UTC")])
def test_a_pool_from_before_counts_in_utc_until_a_renewal_names_a_zone(named: str | None, zone: str) -> None:
    before = given(SEAT_POOL).after(replace(OPEN, time_zone="UTC"))
    (opened,) = before.events
    assert isinstance(opened, SeatPoolOpened)
    (renewed,) = before.when(RenewPool(2, date(2028, 11, 30), named)).then_accepted()
    assert isinstance(renewed, SeatPoolRenewed) and renewed.time_zone == zone
    (expired,) = (
        before.after(RenewPool(2, date(2028, 11, 30), named))
        .when(EndTerm(date(2028, 11, 30), MIDNIGHT))
        .then_accepted()
    )
    assert isinstance(expired, SeatPoolExpired) and expired.time_zone == zone


def test_an_event_from_before_keeps_the_pools_zone() -> None:
    renewed = SeatPoolRenewed(subscription_id="s", contract_id="c", seats=2, ends=date(2028, 11, 30))
    history = given(SEAT_POOL).after(OPEN)
    state: Any = SEAT_POOL.evolve(history.state, renewed)
    assert state.time_zone == AUCKLAND
