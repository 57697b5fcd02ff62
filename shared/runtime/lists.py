"""Lists: their sorting, their pages, and the cursors between pages.

A list is declared once, beside its route:

    POOLS: Final = Listing(SQL["pools"], key="subscription_id", sorts={"ends": By(date), ...}, order="-ends")

    @QUERIES.get("/pools")
    async def pools(db: Database, page: Annotated[Page, Depends(POOLS.page)], q: Search = "", ...) -> ListOf[PoolView]:
        return await POOLS.show(db, page, PoolView, actor.organisation_id, searched(q))

Its statement is a plain `select` with the list's filters, from the parameter `$6` on. `page.sql` puts the order, the
position and the limit around it: keyset paging, so that the last page costs as much as the first one. The statement
returns the key and each column that it sorts by, none of which may be null. `exports.py` makes a CSV of any list.

Where rows are wide, or parts of them have to be computed or joined, a second statement reads those of a page by their
keys. Then the list's own is asked for keys only, and PostgreSQL neither computes nor sorts what no page shows.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, NoReturn, TypeAlias, TypeVar

from fastapi import Query, Request
from pydantic import AfterValidator, BaseModel, Field, Strict

from shared import rules
from shared.events.fields import OptionalName
from shared.runtime.database import Pool
from shared.runtime.problems import Problem
from shared.runtime.written import WRITTEN
from shared.sql import Queryable, Row, statements, with_names, with_statements

SQL: Final = statements(__file__)

V = TypeVar("V", bound=BaseModel)

PAGE_ROWS: Final = 50
"""The number of rows in a page, if the request does not say."""
EXPORTED_ROWS: Final = 500
"""The number of rows that an export reads at a time."""
EXPORTED: Final = "tenure.exported"
"""The key of a request's scope under which an export has the cursor of the page that it reads, "" for the first one."""

Value: TypeAlias = str | int | date | datetime
"""A value that rows are sorted by."""

Limit: TypeAlias = Annotated[int, Strict(), Field(ge=1, le=200), WRITTEN, Query()]
"""The greatest number of rows in a page."""

Format: TypeAlias = Literal["json", "csv"]

Search: TypeAlias = Annotated[OptionalName, Query(max_length=100, description="Any part of a text, in any case.")]
"""What a list is searched for; `searched` is its pattern in a statement."""


def searched(text: str) -> str:
    """Return the pattern of `ilike` that finds a text anywhere; the empty one finds every row."""
    literal = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literal}%"


class By(NamedTuple):
    """A column that a list can be sorted by."""

    kind: type[Value] = str
    column: str = ""
    """The statement's column, if it has another name than the sort."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The part of a list that a request asks for."""

    limit: int
    sort: str
    descending: bool
    after: tuple[Value, str] | None
    """The sort's value and the key of the row before the page."""
    digest: str
    """What the request asks for besides the position, which its cursors are bound to."""

    def cursor(self, value: Value, key: str) -> str:
        """Return the cursor of the page after the row with this value and this key."""
        written = value.isoformat() if isinstance(value, date) else value
        text = json.dumps([self.digest, written, key], ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


class Found(NamedTuple):
    """The rows of a page, and the cursor of the next one; None on the last page."""

    rows: list[Row]
    next: str | None


class ListOf(BaseModel, Generic[V]):
    """A list's answer: the items of a page, and the cursor of the next one."""

    items: list[V]
    next: str | None
    """Send it as `after` for the next page; null on the last page."""


class Listing:
    """A list: its statement, the columns that it sorts by, and its default order and page size."""

    def __init__(
        self,
        statement: str = "",
        *,
        rows: str = "",
        key: str,
        sorts: Mapping[str, By],
        order: str,
        limit: int = PAGE_ROWS,
    ) -> None:
        """Declare a list.

        Args:
            statement: The statement that finds the rows; none for a list that `select` reads from memory.
            rows: The statement that reads the rows with the keys `$1`, if the first one only finds these keys. It may
                have parameters of its own, from `$2` on.
            key: The column that tells the rows apart, of text. It breaks ties, so that the order is the same each time.
            sorts: The columns by the names that requests have for them.
            order: The default order, a name or `-` and a name.
            limit: The default number of rows in a page.
        """
        self._key, self._sorts, self._order, self._limit = key, dict(sorts), order, limit
        self.rows = rows
        self.statements: Mapping[str, str] = {
            name: with_names(
                with_statements(SQL["keys" if rows else "page"], list=statement), column=by.column or name, key=key
            )
            for name, by in sorts.items()
            if statement
        }
        """The statement of each order; none for a list in memory."""
        self._choices = [choice for name in sorts for choice in (name, f"-{name}")]
        if order not in self._choices:
            raise ValueError(f"the default order {order} is none of {', '.join(self._choices)}")
        self.page = self._dependency()
        """The dependency that reads `sort`, `limit`, `after` and `format` of a request."""

    def _dependency(self) -> Callable[..., Awaitable[Page]]:
        listed = {"enum": self._choices}

        async def page(
            request: Request,
            limit: Limit = self._limit,
            after: Annotated[str, Query(max_length=4000, pattern=r"^[A-Za-z0-9_-]*$")] = "",
            sort: Annotated[str, AfterValidator(self._known), Query(json_schema_extra=listed)] = self._order,
            format: Annotated[Format | None, Query(description="By default what the header Accept asks for.")] = None,
        ) -> Page:
            del format  # `exports.py` reads it
            exported: str | None = request.scope.get(EXPORTED)
            if exported is not None:
                if extra := request.query_params.keys() & {"limit", "after"}:
                    _malformed(min(extra), "a CSV has all rows: leave it out")
                limit, after = EXPORTED_ROWS, exported
            name, digest = sort.removeprefix("-"), _digest(request, sort)
            position = _position(after, digest, self._sorts[name].kind) if after else None
            return Page(limit=limit, sort=name, descending=sort != name, after=position, digest=digest)

        return page

    def _known(self, sort: str) -> str:
        if sort not in self._choices:
            raise ValueError(f"choose from {', '.join(self._choices)}")
        return sort

    async def show(
        self,
        db: Pool,
        page: Page,
        view: type[V] | Callable[[Row], V],
        *arguments: object,
        rows_for: Sequence[object] = (),
    ) -> ListOf[V]:
        """Read a page and return it as the list's answer.

        Args:
            view: A model whose fields are columns of the statement, or a function that makes an item of a row.
            arguments: The values of the list's own parameters, from `$6` on.
            rows_for: The values of the parameters of `rows`, from `$2` on.
        """
        found = await self.fetch(db, page, *arguments, rows_for=rows_for)
        made: Callable[[Row], V] = view if not isinstance(view, type) else lambda row: view(**dict(row))
        return ListOf(items=[made(row) for row in found.rows], next=found.next)

    async def fetch(self, db: Pool, page: Page, *arguments: object, rows_for: Sequence[object] = ()) -> Found:
        """Read a page's rows, for a list that makes its items of all of them at once. See `show`."""
        value, key = page.after or (None, None)
        statement = self.statements[page.sort]
        async with db.acquire() as connection, connection.transaction():
            await connection.execute(SQL["planning"])
            found = await connection.fetch(
                statement, page.descending, page.after is None, value, key, page.limit + 1, *arguments
            )
            rows = await self._whole(connection, found[: page.limit], rows_for)
        if len(found) <= page.limit:
            return Found(rows, None)
        last, column = found[page.limit - 1], self._sorts[page.sort].column or page.sort
        return Found(rows, page.cursor(last[column], last[self._key]))

    async def _whole(self, db: Queryable, found: list[Row], rows_for: Sequence[object]) -> list[Row]:
        """Return the rows that were found, read by their keys if only these were found."""
        if not self.rows or not found:
            return found
        keys = [row[self._key] for row in found]
        rows = {row[self._key]: row for row in await db.fetch(self.rows, keys, *rows_for)}
        return [rows[key] for key in keys if key in rows]

    async def one(self, db: Queryable, *arguments: object, rows_for: Sequence[object] = ()) -> Row | None:
        """Return the first row that the list has for these arguments, None if it has none.

        A route that returns one item finds it as the list does, by a parameter for its id.
        """
        statement = self.statements[self._order.removeprefix("-")]
        found = await db.fetch(statement, False, True, None, None, 1, *arguments)
        rows = await self._whole(db, found, rows_for)
        return rows[0] if rows else None

    def select(self, page: Page, items: Sequence[V]) -> ListOf[V]:
        """Return a page of a list whose items are all in memory, such as those of one stream."""
        column = self._sorts[page.sort].column or page.sort
        place: Callable[[V], tuple[Value, str]] = attrgetter(column, self._key)
        ordered = sorted(items, key=place, reverse=page.descending)
        if page.after is not None:
            after = page.after
            ordered = [item for item in ordered if (place(item) < after if page.descending else place(item) > after)]
        shown = ordered[: page.limit]
        following = page.cursor(*place(shown[-1])) if len(ordered) > page.limit else None
        return ListOf(items=shown, next=following)


def _digest(request: Request, sort: str) -> str:
    """Return a digest of the list, its filters and its order."""
    paging = ("limit", "after", "sort", "format")
    filters = sorted(item for item in request.query_params.multi_items() if item[0] not in paging)
    asked = json.dumps([request.scope["path"], sort, filters])
    return base64.urlsafe_b64encode(hashlib.sha256(asked.encode()).digest()[:9]).decode()


def _position(cursor: str, digest: str, kind: type[Value]) -> tuple[Value, str]:
    """Return the position that a cursor names. Raises Problem 422 unless it is one of this list."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        bound, written, key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if bound != digest:
            _malformed("after", "it is a cursor of another list, or of other filters or another order")
        return _value(written, kind), _text(key)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        _malformed("after", "it is no cursor: send the `next` of the page before")


def _value(written: Any, kind: type[Value]) -> Value:
    """Return the value that `Page.cursor` wrote. Raises ValueError or TypeError for any other."""
    if issubclass(kind, date):
        return kind.fromisoformat(written)
    if kind is str:
        return _text(written)
    if type(written) is not int or not -(2**63) <= written < 2**63:
        raise ValueError("no count")
    return written


def _text(written: Any) -> str:
    """Return a text that PostgreSQL can hold. Raises ValueError for any other value."""
    if not isinstance(written, str) or "\0" in written:
        raise ValueError("no text")
    return written.encode().decode()


def _malformed(parameter: str, error: str) -> NoReturn:
    raise Problem(
        rule=rules.MALFORMED,
        reason=f"The request is not well formed: query.{parameter}: {error}.",
        remedy="Correct this and send it again.",
        fields=[{"field": f"query.{parameter}", "error": error}],
    )
