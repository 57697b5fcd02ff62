"""Maintenance windows, by the clocks of their time zones."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.distribution.windows import is_open, opens_at
from shared.events import MaintenanceWindow
from shared.events.distribution import Weekday
from shared.events.fields import time_zones

WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SECOND = timedelta(seconds=1)


def window(weekday: Weekday, starts: str, minutes: int, time_zone: str = "Europe/Berlin") -> MaintenanceWindow:
    return MaintenanceWindow(weekday=weekday, starts=starts, minutes=minutes, time_zone=time_zone)


def lasts(opened: MaintenanceWindow, starts: str, ends: str) -> None:
    """It is open from the first of these instants until just before the second, and neither before nor after."""
    first, end = datetime.fromisoformat(starts), datetime.fromisoformat(ends)
    assert [is_open([opened], now) for now in (first - SECOND, first, end - SECOND, end)] == [False, True, True, False]


def test_without_windows_it_is_always_open_and_with_several_while_one_is() -> None:
    now = datetime.fromisoformat("2026-11-21T21:00Z")
    both = [window("saturday", "22:00", 60), window("saturday", "22:30", 60)]
    assert is_open([], now) and is_open(both, now) and is_open(both, now + timedelta(minutes=89))
    assert not is_open(both, now - SECOND) and not is_open(both, now + timedelta(minutes=90))


def test_the_next_window_is_the_first_that_opens() -> None:
    now = datetime.fromisoformat("2026-11-21T20:00Z")
    both = [window("friday", "22:00", 60), window("saturday", "22:00", 60)]
    assert opens_at(both, now) == now + timedelta(hours=1)
    assert opens_at(both, now + timedelta(hours=1)) is None and opens_at([], now) is None, "it is open"
    assert opens_at(both, now + timedelta(hours=2)) == now + timedelta(days=6, hours=1)


def test_a_window_is_open_by_its_own_clock_from_its_first_instant_until_its_end() -> None:
    lasts(window("saturday", "22:00", 60), "2026-11-21T21:00Z", "2026-11-21T22:00Z")
    lasts(window("saturday", "22:00", 60, "Asia/Kathmandu"), "2026-11-21T16:15Z", "2026-11-21T17:15Z")
    lasts(window("saturday", "22:00", 1), "2026-11-21T21:00Z", "2026-11-21T21:01Z")
    assert not is_open([window("saturday", "22:00", 60)], datetime.fromisoformat("2026-11-22T21:30Z")), "sunday"


@pytest.mark.parametrize("asked", ["+05:30", "-08:00", "+14:00"])
def test_the_zone_of_the_clock_that_asks_is_indifferent(asked: str) -> None:
    zone = datetime.fromisoformat(f"2026-01-01T00:00{asked}").tzinfo
    now = datetime.fromisoformat("2026-11-21T21:00Z").astimezone(zone)
    assert is_open([window("saturday", "22:00", 60)], now) and not is_open(
        [window("saturday", "22:00", 60)], now - SECOND
    )


def test_a_window_goes_on_over_midnight() -> None:
    lasts(window("saturday", "22:00", 240), "2026-11-21T21:00Z", "2026-11-22T01:00Z")
    lasts(window("saturday", "23:59", 1440), "2026-11-21T22:59Z", "2026-11-22T22:59Z")
    lasts(window("saturday", "00:00", 1440), "2026-11-20T23:00Z", "2026-11-21T23:00Z")


def test_a_window_over_the_clock_going_forward_lasts_its_minutes() -> None:
    """2027-03-28 in Berlin: after 01:59 comes 03:00."""
    lasts(window("sunday", "01:00", 120), "2027-03-28T00:00Z", "2027-03-28T02:00Z")  # 04:00 by the clock
    lasts(window("saturday", "22:00", 360), "2027-03-27T21:00Z", "2027-03-28T03:00Z")  # over midnight as well
    lasts(window("sunday", "03:00", 60), "2027-03-28T01:00Z", "2027-03-28T02:00Z")  # the first instant after it


def test_a_window_that_starts_in_the_hour_left_out_starts_as_much_later() -> None:
    lasts(window("sunday", "02:30", 60), "2027-03-28T01:30Z", "2027-03-28T02:30Z")  # 03:30 by the clock
    lasts(window("sunday", "00:00", 60, "America/Santiago"), "2026-09-06T04:00Z", "2026-09-06T05:00Z")  # 01:00


def test_a_days_length_from_just_before_midnight_reaches_the_day_after_the_short_one() -> None:
    """The sunday has 23 hours: what began on saturday is still open on monday."""
    lasts(window("saturday", "23:30", 1440), "2027-03-27T22:30Z", "2027-03-28T22:30Z")  # monday, 00:30


def test_a_window_over_the_clock_going_back_lasts_its_minutes() -> None:
    """2026-10-25 in Berlin: 02:00 to 02:59 comes twice."""
    lasts(window("sunday", "01:00", 120), "2026-10-24T23:00Z", "2026-10-25T01:00Z")  # 02:00 for the second time
    lasts(window("saturday", "22:00", 360), "2026-10-24T20:00Z", "2026-10-25T02:00Z")  # over midnight as well
    lasts(window("sunday", "03:00", 60), "2026-10-25T02:00Z", "2026-10-25T03:00Z")  # the first hour that comes once


def test_a_window_that_starts_in_the_hour_that_comes_twice_opens_once() -> None:
    lasts(window("sunday", "02:30", 30), "2026-10-25T00:30Z", "2026-10-25T01:00Z")
    assert not is_open([window("sunday", "02:30", 30)], datetime.fromisoformat("2026-10-25T01:30Z")), "02:30 again"


def test_where_clocks_go_back_over_midnight_the_day_that_began_goes_on() -> None:
    """2010-11-07 in St. John's: after 00:00 comes saturday's 23:01 once more."""
    lasts(window("sunday", "00:00", 60, "America/St_Johns"), "2010-11-07T02:30Z", "2010-11-07T03:30Z")


@given(
    st.sampled_from(sorted(time_zones())),
    st.dates(date(2000, 1, 1), date(2035, 12, 31)),
    st.times(),
    st.integers(1, 1440),
    st.data(),
)
def test_a_window_is_open_for_all_of_its_minutes_on_every_day_everywhere(
    name: str, day: date, at: time, minutes: int, data: st.DataObject
) -> None:
    opened = window(WEEKDAYS[day.weekday()], f"{at:%H:%M}", minutes, name)
    first = datetime.combine(day, at.replace(second=0, microsecond=0), ZoneInfo(name)).astimezone(UTC)
    second = data.draw(st.integers(0, 60 * minutes - 1))
    assert is_open([opened], first + timedelta(seconds=second))
    assert not is_open([opened], first + timedelta(minutes=minutes)) and not is_open([opened], first - SECOND)
