"""Times, dates and numbers in paths and queries, where every value is a text."""

import re
from contextlib import suppress
from datetime import date, datetime
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator

from shared.events.fields import Count, Day, Instant

_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _instant(value: object) -> object:
    """Return the time of a text such as `2026-01-31T12:00:00Z`, and any other value as it is."""
    if isinstance(value, str) and _TIME.match(value):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    return value


def _day(value: object) -> object:
    """Return the date of a text in the form `2026-01-31`, and any other value as it is."""
    if isinstance(value, str) and _DAY.fullmatch(value):
        return date.fromisoformat(value)
    return value


def _number(value: object) -> object:
    """Return the number of a text of decimal digits, and any other value as it is."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value):
        return int(value)
    return value


WRITTEN: Final = BeforeValidator(_number)
"""Reads a number in decimal digits. It stands after the number's bounds, or the OpenAPI document would lose them."""
WrittenInstant: TypeAlias = Annotated[Instant, BeforeValidator(_instant)]
"""A point in time in a query. The `+` of an offset is written as `%2B` there."""
WrittenDay: TypeAlias = Annotated[Day, BeforeValidator(_day)]
WrittenCount: TypeAlias = Annotated[Count, WRITTEN]
