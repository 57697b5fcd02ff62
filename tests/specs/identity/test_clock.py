"""Given a sandbox's clock, when it is moved, then it is ahead from there on, or a refusal says why not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from services.identity.domain.clock import CLOCK, FURTHEST, INITIAL, MoveClock, ahead_s, evolve
from shared.events import ClockMoved
from tests.spec import given

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = 24 * 3600
TOMORROW = MoveClock(to=NOON + timedelta(days=1), organisation_id="org", sandbox=True, now=NOON, moved_by="mina")
MOVED = ClockMoved(organisation_id="org", ahead_s=DAY, moved_by="mina")


def test_a_sandboxs_time_moves_forward() -> None:
    given(CLOCK).when(TOMORROW).then(MOVED)
    given(CLOCK, MOVED).when(TOMORROW).then_nothing()  # to where it is already
    assert (ahead_s(INITIAL), ahead_s(evolve(INITIAL, MOVED))) == (0, DAY)


def test_time_runs_on_from_there_and_moves_on_from_there() -> None:
    later = replace(TOMORROW, now=NOON + timedelta(hours=1), to=NOON + timedelta(days=2))
    given(CLOCK, MOVED).when(later).then(MOVED.model_copy(update={"ahead_s": 2 * DAY - 3600}))


def test_only_a_sandbox_has_a_clock_to_move() -> None:
    given(CLOCK).when(replace(TOMORROW, sandbox=False)).then_refused("not-a-sandbox")


def test_time_does_not_run_backwards() -> None:
    back = given(CLOCK, MOVED).when(replace(TOMORROW, to=NOON + timedelta(hours=23)))
    assert "2026-11-22T12:00:00" in back.then_refused("clock-backwards", because=[MOVED]).reason
    given(CLOCK).when(replace(TOMORROW, to=NOON - timedelta(seconds=1))).then_refused("clock-backwards")


def test_five_years_ahead_is_the_furthest() -> None:
    given(CLOCK).when(replace(TOMORROW, to=NOON + FURTHEST)).then_accepted()
    given(CLOCK).when(replace(TOMORROW, to=NOON + FURTHEST + timedelta(seconds=1))).then_refused("clock-too-far")
    given(CLOCK).when(replace(TOMORROW, to=datetime.max.replace(tzinfo=UTC))).then_refused("clock-too-far")
    given(CLOCK).when(replace(TOMORROW, to=NOON.replace(year=2031))).then_accepted()


def test_any_zone_is_read() -> None:
    berlin = timezone(timedelta(hours=1))
    given(CLOCK).when(replace(TOMORROW, to=TOMORROW.to.astimezone(berlin))).then(MOVED)
    given(CLOCK).when(replace(TOMORROW, to=datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))).then_refused(
        "clock-backwards"
    )


def test_it_is_never_short_of_what_was_asked() -> None:
    given(CLOCK).when(replace(TOMORROW, now=NOON + timedelta(microseconds=1))).then(MOVED)
