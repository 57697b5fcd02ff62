"""The languages of the pages: catalogues, their choice, and formats.

A sentence in the source is English and the key of its translation in `locale/<language>/`, which has a file an area
and is read as the process starts: there is no compiled file to keep up to date.
"""

import gettext
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import pycountry
from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.dates import format_date, format_skeleton, format_time
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

from shared.runtime.amounts import localised
from shared.runtime.zones import zone_name

FOLDER: Final = Path(__file__).parent / "locale"
SOURCE: Final = "en"
LANGUAGES: Final = (SOURCE, *sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir()))
LOCALES: Final = ("en-GB", "en-US", "de-DE", "de-AT", "de-CH")
"""The language and formats that a profile offers; it may have any other, which the API has set."""
_AREAS: Final = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """Return the translations into a language; the source's own are none."""
    if language == SOURCE:
        return gettext.NullTranslations()
    compiled, whole = io.BytesIO(), Catalog(language)
    for file in sorted((FOLDER / language).glob("*.po")):
        for message in read_po(io.BytesIO(file.read_bytes()), locale=language):
            whole[message.id] = message
    write_mo(compiled, whole)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def marked(sentence: str) -> str:
    """Return the sentence, which is to be translated where it is shown."""
    return sentence


@dataclass(frozen=True, slots=True)
class Texts:
    """A person's language and formats."""

    locale: Locale
    zone: ZoneInfo | None = None

    @property
    def language(self) -> str:
        return self.locale.language

    def gettext(self, sentence: str) -> str:
        """Return the sentence in the person's language."""
        return catalogue(self.language).gettext(sentence)

    def ngettext(self, one: str, many: str, count: int) -> str:
        """Return the sentence for this count in the person's language."""
        return catalogue(self.language).ngettext(one, many, count)

    def time(self, moment: datetime) -> str:
        """Return a point in time as the person writes it, with its zone."""
        local = moment.astimezone(self.zone or ZoneInfo("UTC"))
        parts = (
            f"{format_date(local, 'medium', locale=self.locale)},",
            format_time(local, "short", locale=self.locale),
            zone_name(local, self.locale),
        )
        return " ".join(parts)

    def second(self, moment: datetime) -> str:
        """Return a point in time to the second."""
        local = moment.astimezone(self.zone or ZoneInfo("UTC"))
        day, time = format_date(local, "medium", locale=self.locale), format_time(local, "medium", locale=self.locale)
        return f"{day}, {time} {zone_name(local, self.locale)}"

    def day(self, day: date) -> str:
        """Return a calendar date as the person writes it."""
        return format_date(day, "medium", locale=self.locale)

    def day_of(self, moment: datetime) -> str:
        """Return the calendar date of a point in time, in the person's zone."""
        return self.day(moment.astimezone(self.zone or ZoneInfo("UTC")).date())

    def month(self, day: date) -> str:
        """Return a date's month and year."""
        return format_skeleton("yMMMM", day, locale=self.locale)

    def number(self, value: int | Decimal) -> str:
        return format_decimal(value, locale=self.locale)

    def percent(self, value: int) -> str:
        """Return a whole number of percent."""
        return format_percent(Decimal(value) / 100, locale=self.locale)

    def size(self, number: int) -> str:
        """Return a number of bytes in the unit that fits it."""
        for unit, size in (("gigabyte", 10**9), ("megabyte", 10**6), ("kilobyte", 10**3)):
            if number >= size:
                return format_unit(round(number / size, 1), f"digital-{unit}", "short", locale=self.locale)
        return format_unit(number, "digital-byte", locale=self.locale)

    def seconds(self, seconds: float) -> str:
        """Return a duration in the unit that fits it."""
        for unit, length in (("day", 172_800), ("hour", 7_200), ("minute", 120)):
            if seconds >= length:
                number = seconds / {"day": 86_400, "hour": 3_600, "minute": 60}[unit]
                return format_unit(round(number, 1), f"duration-{unit}", "short", locale=self.locale)
        return format_unit(round(seconds, 3), "duration-second", "short", locale=self.locale)

    def money(self, amount: int, currency: str) -> str:
        """Return an amount of the currency's minor units, such as cents."""
        return localised(amount, currency, self.locale)

    def country(self, code: str) -> str:
        """Return a country's name."""
        name: str = self.locale.territories.get(code, code)
        return name

    def locale_name(self, tag: str) -> str:
        """Return the name of a language and its region."""
        known = _parsed(tag)
        name: str | None = known.get_display_name(self.locale) if known else None
        return name or tag


def texts_for(tag: str | None, accepted: str = "", zone: str | None = None) -> Texts:
    """Return the texts of a profile's locale, or else of Accept-Language."""
    for wanted in (*([tag] if tag else []), *_accepted(accepted)):
        locale = _parsed(wanted)
        if locale is not None and locale.language in LANGUAGES:
            return Texts(locale, _zone(zone))
    return Texts(Locale(SOURCE), _zone(zone))


def _accepted(header: str) -> Sequence[str]:
    """Return the languages of Accept-Language, the preferred ones first.

    Source: RFC 9110, section 12.5.4.
    """
    found: list[tuple[float, str]] = []
    for part in header[:500].split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            found.append((-float(weight or 1), tag.strip()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(found, key=lambda each: each[0]) if weight < 0]


@lru_cache(maxsize=500)
def _parsed(tag: str) -> Locale | None:
    try:
        return Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError, TypeError):
        return None


def _zone(name: str | None) -> ZoneInfo | None:
    return ZoneInfo(name) if name and name in available_zones() else None


@cache
def available_zones() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=20)
def countries(locale: Locale) -> Mapping[str, str]:
    """Return the countries' names by code, in the language's order."""
    codes = [str(country.alpha_2) for country in pycountry.countries]
    named = {code: locale.territories.get(code, code) for code in codes}
    return dict(sorted(named.items(), key=lambda each: _plain(each[1])))


def _plain(name: str) -> str:
    return name.casefold().translate(str.maketrans("äöüåéíç", "aouaeic"))


@cache
def zones() -> Sequence[str]:
    """Return the time zones that a profile offers: those of places, and UTC."""
    places = (name for name in available_zones() if name.startswith(tuple(f"{area}/" for area in _AREAS)))
    return ("UTC", *sorted(places))


def zone_of(country: str) -> str:
    """Return a time zone of the country, the first where it has several."""
    of_country: Sequence[str] = get_global("territory_zones").get(country.upper(), ())
    return next((zone for zone in of_country if zone in available_zones()), "UTC")
