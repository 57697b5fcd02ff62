"""Maintenance windows, by the clocks of their time zones."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final, get_args
from zoneinfo import ZoneInfo

from shared.events import MaintenanceWindow
from shared.events.distribution import Weekday

_WEEKDAYS: Final = get_args(Weekday)


def is_open(windows: Sequence[MaintenanceWindow], now: datetime) -> bool:
    """Whether one of them is open; always where there are none. A window lasts its minutes also over midnight, and
    where clocks are changed meanwhile. One that starts in an hour that is left out starts when that hour would be over;
    one that starts in an hour that comes twice starts the first time."""
    return not windows or any(_open(window, now) for window in windows)


def _open(window: MaintenanceWindow, now: datetime) -> bool:
    zone = ZoneInfo(window.time_zone)
    today = now.astimezone(zone).date()
    # A day's length reaches into the day after the next where clocks go forward; where they go back over midnight, the
    # next day may have begun for a moment.
    for day in (today + timedelta(days) for days in range(-2, 2)):
        start = datetime.combine(day, time.fromisoformat(window.starts), zone).astimezone(UTC)
        if _WEEKDAYS[day.weekday()] == window.weekday and start <= now < start + timedelta(minutes=window.minutes):
            return True
    return False
