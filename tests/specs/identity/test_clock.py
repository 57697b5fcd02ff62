"""Given a sandbox's clock, when it is moved, then it is ahead from there on, or a refusal says why not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import reduce

from services.identity.domain.clock import CLOCK, FURTHEST, INITIAL, Event, MoveClock, ahead_s, evolve
from shared.eventlog.decision import Decision, Rejected
from shared.events import ClockMoved

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = 24 * 3600
TOMORROW = MoveClock(to=NOON + timedelta(days=1), organisation_id="org", sandbox=True, now=NOON, moved_by="mina")
MOVED = ClockMoved(organisation_id="org", ahead_s=DAY, moved_by="mina")


def when(command: MoveClock, *, given: tuple[Event, ...] = ()) -> Decision[Event]:
    return CLOCK.decide(command, reduce(evolve, given, INITIAL))


def refused(decision: Decision[Event], rule: str) -> Rejected:
    assert isinstance(decision, Rejected) and decision.rule == rule and decision.remedy, decision
    return decision


def test_a_sandboxs_time_moves_forward() -> None:
    assert when(TOMORROW) == (MOVED,)
    assert when(TOMORROW, given=(MOVED,)) == (), "to where it is already"
    assert (ahead_s(INITIAL), ahead_s(evolve(INITIAL, MOVED))) == (0, DAY)


def test_time_runs_on_from_there_and_moves_on_from_there() -> None:
    later = replace(TOMORROW, now=NOON + timedelta(hours=1), to=NOON + timedelta(days=2))
    assert when(later, given=(MOVED,)) == (MOVED.model_copy(update={"ahead_s": 2 * DAY - 3600}),)


def test_only_a_sandbox_has_a_clock_to_move() -> None:
    refused(when(replace(TOMORROW, sandbox=False)), "not-a-sandbox")


def test_time_does_not_run_backwards() -> None:
    back = refused(when(replace(TOMORROW, to=NOON + timedelta(hours=23)), given=(MOVED,)), "clock-backwards")
    assert back.because == (MOVED,) and "2026-11-22T12:00:00" in back.reason
    refused(when(replace(TOMORROW, to=NOON - timedelta(seconds=1))), "clock-backwards")


def test_five_years_ahead_is_the_furthest() -> None:
    assert isinstance(when(replace(TOMORROW, to=NOON + FURTHEST)), tuple)
    refused(when(replace(TOMORROW, to=NOON + FURTHEST + timedelta(seconds=1))), "clock-too-far")
    refused(when(replace(TOMORROW, to=datetime.max.replace(tzinfo=UTC))), "clock-too-far")
    assert isinstance(when(replace(TOMORROW, to=NOON.replace(year=2031))), tuple)


def test_any_zone_is_read() -> None:
    berlin = timezone(timedelta(hours=1))
    assert when(replace(TOMORROW, to=TOMORROW.to.astimezone(berlin))) == (MOVED,)
    refused(when(replace(TOMORROW, to=datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))), "clock-backwards")


def test_it_is_never_short_of_what_was_asked() -> None:
    assert when(replace(TOMORROW, now=NOON + timedelta(microseconds=1))) == (MOVED,)
