"""Batching of folds' statements, so that many folds need few round trips.

A fold's statements are buffered and sent together with equal ones of other streams. Order matters per stream only, so a
statement may move ahead of other streams' statements, and ahead of those of its own stream that touch another table. It
never moves ahead of one of its stream that touches the same table, or of one that touches several. Equal statements
become one `executemany`, and plain inserts become COPY. A projection can declare what a statement is in a bundle
(`InBulk`).
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn

_PLAIN_INSERT: Final = re.compile(
    r"\s*insert\s+into\s+(?P<table>[\w.\"]+)\s*(?:\((?P<columns>[\w\s,]+)\))?\s*values\s*\((?P<values>[\s$\d,]+)\)\s*;?\s*",
    re.IGNORECASE,
)
_OF_ONE_TABLE: Final = re.compile(
    r"\s*(?:insert\s+into|update|delete\s+from)\s+(?!only\s)(?P<table>[\w.\"]+)(?P<rest>\s.*)",
    re.IGNORECASE | re.DOTALL,
)
_OF_OTHERS: Final = re.compile(r"\b(?:select|from|join|using|with|table)\b|[\w\"]\.[\w\"]+\s*\(", re.IGNORECASE)
"""What may read or write another table: a subquery, a join, or a function of ours, which has a schema."""
COPY_FROM: Final = 20
"""The number of rows from which COPY is worth its round trips."""


class _Unanswered:
    """The result of a buffered `execute`: any use of it raises TypeError."""

    def _no(self, *_: object) -> NoReturn:
        raise TypeError("a fold may not use the result of execute(): a rebuild sends statements later, in batches")

    __eq__ = __bool__ = __str__ = __getattr__ = __getitem__ = __iter__ = __len__ = _no
    __hash__ = object.__hash__


UNANSWERED: Final = _Unanswered()

Statement = tuple[str, tuple[Any, ...]]


class InBulk(NamedTuple):
    """What a statement is where many are sent at once. It must come to the same rows.

    Attributes:
        each: The statement that is sent instead, with the same values.
        last: A statement that is sent after all others, with the list of the different first values.
    """

    each: str
    last: str


class PlainInsert(NamedTuple):
    """An insert that COPY can replace.

    Attributes:
        columns: The names of the columns, or None for all of the table.
        values: For each column, the number of its parameter from 0, or None where they are in the columns' order.
    """

    table: str
    columns: tuple[str, ...] | None
    values: tuple[int, ...] | None = None

    def row(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the row that the insert makes of these values."""
        return values if self.values is None else [values[n] for n in self.values]


@lru_cache(maxsize=1000)
def plain_insert(sql: str) -> PlainInsert | None:
    """Return the insert if its values are parameters alone, or None."""
    match = _PLAIN_INSERT.fullmatch(sql)
    if match is None:
        return None
    columns = tuple(name.strip() for name in match["columns"].split(",")) if match["columns"] else None
    values = [value.strip() for value in match["values"].split(",")]
    if not all(re.fullmatch(r"\$[1-9]\d*", value) for value in values) or (columns and len(columns) != len(values)):
        return None
    numbers = tuple(int(value[1:]) - 1 for value in values)
    if set(numbers) != set(range(len(set(numbers)))):
        return None
    return PlainInsert(match["table"], columns, None if numbers == tuple(range(len(numbers))) else numbers)


@lru_cache(maxsize=1000)
def table_of(sql: str) -> str | None:
    """Return the only table that a statement can read or write, or None if there may be others.

    The name is without a schema and quotes, so that no table has two names.
    """
    match = _OF_ONE_TABLE.fullmatch(sql)
    if match is None or _OF_OTHERS.search(match["rest"]):
        return None
    return match["table"].replace('"', "").rpartition(".")[2].lower()


def queues(statements: Sequence[Statement]) -> Iterable[Sequence[Statement]]:
    """Divide a stream's statements by their tables, unless one may touch several."""
    by_table: dict[str, list[Statement]] = {}
    for statement in statements:
        table = table_of(statement[0])
        if table is None:
            return [statements]
        by_table.setdefault(table, []).append(statement)
    return by_table.values()


def bundled(ordered: Iterable[Sequence[Statement]]) -> Iterable[tuple[str, list[tuple[Any, ...]]]]:
    """Group statements into few batches of equal ones, by a greedy choice.

    Args:
        ordered: The statements that have to keep their order.
    """
    waiting: dict[str, list[deque[Statement]]] = {}
    for statements in ordered:
        if statements:
            waiting.setdefault(statements[0][0], []).append(deque(statements))
    while waiting:
        sql = max(waiting, key=lambda statement: len(waiting[statement]))
        rows: list[tuple[Any, ...]] = []
        for queue in waiting.pop(sql):
            while queue and queue[0][0] == sql:
                rows.append(queue.popleft()[1])
            if queue:
                waiting.setdefault(queue[0][0], []).append(queue)
        yield sql, rows


class Bundles:
    """A connection for folds that buffers their statements and sends them before every read."""

    def __init__(self, tx: Any, rewrite: Callable[[str], str], in_bulk: Mapping[str, InBulk]) -> None:
        self._tx, self._rewrite, self._in_bulk = tx, rewrite, in_bulk
        self._buffered: dict[str, list[Statement]] = {}
        self._current: list[Statement] = []
        self._last: dict[str, dict[Any, None]] = {}

    def of_stream(self, stream: str) -> "Bundles":
        """Assign the next statements to this stream."""
        self._current = self._buffered.setdefault(stream, [])
        return self

    async def execute(self, sql: str, *values: Any) -> Any:
        if (other := self._in_bulk.get(sql)) is not None:
            self._last.setdefault(other.last, {})[values[0]] = None
            sql = other.each
        self._current.append((self._rewrite(sql), values))
        return UNANSWERED

    async def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        sql = self._rewrite(sql)
        self._current.extend((sql, tuple(row)) for row in rows)

    async def fetch(self, sql: str, *values: Any) -> Any:
        await self.send()
        return await self._tx.fetch(self._rewrite(sql), *values)

    async def fetchrow(self, sql: str, *values: Any) -> Any:
        await self.send()
        return await self._tx.fetchrow(self._rewrite(sql), *values)

    async def fetchval(self, sql: str, *values: Any) -> Any:
        await self.send()
        return await self._tx.fetchval(self._rewrite(sql), *values)

    async def send(self) -> None:
        for sql, rows in bundled(queue for statements in self._buffered.values() for queue in queues(statements)):
            insert = plain_insert(sql) if len(rows) >= COPY_FROM else None
            if insert is not None and "." not in insert.table:
                records = rows if insert.values is None else map(insert.row, rows)
                await self._tx.copy_records_to_table(insert.table, records=records, columns=insert.columns)
            elif len(rows) == 1:
                await self._tx.execute(sql, *rows[0])
            else:
                await self._tx.executemany(sql, rows)
        for sql, firsts in self._last.items():
            await self._tx.execute(self._rewrite(sql), list(firsts))
        self._last.clear()
        for statements in self._buffered.values():
            statements.clear()


class Rewriting:
    """A connection that rewrites each statement and sends it at once."""

    def __init__(self, tx: Any, rewrite: Callable[[str], str]) -> None:
        self._tx, self._rewrite = tx, rewrite

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._tx, name)
        if name not in ("execute", "executemany", "fetch", "fetchrow", "fetchval"):
            return attribute
        return lambda sql, *values: attribute(self._rewrite(sql), *values)


def renaming(names: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function that replaces qualified table names in statements.

    A search path redirects unqualified names only.
    """
    if not names:
        return lambda sql: sql
    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names))
    return lru_cache(maxsize=1000)(lambda sql: pattern.sub(lambda match: names[match[0]], sql))
