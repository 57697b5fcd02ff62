"""Business dates in time zones: when a day begins and ends, and which day it is.

Every service turns dates into instants by these functions, so that a term ends in each of them at the same moment. A
day begins at its first instant in the zone: where clocks skip midnight, the instant of the change; where midnight
occurs twice, the first. So each instant belongs to one day, and a day ends where the next one begins.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def begins(day: date, time_zone: str) -> datetime:
    """Return the first UTC instant of `day` in the zone.

    A day that the zone skips (Samoa has no 30 December 2011) begins and ends where the next one begins.
    """
    zone = ZoneInfo(time_zone)
    midnight = datetime.combine(day, time.min, zone)
    instant = midnight.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return instant
    # Clocks skip midnight (PEP 495): before the change one offset holds, and after it the other. The change lies
    # between the instants that midnight would be by each of them.
    before, after = midnight.replace(fold=1).astimezone(UTC), instant
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle -= timedelta(microseconds=middle.microsecond)
        before, after = (before, middle) if middle.astimezone(zone).date() >= day else (middle, after)
    return after


def ends(day: date, time_zone: str) -> datetime:
    """Return the first UTC instant after `day` in the zone."""
    return begins(day + _DAY, time_zone)


def day_of(now: datetime, time_zone: str) -> date:
    """Return the day that it is in the zone: the latest one that has begun.

    It never goes back, not even where clocks are set back across midnight.
    """
    local = now.astimezone(ZoneInfo(time_zone)).date()
    return local + _DAY if begins(local + _DAY, time_zone) <= now else local
