"""SQL statements in `.sql` files.

`projections.sql` holds the statements of the module `projections.py` beside it. Each statement follows a comment
`-- name: what it does` of one or more lines. The file is read when the module is imported. The statements are constants
from then on, so asyncpg prepares each of them once per connection.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import asyncpg

Row: TypeAlias = asyncpg.Record
"""A row of a query's result, with its columns by name."""


class Queryable(Protocol):
    """Anything that runs statements: a pool, a connection, or a transaction's connection."""

    async def execute(self, query: str, *args: object) -> str: ...

    async def fetch(self, query: str, *args: object) -> list[Row]: ...

    async def fetchrow(self, query: str, *args: object) -> Row | None: ...

    async def fetchval(self, query: str, *args: object) -> Any: ...


_NAME: Final = re.compile(r"^-- (\w+):.*\n(?:--.*\n)*", re.MULTILINE)
_PLACEHOLDER: Final = re.compile(r"'\{(?P<text>\w+)\}'|\{(?P<name>\w+)\}")
_PART: Final = re.compile(r"\{\{(\w+)\}\}")


def statements(module: str) -> Mapping[str, str]:
    """Read the statements of a module's `.sql` file, by name.

    Args:
        module: The module's `__file__`.

    Raises:
        ValueError: A name occurs twice, or a statement has no name or no text.
    """
    file = Path(module).with_suffix(".sql")
    before, *parts = _NAME.split(file.read_text())
    names, texts = parts[0::2], [text.strip() for text in parts[1::2]]
    if before.strip() or not all(texts) or len(set(names)) < len(names):
        raise ValueError(f"{file}: each statement needs a text and a name of its own")
    return dict(zip(names, texts, strict=True))


def identifier(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def qualified(schema: str, table: str) -> str:
    """Return the quoted name of a table in a schema."""
    return f"{identifier(schema)}.{identifier(table)}"


def with_names(statement: str, **names: str | Sequence[str]) -> str:
    """Fill in the placeholders of a statement, where PostgreSQL takes no parameter.

    The names are quoted: `{schema}` becomes an identifier such as `"rebuild_7"`, `{columns}` a list of identifiers, and
    `'{role}'` a text such as `'tenure'`. This and `with_statements` are the only functions that build SQL.

    Raises:
        KeyError: The statement has a placeholder for which no name is given.
    """

    def quoted(placeholder: re.Match[str]) -> str:
        quote = _text if placeholder["text"] else identifier
        name = names[placeholder["text"] or placeholder["name"]]
        return quote(name) if isinstance(name, str) else ", ".join(map(quote, name))

    return _PLACEHOLDER.sub(quoted, statement)


def with_statements(statement: str, **parts: str) -> str:
    """Fill in the placeholders `{{name}}` of a statement with other statements of `.sql` files.

    They are constants, put together when a module is imported. Call it before `with_names`, so that names are filled
    into the parts, too.

    Raises:
        KeyError: The statement has a placeholder for which no part is given.
    """
    return _PART.sub(lambda placeholder: parts[placeholder[1]].rstrip().removesuffix(";"), statement)
