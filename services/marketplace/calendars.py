"""Business-day calendars of countries.

They are computed from the `holidays` library and from calendars.toml, or the file that TENURE_CALENDARS names. A
calendar's version names the library's version and the file's.
"""

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
from services.marketplace.domain.order import Awaiting
from services.marketplace.domain.terms import term_ends, zone_of
from shared.events.fields import Country

WEEKENDS_ONLY: Final = "weekends-only"
"""The version of a calendar without holidays of the library, and its id if no country is known."""
_PACKAGED: Final = Path(__file__).with_name("calendars.toml")


class Overrides(BaseModel):
    """A country's additional holidays and working days, beside the library's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[str, Field(min_length=1, max_length=40)]
    holidays: frozenset[date] = frozenset()
    working_days: frozenset[date] = frozenset()


_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_FILE: Final = TypeAdapter(dict[Country, Overrides])


@cache
def overrides() -> dict[str, Overrides]:
    """Return the overrides by country.

    Raises:
        OSError: The file can't be read.
        ValueError: The file is invalid, or names something else than a country.
    """
    with Path(os.environ.get("TENURE_CALENDARS") or _PACKAGED).open("rb") as file:
        return _FILE.validate_python(tomllib.load(file))


@cache
def _version() -> str:
    return metadata.version("holidays")


@lru_cache(1_000)
def _public_holidays(country: str, years: tuple[int, ...]) -> holidays.HolidayBase | None:
    """Return the library's calendar of the country, or None if it has none.

    Cached, because the library takes long to compute it.
    """
    if country not in holidays.list_supported_countries(include_aliases=True):
        return None
    return holidays.country_holidays(country, years=years)


def business_calendar(country: str, time_zone: str, ends: date) -> Calendar:
    """Return the country's calendar for a deadline before `ends`.

    It has the public holidays, the weekend and the weekend days that are worked in the year of `ends` and the year
    before.
    """
    years = (ends.year - 1, ends.year)
    public = _public_holidays(country.upper(), years)
    if public is None:
        # An order from before countries were checked. A new one is refused at the checkout.
        calendar_id = country.upper() if _COUNTRY.fullmatch(country.upper()) else WEEKENDS_ONLY
        return Calendar(id=calendar_id, version=WEEKENDS_ONLY, time_zone=time_zone)
    own = overrides().get(country.upper())
    # A country's weekend may change over the years; the one that counts is the one at the term's end.
    last_week = [ends - timedelta(days=n) for n in range(1, 8)]
    return Calendar(
        id=country.upper(),
        version=f"holidays {_version()}" + (f", {country.upper()} {own.version}" if own else ""),
        time_zone=time_zone,
        weekend=frozenset(day.weekday() for day in last_week if public.is_weekend(day)),
        holidays=frozenset(public) | (own.holidays if own else frozenset()),
        working_days=frozenset(day for day in public.weekend_workdays if day.year in years)
        | (own.working_days if own else frozenset()),
    )


def calendar_of_order(state: object) -> Calendar:
    """Return the business days that count for the order, if the publisher accepts it now.

    Only an awaited order's calendar is ever used; any other state answers without one.
    """
    if not isinstance(state, Awaiting):
        return business_calendar("", "UTC", term_ends(date(2000, 1, 1)))
    order = state.order
    return business_calendar(order.country, zone_of(order), term_ends(order.starts))
