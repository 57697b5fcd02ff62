"""The languages and formats of notifications and mails.

A sentence in the source is English and the key of its translation in `locale/<language>.po`, which is read as the
process starts.
"""

import gettext
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache
from pathlib import Path
from string import Formatter
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from pydantic import JsonValue

from shared.runtime.amounts import localised
from shared.runtime.zones import zone_name

FOLDER: Final = Path(__file__).parent / "locale"
SOURCE: Final = "en"
LANGUAGES: Final = (SOURCE, *sorted(file.stem for file in FOLDER.glob("*.po")))
ROLES: Final[Mapping[str, str]] = {
    "contract_manager": "Contract Manager",
    "software_coordinator": "Software Coordinator",
}
UNKNOWN: Final[Mapping[str, str]] = {
    "person": "somebody",
    "organisation": "an organisation",
    "product": "a product",
}
"""What a text says in place of a name that is not known any more."""


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """Return the translations into a language; the source's own are none."""
    if language == SOURCE:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with (FOLDER / f"{language}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@lru_cache(maxsize=500)
def locale_of(tag: str) -> Locale:
    """Return a profile's locale, or the source's if there are no texts in its language."""
    try:
        locale = Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale(SOURCE)
    return locale if locale.language in LANGUAGES else Locale(SOURCE)


@dataclass(frozen=True, slots=True)
class Words:
    """A person's language, formats and time zone."""

    locale: Locale
    zone: ZoneInfo

    def gettext(self, sentence: str) -> str:
        """Return the sentence in the person's language."""
        return catalogue(self.locale.language).gettext(sentence)

    def date(self, day: date) -> str:
        """Return a day as the person writes it."""
        return format_date(day, "long", locale=self.locale)

    def instant(self, moment: datetime) -> str:
        """Return a point in time as the person writes it, with the zone."""
        local = moment.astimezone(self.zone)
        zone = zone_name(local, self.locale)
        return f"{self.date(local)}, {format_time(local, 'short', locale=self.locale)} {zone}"

    def money(self, amount: int, currency: str) -> str:
        """Return an amount of minor units as the person writes it."""
        return localised(amount, currency, self.locale)

    def text(self, sentence: str, facts: Mapping[str, JsonValue]) -> str:
        """Return the sentence in the person's language, with the facts in its places."""
        filled = _Places(self).vformat(self.gettext(sentence), (), _OrUnknown(facts))
        paragraphs = (part.strip("\n") for part in filled.split("\n\n"))
        return "\n\n".join(part for part in paragraphs if part)


class _OrUnknown(dict[str, JsonValue]):
    """The facts of a text, "" for one that is missing."""

    def __missing__(self, _name: str) -> JsonValue:
        return ""


class _Places(Formatter):
    """The forms of a text's places."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def get_field(self, field_name: str, _args: object, kwargs: Mapping[str, JsonValue]) -> tuple[JsonValue, str]:
        """Return a place's fact. Names only: no attribute and no index of a fact can be reached."""
        value = kwargs[field_name]
        if field_name == "product" and not value:
            return self._words.gettext(UNKNOWN["product"]), field_name
        return value, field_name

    def format_field(self, value: JsonValue, format_spec: str) -> str:
        """Return a fact in the form that the place names."""
        words = self._words
        match format_spec, value:
            case "date", str():
                return words.date(date.fromisoformat(value)) if value else ""
            case "instant", str():
                return words.instant(datetime.fromisoformat(value)) if value else ""
            case "number", int():
                return format_decimal(value, locale=words.locale)
            case "money", {"amount": int(amount), "currency": str(currency)}:
                return words.money(amount, currency)
            case "role", str():
                return words.gettext(ROLES.get(value, value))
            case "quoted", str():
                return "\n".join(f"> {printable(line)}" for line in value.splitlines() if line.strip())
            case ("person" | "organisation") as what, str():
                return printable(value) or words.gettext(UNKNOWN[what])
            case _:
                return printable(str(value))


def printable(text: str) -> str:
    """Return a user's text as one line, so that it can't be taken for a part of the sentence."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def words_for(locale: str, zone: str) -> Words:
    """Return the words for a profile's locale and time zone."""
    try:
        return Words(locale_of(locale), ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        return Words(locale_of(locale), ZoneInfo("UTC"))


def places(sentence: str) -> frozenset[tuple[str, str]]:
    """Return the places of a sentence with their forms."""
    return frozenset((name, form or "") for _, name, form, _ in Formatter().parse(sentence) if name)


def prepare() -> None:
    """Load every catalogue, so that none is missing later."""
    for language in LANGUAGES:
        catalogue(language)
