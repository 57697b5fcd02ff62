"""SQL in `.sql` files: `projections.sql` holds the statements of the module `projections.py` beside it.

A statement stands under a comment `-- name: what it does`, of one line or more. It is read once, when its module is
imported, and is a constant from then on, so that asyncpg prepares it once a connection.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import asyncpg

Row: TypeAlias = asyncpg.Record
"""A row of an answer: its columns by name."""


class Queryable(Protocol):
    """What statements are sent to: a pool, a connection, a transaction's connection."""

    async def execute(self, query: str, *args: object) -> str: ...

    async def fetch(self, query: str, *args: object) -> list[Row]: ...

    async def fetchrow(self, query: str, *args: object) -> Row | None: ...

    async def fetchval(self, query: str, *args: object) -> Any: ...


_NAME: Final = re.compile(r"^-- (\w+):.*\n(?:--.*\n)*", re.MULTILINE)
_PLACE: Final = re.compile(r"'\{(?P<text>\w+)\}'|\{(?P<name>\w+)\}")


def statements(module: str) -> Mapping[str, str]:
    """Read the statements of a module's `.sql` file, by name.

    Args:
        module: the module's `__file__`.

    Raises:
        ValueError: a name stands twice, or a statement has no name or no text.
    """
    file = Path(module).with_suffix(".sql")
    before, *parts = _NAME.split(file.read_text())
    names, texts = parts[0::2], [text.strip() for text in parts[1::2]]
    if before.strip() or not all(texts) or len(set(names)) < len(names):
        raise ValueError(f"{file}: each statement needs a name of its own")
    return dict(zip(names, texts, strict=True))


def identifier(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def qualified(schema: str, table: str) -> str:
    """Quote the name of a table in a schema."""
    return f"{identifier(schema)}.{identifier(table)}"


def with_names(statement: str, **names: str | Sequence[str]) -> str:
    """Put names, quoted, in the places of a statement, for what PostgreSQL takes no parameter for.

    `{schema}` becomes the identifier `"rebuild_7"`, `{columns}` a list of them, and `'{role}'` the text `'tenure'`.
    This is the only place where SQL is built.

    Raises:
        KeyError: the statement has a place that is not given.
    """

    def quoted(place: re.Match[str]) -> str:
        quote = _text if place["text"] else identifier
        name = names[place["text"] or place["name"]]
        return quote(name) if isinstance(name, str) else ", ".join(map(quote, name))

    return _PLACE.sub(quoted, statement)
