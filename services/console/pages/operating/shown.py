"""The results of verbs as tables and facts, whatever they have."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape
from pydantic import JsonValue

from services.console.pages.operating.fields import COLUMNS as COLUMNS_OF
from services.console.pages.operating.fields import field_of, number_of
from services.console.pages.operating.words import worded
from services.console.texts import Texts

ROWS: Final = 200
COLUMNS: Final = 8
CELL: Final = 160
_SAID_ELSEWHERE: Final = frozenset({"verb", "dry_run", "ok", "count", "operation", "plan", "well", "wrong"})
_NOTHING: Final[Sequence[JsonValue]] = (None, "", [], {})
_NAME: Final = " name"
_VALUE: Final = " value"
"""The columns of what is listed by name, which no field of a result is called."""


@dataclass(frozen=True, slots=True)
class Table:
    """A part of a result with the same fields in each row; `more` rows are not shown."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Markup]]
    more: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A result: its facts, its tables, and all of it as JSON."""

    facts: Sequence[tuple[str, Markup]]
    tables: Sequence[Table]
    json: str


def shown(verb: str, result: Mapping[str, JsonValue], texts: Texts) -> Shown:
    """Return the result of a verb for people."""
    facts, tables = list[tuple[str, Markup]](), list[Table]()
    for name, value in result.items():
        if name in _SAID_ELSEWHERE or value in _NOTHING:
            continue
        if rows := _rows(value):
            tables.append(_table(verb, name, rows, texts))
        else:
            facts.append((field_of(name, texts), cell(value, texts, name)))
    return Shown(facts, tables, json.dumps(result, indent=2, ensure_ascii=False))


def cell(value: JsonValue, texts: Texts, name: str = "") -> Markup:
    """Return the value of a field of this name for a cell of a table."""
    if value is None or isinstance(value, bool):
        return escape("✓" if value else "–")
    if isinstance(value, int | float):
        return escape(number_of(name, value, texts))
    if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
        return worded(", ".join(f"{part}: {said}" for part, said in value.items()), texts)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return worded(", ".join(map(str, value)), texts)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return worded(text if len(text) <= CELL else f"{text[:CELL]}…", texts)


def _rows(value: JsonValue) -> Sequence[Mapping[str, JsonValue]]:
    """Return the rows of a list of objects, or of objects by name; empty if it is neither."""
    if isinstance(value, list):
        rows = [each for each in value if isinstance(each, dict)]
        return rows if len(rows) == len(value) else []
    if isinstance(value, dict):
        named = [{_NAME: name, **each} for name, each in value.items() if isinstance(each, dict)]
        return named if len(named) == len(value) else [{_NAME: name, _VALUE: each} for name, each in value.items()]
    return []


def _table(verb: str, title: str, rows: Sequence[Mapping[str, JsonValue]], texts: Texts) -> Table:
    columns = list(dict.fromkeys(name for row in rows[:ROWS] for name, value in row.items() if value not in _NOTHING))
    chosen = COLUMNS_OF.get((verb, title))
    columns = columns[:COLUMNS] if chosen is None else [each for each in (_NAME, *chosen) if each in columns]
    cells = [[cell(row.get(name), texts, name) for name in columns] for row in rows[:ROWS]]
    titles = {_NAME: texts.gettext("Name"), _VALUE: texts.gettext("Value")}
    names = [titles.get(name) or field_of(name, texts) for name in columns]
    return Table(field_of(title, texts), names, cells, max(0, len(rows) - ROWS))
