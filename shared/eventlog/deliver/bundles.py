"""Batching of folds' statements, so that many folds need few round trips.

A fold's statements are buffered and sent together with equal ones of other streams. Order matters per stream only, so a
statement may move ahead of other streams' statements, never ahead of its own stream's. Equal statements become one
`executemany`, and plain inserts become COPY.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn

_PLAIN_INSERT: Final = re.compile(
    r"\s*insert\s+into\s+(?P<table>[\w.\"]+)\s*(?:\((?P<columns>[\w\s,]+)\))?\s*values\s*\((?P<values>[\s$\d,]+)\)\s*;?\s*",
    re.IGNORECASE,
)
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


@lru_cache(maxsize=1000)
def plain_insert(sql: str) -> tuple[str, tuple[str, ...] | None] | None:
    """Return the table and columns of an insert that COPY can replace, or None.

    Such an insert has the values $1, $2 and so on, in this order.
    """
    match = _PLAIN_INSERT.fullmatch(sql)
    if match is None:
        return None
    columns = tuple(name.strip() for name in match["columns"].split(",")) if match["columns"] else None
    values = [value.strip() for value in match["values"].split(",")]
    if values != [f"${n}" for n in range(1, len(values) + 1)] or (columns and len(columns) != len(values)):
        return None
    return match["table"], columns


def bundled(streams: Iterable[Sequence[Statement]]) -> Iterable[tuple[str, list[tuple[Any, ...]]]]:
    """Group the streams' statements into few batches of equal ones, by a greedy choice.

    Each stream's statements keep their order.
    """
    waiting: dict[str, list[deque[Statement]]] = {}
    for statements in streams:
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

    def __init__(self, tx: Any, rewrite: Callable[[str], str]) -> None:
        self._tx, self._rewrite = tx, rewrite
        self._buffered: dict[str, list[Statement]] = {}
        self._current: list[Statement] = []

    def of_stream(self, stream: str) -> "Bundles":
        """Assign the next statements to this stream."""
        self._current = self._buffered.setdefault(stream, [])
        return self

    async def execute(self, sql: str, *values: Any) -> Any:
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
        buffers = list(self._buffered.values())
        for sql, rows in bundled(buffers):
            insert = plain_insert(sql) if len(rows) >= COPY_FROM else None
            if insert is not None and "." not in insert[0]:
                await self._tx.copy_records_to_table(insert[0], records=rows, columns=insert[1])
            elif len(rows) == 1:
                await self._tx.execute(sql, *rows[0])
            else:
                await self._tx.executemany(sql, rows)
        for statements in buffers:
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
