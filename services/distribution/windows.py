"""Maintenance windows, in local time."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, get_args
from zoneinfo import ZoneInfo

from shared.events import MaintenanceWindow
from shared.events.distribution import Weekday

_WEEKDAYS: Final = get_args(Weekday)


def is_open(windows: Sequence[MaintenanceWindow], now: datetime) -> bool:
    """Return whether one of the windows is open; true if there are none.

    A window always lasts its number of minutes, even over midnight or a change to or from daylight saving time. A
    window whose start falls into the skipped hour starts later by the skipped time; a window whose start falls into
    the repeated hour starts at the first occurrence.
    """
    return not windows or any(_open(window, now) for window in windows)


def opens_at(windows: Sequence[MaintenanceWindow], now: datetime) -> datetime | None:
    """Return when the next of the windows opens; None if one is open, or there are none."""
    if is_open(windows, now):
        return None
    return min(_next(window, now) for window in windows)


def _next(window: MaintenanceWindow, now: datetime) -> datetime:
    zone = ZoneInfo(window.time_zone)
    today = now.astimezone(zone).date()
    starts = (_start(window, today + timedelta(days), zone) for days in range(-1, 9))
    return next(start for start in starts if start is not None and start > now)


def _start(window: MaintenanceWindow, day: date, zone: ZoneInfo) -> datetime | None:
    """Return when the window opens on a day; None if it does not."""
    if _WEEKDAYS[day.weekday()] != window.weekday:
        return None
    return datetime.combine(day, time.fromisoformat(window.starts), zone).astimezone(UTC)


def _open(window: MaintenanceWindow, now: datetime) -> bool:
    zone = ZoneInfo(window.time_zone)
    today = now.astimezone(zone).date()
    # A window of a day's length can end on the second day after its start if clocks go forward meanwhile. If clocks go
    # back over midnight, a window of the next day may already have begun.
    for day in (today + timedelta(days) for days in range(-2, 2)):
        start = _start(window, day, zone)
        if start is not None and start <= now < start + timedelta(minutes=window.minutes):
            return True
    return False
