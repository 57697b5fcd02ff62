"""The results of verbs as tables and facts, whatever they have."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from markupsafe import Markup, escape
from pydantic import JsonValue

from services.console.pages.operating.words import worded
from services.console.texts import Texts

ROWS: Final = 200
COLUMNS: Final = 8
CELL: Final = 160
_SAID_ELSEWHERE: Final = frozenset({"verb", "dry_run", "ok", "count", "operation", "plan"})
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


def shown(result: Mapping[str, JsonValue], texts: Texts) -> Shown:
    """Return a result for people."""
    facts, tables = list[tuple[str, Markup]](), list[Table]()
    for name, value in result.items():
        if name in _SAID_ELSEWHERE or value in _NOTHING:
            continue
        if rows := _rows(value):
            tables.append(_table(_title(name), rows, texts))
        else:
            facts.append((_title(name), cell(value, texts)))
    return Shown(facts, tables, json.dumps(result, indent=2, ensure_ascii=False))


def cell(value: JsonValue, texts: Texts) -> Markup:
    """Return a value for a cell of a table."""
    if value is None or isinstance(value, bool):
        return escape("✓" if value else "–")
    if isinstance(value, float):
        return escape(texts.number(round(Decimal(value), 3)))
    if isinstance(value, int):
        return escape(texts.number(value))
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return worded(", ".join(map(str, value)), texts)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return worded(text if len(text) <= CELL else f"{text[:CELL]}…", texts)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _rows(value: JsonValue) -> Sequence[Mapping[str, JsonValue]]:
    """Return the rows of a list of objects, or of objects by name; empty if it is neither."""
    if isinstance(value, list):
        rows = [each for each in value if isinstance(each, dict)]
        return rows if len(rows) == len(value) else []
    if isinstance(value, dict):
        named = [{_NAME: name, **each} for name, each in value.items() if isinstance(each, dict)]
        return named if len(named) == len(value) else [{_NAME: name, _VALUE: each} for name, each in value.items()]
    return []


def _table(title: str, rows: Sequence[Mapping[str, JsonValue]], texts: Texts) -> Table:
    columns = list(dict.fromkeys(name for row in rows[:ROWS] for name, value in row.items() if value not in _NOTHING))
    columns = columns[:COLUMNS]
    cells = [[cell(row.get(name), texts) for name in columns] for row in rows[:ROWS]]
    titles = {_NAME: texts.gettext("Name"), _VALUE: texts.gettext("Value")}
    return Table(title, [titles.get(name) or _title(name) for name in columns], cells, max(0, len(rows) - ROWS))
