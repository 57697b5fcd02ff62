"""Many folds in few round trips: a fold's statements are kept back and sent with the same ones of other streams.

Events are folded in order per stream only, so a statement may be moved before those of other streams, never before one
of its own. Equal statements become one `executemany`, and plain inserts become COPY.
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
"""Rows from which COPY is worth its round trips."""


class _Unanswered:
    """What a kept-back `execute` answers: nothing, and whoever looks at it is told so."""

    def _no(self, *_: object) -> NoReturn:
        raise TypeError("a fold may not use what execute() answers: a rebuild sends statements later, in bundles")

    __eq__ = __bool__ = __str__ = __getattr__ = __getitem__ = __iter__ = __len__ = _no
    __hash__ = object.__hash__


UNANSWERED: Final = _Unanswered()

Statement = tuple[str, tuple[Any, ...]]


@lru_cache(maxsize=1000)
def plain_insert(sql: str) -> tuple[str, tuple[str, ...] | None] | None:
    """The table and columns of a statement that COPY can do as well: an insert of $1, $2, ... in this order."""
    match = _PLAIN_INSERT.fullmatch(sql)
    if match is None:
        return None
    columns = tuple(name.strip() for name in match["columns"].split(",")) if match["columns"] else None
    values = [value.strip() for value in match["values"].split(",")]
    if values != [f"${n}" for n in range(1, len(values) + 1)] or (columns and len(columns) != len(values)):
        return None
    return match["table"], columns


def bundled(streams: Iterable[Sequence[Statement]]) -> Iterable[tuple[str, list[tuple[Any, ...]]]]:
    """The statements of all streams, each stream's in order, as few bundles of equal ones as a greedy choice gives."""
    waiting: dict[str, list[deque[Statement]]] = {}
    for statements in streams:
        if statements:
            waiting.setdefault(statements[0][0], []).append(deque(statements))
    while waiting:
        sql = max(waiting, key=lambda each: len(waiting[each]))
        rows: list[tuple[Any, ...]] = []
        for left in waiting.pop(sql):
            while left and left[0][0] == sql:
                rows.append(left.popleft()[1])
            if left:
                waiting.setdefault(left[0][0], []).append(left)
        yield sql, rows


class Bundles:
    """Stands in for a connection in folds. What a fold reads is preceded by all that was kept back until then."""

    def __init__(self, tx: Any, rewrite: Callable[[str], str]) -> None:
        self._tx, self._rewrite = tx, rewrite
        self._kept: dict[str, list[Statement]] = {}
        self._mine: list[Statement] = []

    def of_stream(self, stream: str) -> "Bundles":
        """Says whose statements the next ones are."""
        self._mine = self._kept.setdefault(stream, [])
        return self

    async def execute(self, sql: str, *values: Any) -> Any:
        self._mine.append((self._rewrite(sql), values))
        return UNANSWERED

    async def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        sql = self._rewrite(sql)
        self._mine.extend((sql, tuple(row)) for row in rows)

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
        kept = list(self._kept.values())
        for sql, rows in bundled(kept):
            insert = plain_insert(sql) if len(rows) >= COPY_FROM else None
            if insert is not None and "." not in insert[0]:
                await self._tx.copy_records_to_table(insert[0], records=rows, columns=insert[1])
            elif len(rows) == 1:
                await self._tx.execute(sql, *rows[0])
            else:
                await self._tx.executemany(sql, rows)
        for statements in kept:
            statements.clear()


class Rewriting:
    """A connection whose statements are rewritten, and sent at once."""

    def __init__(self, tx: Any, rewrite: Callable[[str], str]) -> None:
        self._tx, self._rewrite = tx, rewrite

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._tx, name)
        if name not in ("execute", "executemany", "fetch", "fetchrow", "fetchval"):
            return found
        return lambda sql, *values: found(self._rewrite(sql), *values)


def renaming(names: Mapping[str, str]) -> Callable[[str], str]:
    """Replaces qualified table names in statements: what a search path can't lead elsewhere."""
    if not names:
        return lambda sql: sql
    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names))
    return lru_cache(maxsize=1000)(lambda sql: pattern.sub(lambda match: names[match[0]], sql))
