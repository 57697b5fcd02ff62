"""The one OpenAPI document: FastAPI's for the queries, and the commands' routes beside them."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

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
                "properties": {
                    "id": {"type": "string"},
                    "type": {"type": "string"},
                    "version": {"type": "integer"},
                    "data": {"type": "object"},
                },
            },
        },
        "repeated": {"type": "boolean", "description": "The command id was answered before; this is that answer."},
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
                "properties": {
                    "status": {"type": "integer", "description": "What the item alone would have been answered with."},
                    "answer": {
                        "oneOf": [
                            {"$ref": "#/components/schemas/Answer"},
                            {"$ref": "#/components/schemas/ProblemDetails"},
                        ]
                    },
                },
            },
        },
        "accepted": {"type": "integer", "description": "How many items were."},
        "dry_run": {"type": "boolean"},
    },
}
_HEADERS: Final[list[dict[str, Any]]] = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
        "description": "Names the command: sent again, it gets its first answer again. Made when absent.",
    },
    {
        "name": "dry_run",
        "in": "query",
        "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
        "description": "Answer what would happen; nothing is kept. Anything but true or false, once, is refused.",
    },
]
_PROBLEMS: Final = {
    "401": "Not signed in",
    "403": "Not allowed",
    "404": "Unknown, or somebody else's",
    "409": "Refused by a rule",
    "415": "The body is not JSON",
    "422": "Malformed, with a parameter or field that does not exist, or an Idempotency-Key used for something else",
    "429": "Too often; Retry-After says when",
    "503": "Not now; send it again",
}

_OF_AN_OPEN_ONE: Final = {
    "422": "Malformed, or with a parameter or field that does not exist",
    "429": _PROBLEMS["429"],
    "503": _PROBLEMS["503"],
}
_OF_A_QUERY: Final = {name: _PROBLEMS[name] for name in ("401", "403", "404")} | _OF_AN_OPEN_ONE


def describe(app: FastAPI, commands: CommandRoutes, issuer: str) -> None:
    """Makes `app.openapi()` describe the commands, too."""
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
                    operation["responses"] |= _problems(_OF_A_QUERY if "security" in operation else _OF_AN_OPEN_ONE)
            schemas.pop("HTTPValidationError", None), schemas.pop("ValidationError", None)  # the framework's own shape
            for command in commands.routes:
                document["paths"].setdefault(command.path, {})[command.method.lower()] = _operation(command, schemas)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _problems(meanings: Mapping[str, str]) -> dict[str, Any]:
    """The answers that are problems, by status."""
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
        text = f"Many at once: {text}"
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
            "200": {"description": "Done, or nothing was new", "content": {"application/json": {"schema": answer}}},
            **(
                {
                    "202": {
                        "description": "Kept, and not complete yet; the answer says what it waits for",
                        "content": {"application/json": {"schema": answer}},
                    }
                }
                if route.completes
                else {}
            ),
            **_problems(_PROBLEMS | {"413": f"More than {route.body_bytes} bytes, or what makes too large an event"}),
        },
    }
    if route.form.model_fields:
        operation["requestBody"] = {
            "required": any(field.is_required() for field in route.form.model_fields.values()),
            "content": {"application/json": {"schema": {"$ref": _REF.format(model=name)}}},
        }
    if not route.open:
        operation["security"] = scope_security(route.scopes)
    return operation


def _queries(routes: Sequence[BaseRoute]) -> Iterator[APIRoute]:
    """The queries among these routes, also those of a router that was included."""
    for route in routes:
        included: APIRouter | None = getattr(route, "original_router", None)
        if included is not None:
            yield from _queries(included.routes)
        elif isinstance(route, APIRoute):
            yield route


def _secure(document: dict[str, Any], route: APIRoute) -> None:
    """Says of a query that asks for a token which scopes of a machine account suffice."""
    for method in route.methods or ():
        operation = document["paths"].get(route.path, {}).get(method.lower(), {})
        if "security" in operation:
            operation["security"] = scope_security(scopes_of(route))
