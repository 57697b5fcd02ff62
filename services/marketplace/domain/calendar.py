"""Business-day calendars, and the deadline that is counted by them."""

from dataclasses import dataclass
from datetime import date, timedelta

from shared import days
from shared.events import CancelBy

DAY = timedelta(days=1)
SATURDAY, SUNDAY = 5, 6
LONGEST_PAUSE_DAYS = 366
"""The longest span without enough business days. A calendar with a longer one is a mistake."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calendar:
    """The business days of a region. `id` and `version` name the calendar that they come from."""

    id: str
    version: str
    time_zone: str
    weekend: frozenset[int] = frozenset({SATURDAY, SUNDAY})
    """Weekdays that are not business days. Monday is 0."""
    holidays: frozenset[date] = frozenset()
    working_days: frozenset[date] = frozenset()
    """Business days that fall on a weekend or a holiday."""

    def works(self, day: date) -> bool:
        """Return whether `day` is a business day."""
        if day in self.working_days:
            return True
        return day.weekday() not in self.weekend and day not in self.holidays


def last_permitted_day(ends: date, calendar: Calendar, business_days: int = 5) -> date:
    """Return the day that is `business_days` business days before `ends`.

    Raises:
        ValueError: if the calendar does not have that many business days in the year before.
    """
    day, remaining, earliest = ends, business_days, ends - LONGEST_PAUSE_DAYS * DAY
    while remaining:
        day -= DAY
        if day < earliest:
            raise ValueError(f"the calendar {calendar.id} has no {business_days} business days before {ends}")
        if calendar.works(day):
            remaining -= 1
    return day


def cancel_by(ends: date, calendar: Calendar, business_days: int) -> CancelBy:
    """Return the deadline for turning auto-renew off for a term that ends on `ends`."""
    last_day = last_permitted_day(ends, calendar, business_days)
    return CancelBy(
        last_day=last_day,
        deadline=days.ends(last_day, calendar.time_zone),
        time_zone=calendar.time_zone,
        calendar=calendar.id,
        calendar_version=calendar.version,
    )
