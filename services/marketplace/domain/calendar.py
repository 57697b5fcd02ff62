"""Business days, and the deadline that counts them. Pure: a calendar is handed in."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.events import CancelBy

DAY = timedelta(days=1)
SATURDAY, SUNDAY = 5, 6
LONGEST_PAUSE_DAYS = 366
"""A calendar without a working day for so long is a mistake in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calendar:
    """Which days are business days somewhere. `id` and `version` name where that is known from."""

    id: str
    version: str
    time_zone: str
    weekend: frozenset[int] = frozenset({SATURDAY, SUNDAY})
    """Weekdays, Monday is 0."""
    holidays: frozenset[date] = frozenset()
    working_days: frozenset[date] = frozenset()
    """Worked although they fall on a weekend or a holiday."""

    def works(self, day: date) -> bool:
        if day in self.working_days:
            return True
        return day.weekday() not in self.weekend and day not in self.holidays


def last_permitted_day(ends: date, calendar: Calendar, business_days: int = 5) -> date:
    """So many business days before `ends`. Raises ValueError on a calendar that never works."""
    day, left, at_least = ends, business_days, ends - LONGEST_PAUSE_DAYS * DAY
    while left:
        day -= DAY
        if day < at_least:
            raise ValueError(f"the calendar {calendar.id} has no {business_days} business days before {ends}")
        if calendar.works(day):
            left -= 1
    return day


def end_of(day: date, time_zone: str) -> datetime:
    """The first UTC instant after `day` in the zone. Where midnight is skipped or comes twice, the earliest."""
    return datetime.combine(day + DAY, time.min, ZoneInfo(time_zone)).astimezone(UTC)


def start_of(day: date, time_zone: str) -> datetime:
    """The first UTC instant of `day` in the zone."""
    return end_of(day - DAY, time_zone)


def cancel_by(ends: date, calendar: Calendar, business_days: int) -> CancelBy:
    """The last moment to turn auto-renew off for a term that ends on `ends`."""
    last_day = last_permitted_day(ends, calendar, business_days)
    return CancelBy(
        last_day=last_day,
        deadline=end_of(last_day, calendar.time_zone),
        time_zone=calendar.time_zone,
        calendar=calendar.id,
        calendar_version=calendar.version,
    )
