"""The language of the specs says no where it should: each `then` fails on what it does not say."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from services.identity.domain.clock import CLOCK, MoveClock
from shared.events import ClockMoved
from tests.spec import given

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MOVED = ClockMoved(organisation_id="org", ahead_s=24 * 3600, moved_by="mina")


def move(days: int) -> MoveClock:
    to = NOON + timedelta(days=days)
    return MoveClock(to=to, organisation_id="org", sandbox=True, now=NOON, moved_by="mina")


ACCEPTED = given(CLOCK).when(move(1))
NOTHING = given(CLOCK, MOVED).when(move(1))
REFUSED = given(CLOCK, MOVED).when(move(-1))


def test_an_outcome_is_what_it_is() -> None:
    ACCEPTED.then(MOVED)
    NOTHING.then_nothing()
    REFUSED.then_refused("clock-backwards", because=[MOVED])
    REFUSED.then_refused("clock-backwards", because=[ClockMoved])
    given(CLOCK).after(move(1)).when(move(1)).then_nothing()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ACCEPTED.then(),
        lambda: ACCEPTED.then(MOVED, MOVED),
        lambda: ACCEPTED.then_nothing(),
        lambda: ACCEPTED.then_refused("clock-backwards"),
        lambda: NOTHING.then(MOVED),
        lambda: NOTHING.then_accepted(),
        lambda: REFUSED.then(),
        lambda: REFUSED.then_nothing(),
        lambda: REFUSED.then_accepted(),
        lambda: REFUSED.then_refused("clock-too-far", because=[MOVED]),
        lambda: REFUSED.then_refused("clock-backwards"),
        lambda: REFUSED.then_refused("clock-backwards", because=[MOVED.model_copy(update={"ahead_s": 1})]),
        lambda: REFUSED.then_refused("clock-backwards", because=[MOVED.model_copy().recorded("another")]),
        lambda: REFUSED.then_refused("clock-backwards", because=[MOVED, MOVED]),
        lambda: given(CLOCK, MOVED).after(move(-1)),
    ],
)
def test_it_is_nothing_else(wrong: Callable[[], object]) -> None:
    with pytest.raises(AssertionError):
        wrong()
