"""The OpenAPI document: FastAPI's document of the queries, extended with the commands."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from shared.runtime.csv_items import MEDIA_TYPE as CSV
from shared.runtime.csv_items import columns_of
from shared.runtime.forms import ITEMS_AT_MOST, item_of
from shared.runtime.problems import MEDIA_TYPE, ProblemDetails
from shared.runtime.routes import CommandRoute, CommandRoutes
from shared.runtime.scopes import scheme, scopes_of
from shared.runtime.scopes import security as scope_security

_REF: Final = "#/components/schemas/{model}"
_ANSWER: Final[dict[str, Any]] = {
    "title": "Answer",
    "type": "object",
    "required": ["stream", "version", "events", "repeated", "dry_run"],
    "properties": {
        "stream": {"type": "string"},
        "version": {"type": "integer", "description": "The stream's version after the command."},
        "events": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type", "version", "data"],
                "properties": {
                    "id": {"type": "string"},
                    "type": {"type": "string"},
                    "version": {"type": "integer"},
                    "data": {"type": "object"},
                },
            },
        },
        "repeated": {
            "type": "boolean",
            "description": "Whether the command was decided before; this is its first answer.",
        },
        "dry_run": {"type": "boolean"},
    },
}
_BULK_ANSWER: Final[dict[str, Any]] = {
    "title": "BulkAnswer",
    "type": "object",
    "required": ["items", "accepted", "dry_run"],
    "properties": {
        "items": {
            "type": "array",
            "description": "An answer per item, in the items' order.",
            "items": {
                "type": "object",
                "required": ["status", "answer"],
                "properties": {
                    "line": {
                        "type": "integer",
                        "description": "The item's line in the CSV file, from 1; absent for an item of JSON.",
                    },
                    "status": {
                        "type": "integer",
                        "description": "The status that the item would have had as a request of its own.",
                    },
                    "answer": {
                        "oneOf": [
                            {"$ref": "#/components/schemas/Answer"},
                            {"$ref": "#/components/schemas/ProblemDetails"},
                        ]
                    },
                },
            },
        },
        "accepted": {"type": "integer", "description": "The number of accepted items."},
        "dry_run": {"type": "boolean"},
    },
}
_HEADERS: Final[list[dict[str, Any]]] = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
        "description": "Identifies the command: a repeated request gets its first answer. Generated if absent.",
    },
    {
        "name": "dry_run",
        "in": "query",
        "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
        "description": "Return what would happen, and store nothing. Any value except true or false is refused.",
    },
]
_PROBLEMS: Final = {
    "401": "Not signed in",
    "403": "Not allowed",
    "404": "Unknown, or not visible to the caller",
    "409": "Refused by a rule",
    "415": "The body is of a type that the operation does not read",
    "422": "Malformed, with an unknown parameter or field, or an Idempotency-Key used for another request",
    "429": "Too many requests; Retry-After says when to send it again",
    "503": "Temporarily unavailable; send it again",
}

_OF_AN_OPEN_QUERY: Final = {
    "422": "Malformed, or with an unknown parameter or field",
    "429": _PROBLEMS["429"],
    "503": _PROBLEMS["503"],
}
_OF_A_QUERY: Final = {name: _PROBLEMS[name] for name in ("401", "403", "404", "409")} | _OF_AN_OPEN_QUERY


def describe(app: FastAPI, commands: CommandRoutes, issuer: str) -> None:
    """Extend `app.openapi()` with the commands."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Answer"], schemas["BulkAnswer"] = _ANSWER, _BULK_ANSWER
            schemas["ProblemDetails"] = ProblemDetails.model_json_schema(ref_template=_REF)
            security = document["components"].setdefault("securitySchemes", {})
            security["Bearer"] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            security["Machine"] = scheme(issuer)
            for route in _queries(app.routes):
                _secure(document, route)
            for methods in document["paths"].values():
                for operation in methods.values():
                    operation["responses"] |= _problems(_OF_A_QUERY if "security" in operation else _OF_AN_OPEN_QUERY)
            # The framework's own error schemas, which no response has.
            schemas.pop("HTTPValidationError", None), schemas.pop("ValidationError", None)
            for command in commands.routes:
                document["paths"].setdefault(command.path, {})[command.method.lower()] = _operation(command, schemas)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _problems(meanings: Mapping[str, str]) -> dict[str, Any]:
    """Return the problem responses by status."""
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="ProblemDetails")}}}
    return {status: {"description": meaning, "content": content} for status, meaning in meanings.items()}


def _operation(route: CommandRoute, schemas: dict[str, Any]) -> dict[str, Any]:
    name = route.form.__name__
    form = route.form.model_json_schema(ref_template=_REF)
    schemas.update(form.pop("$defs", {}))
    schemas[name] = form
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in route.path.split("/")
        if part.startswith("{")
    ]
    text = inspect.getdoc(route.command) or name
    if route.bulk:
        text = f"Several in one request: {text}"
    answer: dict[str, Any] = {"$ref": _REF.format(model="BulkAnswer" if route.bulk else "Answer")}
    extra = route.extra_response
    if extra is not None:
        shape = extra.model_json_schema(ref_template=_REF)
        schemas.update(shape.pop("$defs", {}))
        schemas[extra.__name__] = shape
        answer = {"allOf": [answer, {"$ref": _REF.format(model=extra.__name__)}]}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": text.split("\n")[0],
        "description": text,
        "tags": ["commands"],
        "parameters": [*parameters, *_HEADERS],
        "responses": {
            "200": {
                "description": "Accepted, or nothing to change",
                "content": {"application/json": {"schema": answer}},
            },
            **(
                {
                    "202": {
                        "description": "Accepted, but not complete yet; the response says what it waits for",
                        "content": {"application/json": {"schema": answer}},
                    }
                }
                if route.completes
                else {}
            ),
            **_problems(_PROBLEMS | {"413": f"More than {route.body_bytes} bytes, or the event would be too large"}),
        },
    }
    if route.form.model_fields:
        operation["requestBody"] = {
            "required": any(field.is_required() for field in route.form.model_fields.values()),
            "content": {"application/json": {"schema": {"$ref": _REF.format(model=name)}}, **_csv(route)},
        }
    if not route.open:
        operation["security"] = scope_security(route.scopes)
    return operation


def _csv(route: CommandRoute) -> dict[str, Any]:
    """Return the CSV file among the bodies of a route, if it reads one."""
    columns = columns_of(item_of(route.form)) if route.bulk else {}
    if not columns:
        return {}
    text = (
        f"A header row with columns of {', '.join(columns)}, then at most {ITEMS_AT_MOST} lines, each an item; UTF-8, "
        "separated by commas or semicolons. An empty cell leaves its field out."
    )
    return {CSV: {"schema": {"type": "string", "description": text}}}


def _queries(routes: Sequence[BaseRoute]) -> Iterator[APIRoute]:
    """Yield the queries among these routes, including those of included routers."""
    for route in routes:
        included: APIRouter | None = getattr(route, "original_router", None)
        if included is not None:
            yield from _queries(included.routes)
        elif isinstance(route, APIRoute):
            yield route


def _secure(document: dict[str, Any], route: APIRoute) -> None:
    """Set the machine scopes that suffice for a query that needs a token."""
    for method in route.methods or ():
        operation = document["paths"].get(route.path_format, {}).get(method.lower(), {})
        if "security" in operation:
            operation["security"] = scope_security(scopes_of(route))
