"""Lists as CSV files: `format=csv`, or `Accept: text/csv`.

A `ListRoute` answers such a request with all rows of its list, page by page, so that an export of any length needs the
memory of one page. The columns are the fields of the list's items, those of nested models with a dot.

A field of account ids is followed by the names and addresses of these people, as far as the caller may know them: the
field `opened_by` by `opened_by.name` and `opened_by.email`. Identity is asked for those of a page at once. The field's
name says that it has account ids: it is one of PEOPLE, or ends in `_by`. A list whose items have `name` and `email`
themselves is of people, and gets no more.

Source: RFC 4180. Texts that a spreadsheet would take for a formula begin with an apostrophe. Source: OWASP, CSV
Injection.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from shared.runtime.lists import EXPORTED
from shared.runtime.names import NameBook, Named, is_account

MEDIA_TYPE: Final = "text/csv; charset=utf-8; header=present"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell begins with that a spreadsheet may calculate."""
_SEPARATOR: Final = "; "

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


PEOPLE: Final = frozenset(("account_id", "actor", "acts_for", "manager", "members", "purchaser"))
"""Fields of account ids whose names do not end in `_by`."""


class Column(NamedTuple):
    """A column of a CSV file: its header and the way to its value in an item."""

    header: str
    path: tuple[str, ...]
    of: Literal["", "name", "email"] = ""
    """What it says of the people with the ids there, if not the ids."""


class ListRoute(APIRoute):
    """A route of a query. A list, of `items` and `next`, can also be had as CSV."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **declared: Any) -> None:
        super().__init__(path, endpoint, **declared)
        if item_of(self.response_model) is not None:
            self.responses = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **self.responses}

    def get_route_handler(self) -> Handler:
        answer, item = super().get_route_handler(), item_of(self.response_model)
        if item is None:
            return answer
        columns, name = list(columns_of(item)), _file_name(self.path)

        async def handler(request: Request) -> Response:
            if not _wants_csv(request):
                return await answer(request)
            export = _Export(answer, request, columns)
            first = await export.page("")  # before the response begins, so that it may still be a refusal
            lines = export.lines(first)
            file = f"sandbox-{name}.csv" if getattr(request.state, "sandbox", False) else f"{name}.csv"
            headers = {"Content-Disposition": f'attachment; filename="{file}"', "Vary": "Accept"}
            return StreamingResponse(lines, 200, headers, MEDIA_TYPE)

        return handler


def item_of(model: Any) -> type[BaseModel] | None:
    """Return the model of a list's items; None if a response's model is no list with pages."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)) or "next" not in model.model_fields:
        return None
    items = model.model_fields.get("items")
    (item,) = get_args(items.annotation) if items is not None else (None,)
    return item if isinstance(item, type) and issubclass(item, BaseModel) else None


def columns_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Column]:
    """Yield the columns of an item, in the order of its fields."""
    of_people = {"name", "email"} <= model.model_fields.keys()
    for name, field in model.model_fields.items():
        here = (*path, field.alias or name)
        nested = _model_in(field.annotation)
        if nested is None:
            header = ".".join(here)
            yield Column(header, here)
            if _has_people(name) and not of_people:
                yield Column(f"{header}.name", here, "name")
                yield Column(f"{header}.email", here, "email")
        else:
            yield from columns_of(nested, here)


def _has_people(name: str) -> bool:
    """Return whether the field of this name has account ids."""
    return name in PEOPLE or name.endswith("_by")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field, which may be optional; None if the field has anything else."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation, *others) = (part for part in get_args(annotation) if part is not NoneType)
        if others:
            return None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def cell(value: Any) -> str:
    """Return a value as a CSV file has it; a text never is a formula."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
        case list() if all(isinstance(each, str) for each in value):
            return cell(_SEPARATOR.join(value))
        case list() | dict():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _wants_csv(request: Request) -> bool:
    """Return whether the request asks for CSV, by its parameter, or else by its header."""
    asked = request.query_params.get("format")
    if asked is not None:
        return asked == "csv"
    accepted = [part.split(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    return "text/csv" in accepted and "application/json" not in accepted


class _Page(NamedTuple):
    """A page of the list, and the names of the people in it."""

    items: Sequence[Any]
    next: str | None
    names: Mapping[str, Named]


@dataclass(frozen=True, slots=True)
class _Export:
    """One request's export of a list."""

    answer: Handler
    request: Request
    columns: Sequence[Column]

    async def page(self, cursor: str) -> _Page:
        """Return a page of the list, as the route answers it to the same caller now.

        Raises:
            Problem: the route refuses it, or 503 if its people can't be named.
        """
        self.request.scope["state"].pop("caller", None)  # a session that ends ends its exports
        response = await self.answer(Request({**self.request.scope, EXPORTED: cursor}, self.request.receive))
        page: Mapping[str, Any] = json.loads(bytes(response.body))
        return _Page(page["items"], page["next"], await self._names(page["items"]))

    async def _names(self, items: Sequence[Any]) -> Mapping[str, Named]:
        people = [column for column in self.columns if column.of == "name"]
        wanted = {each for item in items for column in people for each in _ids_at(item, column) if is_account(each)}
        if not wanted:
            return {}
        book: NameBook = self.request.app.state.parts.name_book
        return await book.names(wanted, self.request.headers.get("authorization", ""))

    async def lines(self, page: _Page) -> AsyncIterator[str]:
        """Yield the lines of the file from this page on.

        A page that can't be read, or whose people can't be named, breaks the response off, so that nobody takes a part
        for the whole.
        """
        yield _csv([[column.header for column in self.columns]])
        while True:
            yield _csv([[_shown(item, column, page.names) for column in self.columns] for item in page.items])
            if page.next is None:
                return
            page = await self.page(page.next)


def _at(item: Any, path: Sequence[str]) -> Any:
    for name in path:
        if item is None:
            return None
        item = item[name]
    return item


def _ids_at(item: Any, column: Column) -> Sequence[str]:
    """Return the ids of the people in a field, which has one, several or none."""
    value = _at(item, column.path)
    if isinstance(value, list):
        return [each for each in value if isinstance(each, str)]
    return [value] if isinstance(value, str) else []


def _shown(item: Any, column: Column, names: Mapping[str, Named]) -> str:
    """Return the cell of a column; one of a person whom the caller may not know is empty."""
    if not column.of:
        return cell(_at(item, column.path))
    nobody = Named("", "")
    people = [names.get(each, nobody) for each in _ids_at(item, column)]
    texts = [person.name if column.of == "name" else person.email for person in people]
    return cell(texts) if any(texts) else ""


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _file_name(path: str) -> str:
    """Return the name of a list's file: the last part of its path that is not a parameter."""
    return [part for part in path.split("/") if part and not part.startswith("{")][-1]
