"""Business-day calendars of countries, out of the `holidays` library; its version is the calendar's."""

from datetime import date, timedelta
from functools import cache
from importlib import metadata
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays

from services.marketplace.domain.calendar import Calendar

WEEKENDS_ONLY: Final = "weekends-only"
"""The calendar of a country that the library doesn't know."""


@cache
def _version() -> str:
    return metadata.version("holidays")


def zone(name: str) -> str:
    """The time zone if there is one of this name, else UTC."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"
    return name


def business_calendar(country: str, time_zone: str, ends: date) -> Calendar:
    """The country's public holidays, weekend and worked weekend days for a deadline that lies before `ends`."""
    years = (ends.year - 1, ends.year)
    try:
        known = holidays.country_holidays(country.upper(), years=years)
    except NotImplementedError:
        return Calendar(WEEKENDS_ONLY, "1", zone(time_zone))
    # A country's weekend may change over the years; the one that counts is the one at the term's end.
    last_week = [ends - timedelta(days=n) for n in range(1, 8)]
    return Calendar(
        id=country.upper(),
        version=f"holidays {_version()}",
        time_zone=zone(time_zone),
        weekend=frozenset(day.weekday() for day in last_week if known.is_weekend(day)),
        holidays=frozenset(known),
        working_days=frozenset(day for day in known.weekend_workdays if day.year in years),
    )
