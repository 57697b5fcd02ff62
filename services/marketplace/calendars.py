"""Business-day calendars of countries, out of the `holidays` library and calendars.toml (or the file that
TENURE_CALENDARS names). The library's version and the file's own are the calendar's."""

import os
import re
import tomllib
from datetime import date, timedelta
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final

import holidays
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from services.marketplace.domain.calendar import Calendar
from shared.events.fields import time_zones

WEEKENDS_ONLY: Final = "weekends-only"
"""The version of a calendar that knows no holidays; its id, too, where no country is told."""
_PACKAGED: Final = Path(__file__).with_name("calendars.toml")


class Overrides(BaseModel):
    """What is different in a country from what the library says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[str, Field(min_length=1, max_length=40)]
    holidays: frozenset[date] = frozenset()
    working_days: frozenset[date] = frozenset()


_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_FILE: Final = TypeAdapter(dict[Annotated[str, Field(pattern=rf"^{_COUNTRY.pattern}$")], Overrides])


@cache
def overrides() -> dict[str, Overrides]:
    """By country. Raises what is wrong with the file."""
    with Path(os.environ.get("TENURE_CALENDARS") or _PACKAGED).open("rb") as file:
        return _FILE.validate_python(tomllib.load(file))


@cache
def _version() -> str:
    return metadata.version("holidays")


def zone(name: str) -> str:
    """The time zone if there is one of this name, else UTC: orders of before zones were checked name what they like."""
    return name if name in time_zones() else "UTC"


@lru_cache(1_000)
def _public(country: str, years: tuple[int, ...]) -> holidays.HolidayBase | None:
    """What the library knows, None where it doesn't know the country; it takes its time to find out."""
    if country not in holidays.list_supported_countries(include_aliases=True):
        return None
    return holidays.country_holidays(country, years=years)


def business_calendar(country: str, time_zone: str, ends: date) -> Calendar:
    """The country's public holidays, weekend and worked weekend days for a deadline that lies before `ends`."""
    years = (ends.year - 1, ends.year)
    own = overrides().get(country.upper())
    known = _public(country.upper(), years)
    if known is None:
        # Under the country's own name, by which a renewal looks for it: what the file says by then counts.
        named = country.upper() if _COUNTRY.fullmatch(country.upper()) else WEEKENDS_ONLY
        if own is None:
            return Calendar(id=named, version=WEEKENDS_ONLY, time_zone=zone(time_zone))
        return Calendar(
            id=named,
            version=f"{WEEKENDS_ONLY}, {named} {own.version}",
            time_zone=zone(time_zone),
            holidays=own.holidays,
            working_days=own.working_days,
        )
    # A country's weekend may change over the years; the one that counts is the one at the term's end.
    last_week = [ends - timedelta(days=n) for n in range(1, 8)]
    return Calendar(
        id=country.upper(),
        version=f"holidays {_version()}" + (f", {country.upper()} {own.version}" if own else ""),
        time_zone=zone(time_zone),
        weekend=frozenset(day.weekday() for day in last_week if known.is_weekend(day)),
        holidays=frozenset(known) | (own.holidays if own else frozenset()),
        working_days=frozenset(day for day in known.weekend_workdays if day.year in years)
        | (own.working_days if own else frozenset()),
    )
