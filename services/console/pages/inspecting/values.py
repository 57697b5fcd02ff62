"""Values of events and states as a page shows them."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final

from pydantic import JsonValue

from services.console.texts import Texts

LONGEST: Final = 200
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d\S*")


def shown_value(value: JsonValue, texts: Texts) -> str:
    """Return a value as text, with days and times as the person writes them."""
    match value:
        case None:
            return "–"
        case str():
            return _text(value, texts)
        case _:
            return _cut(json.dumps(value, ensure_ascii=False))


def _text(value: str, texts: Texts) -> str:
    try:
        if _DAY.fullmatch(value):
            return texts.day(date.fromisoformat(value))
        if _MOMENT.fullmatch(value):
            moment = datetime.fromisoformat(value)
            return texts.second(moment) if moment.tzinfo else value
    except ValueError:  # written like a day, and none
        pass
    return _cut(value)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def fields_of(value: JsonValue, path: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Yield nested fields by their dotted names; a list is one value unless it holds records."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from fields_of(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value):
            yield from fields_of(inner, f"{path}[{number}]")
    else:
        yield path, value


def first_fields(value: JsonValue, most: int) -> tuple[Sequence[tuple[str, JsonValue]], int]:
    """Return the first fields of a value, and how many more it has."""
    found = list(fields_of(value))
    return found[:most], max(0, len(found) - most)
