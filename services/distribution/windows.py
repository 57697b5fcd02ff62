"""Maintenance windows, in local time."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
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


def _open(window: MaintenanceWindow, now: datetime) -> bool:
    zone = ZoneInfo(window.time_zone)
    today = now.astimezone(zone).date()
    # A window of a day's length can end on the second day after its start if clocks go forward meanwhile. If clocks go
    # back over midnight, a window of the next day may already have begun.
    for day in (today + timedelta(days) for days in range(-2, 2)):
        start = datetime.combine(day, time.fromisoformat(window.starts), zone).astimezone(UTC)
        if _WEEKDAYS[day.weekday()] == window.weekday and start <= now < start + timedelta(minutes=window.minutes):
            return True
    return False
