"""Bulk requests as CSV files: a header row with the names of fields, and an item a line.

Source: RFC 4180. Lines are separated by commas, or by semicolons, as spreadsheets write them where the comma is the
decimal separator. An empty cell leaves its field out.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson
from pydantic import BaseModel, ValidationError

from shared import rules
from shared.runtime.forms import ITEMS_AT_MOST, item_of, items_of, read_form
from shared.runtime.problems import Problem, malformed

MEDIA_TYPE: Final = "text/csv"
_WHOLE: Final = re.compile(r"-?[0-9]{1,20}")
_SCALARS: Final = ("string", "integer", "boolean")


class BulkItem(NamedTuple):
    """An item of a bulk request."""

    asked: BaseModel | Problem
    """The item's form, or why its line is none."""
    line: int | None = None
    """The number of the item's first line in the file, from 1; None for an item of JSON."""


class _Record(NamedTuple):
    line: int
    cells: list[str]


def read_items(form: type[BaseModel], raw: bytes, content_type: str) -> Sequence[BulkItem]:
    """Read the items of a bulk request, as JSON or as a CSV file.

    Args:
        form: the form of the request as JSON.

    Raises:
        Problem: 415, or 422 if the body is neither.
    """
    item = item_of(form)
    if is_csv(content_type) and columns_of(item):
        return read_csv(item, raw)
    return [BulkItem(asked) for asked in items_of(read_form(form, raw, content_type))]


def columns_of(item: type[BaseModel]) -> Mapping[str, str]:
    """Return the type of each column of an item's file.

    There are none if a field is no text, whole number or truth value.
    """
    columns: dict[str, str] = {}
    for name, schema in item.model_json_schema()["properties"].items():
        choices = [choice.get("type") for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]
        if len(choices) != 1 or choices[0] not in _SCALARS:
            return {}
        columns[name] = choices[0]
    return columns


def is_csv(content_type: str) -> bool:
    """Return whether a body is a CSV file in UTF-8, by its Content-Type."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [value.strip('"') for name, _, value in (p.partition("=") for p in parameters) if name == "charset"]
    return kind == MEDIA_TYPE and charsets in ([], ["utf-8"])


def read_csv(item: type[BaseModel], raw: bytes) -> Sequence[BulkItem]:
    """Read a file's items. A line that is no item is one with its problem.

    Raises:
        Problem: 422 if the file has no header of the form's fields, no line or too many, or is not CSV in UTF-8.
    """
    columns = columns_of(item)
    records = _records(_text(raw))
    header = next(records, None)
    if header is None:
        raise _refused(f"it is empty: begin it with a header row of {', '.join(columns)}", 1)
    names = [cell.strip() for cell in header.cells]
    if unknown := [name for name in names if name not in columns]:
        raise _refused(f"there is no column {unknown[0][:60]!r}: the columns are {', '.join(columns)}", header.line)
    if len(set(names)) < len(names):
        raise _refused("it has a column twice", header.line)
    items = []
    for record in records:
        items.append(BulkItem(_item(item, columns, names, record.cells), record.line))
        if len(items) > ITEMS_AT_MOST:
            raise _refused(f"it has more than {ITEMS_AT_MOST} lines after the header: send several files", record.line)
    if not items:
        raise _refused("it has no line after the header", header.line)
    return items


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused("it is not UTF-8", raw.count(b"\n", 0, error.start) + 1) from None


def _records(text: str) -> Iterator[_Record]:
    """Yield the records of a file that have any cell, with their first lines' numbers."""
    first_line = text.partition("\n")[0]
    delimiter = ";" if ";" in first_line and "," not in first_line else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _Record(line, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise _refused(f"it is not CSV: {error}", line) from None


def _item(
    form: type[BaseModel], columns: Mapping[str, str], names: Sequence[str], cells: Sequence[str]
) -> BaseModel | Problem:
    if len(cells) != len(names):
        return _malformed_line(f"it has {len(cells)} cells, and the header has {len(names)}")
    given = {name: _value(columns[name], cell.strip()) for name, cell in zip(names, cells, strict=True) if cell.strip()}
    try:
        return form.model_validate_json(orjson.dumps(given))
    except ValidationError as error:
        return malformed(error)


def _value(kind: str, cell: str) -> Any:
    """Return a cell as JSON has it.

    What is not of its column's type stays text, which the form refuses.
    """
    if kind == "integer" and _WHOLE.fullmatch(cell):
        return int(cell)
    if kind == "boolean" and cell in ("true", "false"):
        return cell == "true"
    return cell


def _refused(why: str, line: int) -> Problem:
    return Problem(
        rule=rules.MALFORMED,
        reason=f"The file can't be read at line {line}: {why}.",
        remedy="Correct the file and send it again.",
        fields=[{"field": f"line {line}", "error": why}],
    )


def _malformed_line(why: str) -> Problem:
    return Problem(
        rule=rules.MALFORMED,
        reason=f"The line is not well formed: {why}.",
        remedy="Correct the line and send it again.",
        fields=[{"field": "line", "error": why}],
    )
