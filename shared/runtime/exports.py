"""Lists as CSV files: `format=csv`, or `Accept: text/csv`.

A `ListRoute` answers such a request with all rows of its list, page by page, so that an export of any length needs the
memory of one page. The columns are the fields of the list's items, those of nested models with a dot.

Source: RFC 4180. Texts that a spreadsheet would take for a formula begin with an apostrophe. Source: OWASP, CSV
Injection.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, TypeAlias, Union, get_args, get_origin

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from shared.runtime.lists import EXPORTED

MEDIA_TYPE: Final = "text/csv; charset=utf-8; header=present"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell begins with that a spreadsheet may calculate."""
_SEPARATOR: Final = "; "

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


class Column(NamedTuple):
    """A column of a CSV file: its header and the way to its value in an item."""

    header: str
    path: tuple[str, ...]


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
            first = await _page(answer, request, "")  # before the response begins, so that it may still be a refusal
            lines = _lines(answer, request, columns, first)
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
    for name, field in model.model_fields.items():
        here = (*path, field.alias or name)
        nested = _model_in(field.annotation)
        if nested is None:
            yield Column(".".join(here), here)
        else:
            yield from columns_of(nested, here)


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


async def _page(answer: Handler, request: Request, cursor: str) -> Mapping[str, Any]:
    """Return a page of the list, as the route answers it to the same caller now."""
    request.scope["state"].pop("caller", None)  # a session that ends ends its exports
    response = await answer(Request({**request.scope, EXPORTED: cursor}, request.receive))
    page: Mapping[str, Any] = json.loads(bytes(response.body))
    return page


async def _lines(
    answer: Handler, request: Request, columns: Sequence[Column], page: Mapping[str, Any]
) -> AsyncIterator[str]:
    yield _csv([[column.header for column in columns]])
    while True:
        yield _csv([[cell(_at(item, column.path)) for column in columns] for item in page["items"]])
        if page["next"] is None:
            return
        page = await _page(answer, request, page["next"])


def _at(item: Any, path: Sequence[str]) -> Any:
    for name in path:
        if item is None:
            return None
        item = item[name]
    return item


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _file_name(path: str) -> str:
    """Return the name of a list's file: the last part of its path that is not a parameter."""
    return [part for part in path.split("/") if part and not part.startswith("{")][-1]
