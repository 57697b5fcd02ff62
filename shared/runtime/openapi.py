"""The OpenAPI document: FastAPI's document of the queries, extended with the commands."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode
from starlette.routing import BaseRoute

from shared.documents.schemas import REFERENCE
from shared.events.base import Event
from shared.runtime.csv_items import MEDIA_TYPE as CSV
from shared.runtime.csv_items import columns_of
from shared.runtime.forms import ITEMS_AT_MOST, item_of
from shared.runtime.openapi_examples import add_examples
from shared.runtime.openapi_forms import close_forms
from shared.runtime.problems import MEDIA_TYPE, ProblemDetails
from shared.runtime.routes import CommandRoute, CommandRoutes
from shared.runtime.scopes import scheme, scopes_of
from shared.runtime.scopes import security as scope_security
from shared.runtime.sizes import BODY_BYTES

_EVENT: Final[dict[str, Any]] = {
    "title": "Event",
    "type": "object",
    "required": ["id", "type", "version", "data"],
    "properties": {
        "id": {"type": "string", "description": "The id that the event has in Kafka, too."},
        "type": {"type": "string"},
        "version": {"type": "integer", "description": "The event's place in its stream, from 1."},
        "data": {"type": "object"},
    },
}
_ANSWER: Final[dict[str, Any]] = {
    "title": "Answer",
    "type": "object",
    "required": ["stream", "version", "events", "repeated", "dry_run"],
    "properties": {
        "stream": {"type": "string"},
        "version": {"type": "integer", "description": "The stream's version after the command."},
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/Event"}},
        "repeated": {
            "type": "boolean",
            "description": "Whether the command was decided before; this is its first answer.",
        },
        "dry_run": {"type": "boolean"},
    },
}


def _bulk_answer(title: str, single: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a bulk request's answer, given that of a single command's."""
    return {
        "title": title,
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
                        "answer": {"oneOf": [single, {"$ref": "#/components/schemas/ProblemDetails"}]},
                    },
                },
            },
            "accepted": {"type": "integer", "description": "The number of accepted items."},
            "dry_run": {"type": "boolean"},
        },
    }


_BULK_ANSWER: Final = _bulk_answer("BulkAnswer", {"$ref": "#/components/schemas/Answer"})
_CORRELATION: Final[dict[str, Any]] = {
    "name": "X-Correlation-ID",
    "in": "header",
    "schema": {"type": "string"},
    "description": "Is in the events, the logs and the answer of this request. At most 200 printable ASCII characters "
    "without spaces; generated if absent or malformed.",
}
_REQUEST_ID: Final[dict[str, Any]] = {
    "name": "X-Request-ID",
    "in": "header",
    "schema": {"type": "string"},
    "description": "Is in the logs and the answer of this request; also its X-Correlation-ID, if it has none. Of the "
    "same form; ignored if malformed.",
}
_TRACE: Final[dict[str, Any]] = {
    "name": "traceparent",
    "in": "header",
    "schema": {"type": "string"},
    "description": "The trace that the request belongs to (W3C Trace Context). Generated if absent or malformed.",
}
_TRACE_STATE: Final[dict[str, Any]] = {
    "name": "tracestate",
    "in": "header",
    "schema": {"type": "string"},
    "description": "What tracing systems add to the trace. Kept with the trace; ignored if malformed.",
}
_AT_LEAST: Final[dict[str, Any]] = {
    "name": "Tenure-At-Least",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[!-~]{1,400}@[1-9][0-9]{0,8}$"},
    "description": "A command's Tenure-Version: wait until the data that is read has it, for 2 seconds at most.",
}
_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "X-Correlation-ID": {
        "schema": {"type": "string"},
        "description": "Say it when you ask the operator about this request.",
    },
    "X-Request-ID": {"schema": {"type": "string"}, "description": "The request's id: its own, or the correlation id."},
    "Tenure-Sandbox": {
        "schema": {"type": "string", "const": "true"},
        "description": "Present if the caller is in a sandbox, whose clock may be ahead.",
    },
    "Tenure-Version": {
        "schema": {"type": "string"},
        "description": "The stream and its version after the command. Send it as Tenure-At-Least to read what was "
        "written. Absent in a dry run.",
    },
    "Location": {
        "schema": {"type": "string", "format": "uri-reference"},
        "description": "The path of what the command has created. Absent in a dry run.",
    },
    "ETag": {
        "schema": {"type": "string"},
        "description": "In quotation marks, the stream that is shown and its version, after a command or, in a dry "
        "run, before it: send it as If-Match with a command that is right only for this version. A query's has a "
        "digest besides: send it as If-None-Match to get 304 while the answer is the same.",
    },
    "Retry-After": {"schema": {"type": "integer", "minimum": 0}, "description": "Send it again after these seconds."},
    "WWW-Authenticate": {"schema": {"type": "string"}, "description": "What the token lacks (RFC 6750)."},
}
_ANY_REQUEST: Final = (_CORRELATION, _REQUEST_ID, _TRACE, _TRACE_STATE)
_ALWAYS: Final = ("X-Correlation-ID", "X-Request-ID", "Tenure-Sandbox")
"""The headers that any response may have."""
_WITH_A_PROBLEM: Final = {
    "401": ["WWW-Authenticate"],
    "403": ["WWW-Authenticate"],
    "429": ["Retry-After"],
    "503": ["Retry-After"],
}
_OF_A_COMMAND: Final[list[dict[str, Any]]] = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "pattern": "^[ -~]{1,200}$"},
        "description": "Identifies the command: a repeated request gets its first answer. Generated if absent.",
    },
    {
        "name": "dry_run",
        "in": "query",
        "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
        "description": "Return what would happen, and store nothing. Any value except true or false is refused.",
    },
]
_TAGS: Final = r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'
_CONDITIONS: Final[list[dict[str, Any]]] = [
    {
        "name": "If-Match",
        "in": "header",
        "schema": {"type": "string", "pattern": _TAGS},
        "description": "An ETag, or several: decide the command only on this version, otherwise answer 412. `*` means "
        "any version, if there is one. A repeated request gets its first answer.",
    },
    {
        "name": "If-None-Match",
        "in": "header",
        "schema": {"type": "string", "pattern": _TAGS},
        "description": "`*`: decide the command only if what it is about does not exist yet, otherwise answer 412.",
    },
]
_IF_NONE_MATCH: Final[dict[str, Any]] = {
    "name": "If-None-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "An ETag, or several: answer 304 if the answer is still the one with this tag.",
}
_PROBLEMS: Final = {
    "401": "Not signed in",
    "403": "Not allowed",
    "404": "Unknown, or not visible to the caller",
    "409": "Refused by a rule",
    "412": "The version is not that of If-Match",
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


def describe(
    app: FastAPI, commands: CommandRoutes, issuer: str, reads_tables: Callable[[APIRoute], bool] = lambda _: False
) -> None:
    """Extend `app.openapi()` with the commands, and with all of the queries.

    Args:
        issuer: Who issues the access tokens.
        reads_tables: Whether a query reads tables, for which the header `Tenure-At-Least` waits.
    """
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            components = document.setdefault("components", {})
            schemas = _Schemas(components.setdefault("schemas", {}))
            schemas.of("Event", _EVENT), schemas.of("Answer", _ANSWER), schemas.of("BulkAnswer", _BULK_ANSWER)
            schemas.of_model(ProblemDetails)
            security = components.setdefault("securitySchemes", {})
            security["Bearer"] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            security["Machine"] = scheme(issuer)
            for route in _queries(app.routes):
                _describe_query(document, route, reads_tables)
            for command in commands.routes:
                document["paths"].setdefault(command.path, {})[command.method.lower()] = _operation(command, schemas)
            schemas.keep_used_by(document["paths"])
            close_forms(document)
            used = _referred(document["paths"], "headers")
            components["headers"] = {name: header for name, header in _HEADERS.items() if name in used}
            add_examples(document, commands)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


class _Schemas:
    """The document's schemas, each name for one shape."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas

    def of(self, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Add a schema and return a reference to it.

        Raises:
            ValueError: The name is another shape's.
        """
        if self._schemas.setdefault(name, schema) != schema:
            raise ValueError(f"two shapes of the OpenAPI document have the name {name}: rename one")
        return {"$ref": REFERENCE.format(model=name)}

    def of_model(
        self, model: type[BaseModel], name: str = "", mode: JsonSchemaMode = "validation", *, whole: bool = True
    ) -> dict[str, Any]:
        """Add the schema of a model, with those that it has parts of, and return a reference to it.

        Args:
            whole: Whether the fields that the model needs are always there; a dry run lacks those of its answer.
        """
        schema = model.model_json_schema(ref_template=REFERENCE, mode=mode)
        if not whole:
            schema.pop("required", None)
        for part, shape in schema.pop("$defs", {}).items():
            self.of(part, shape)
        called = name or model.__name__
        return self.of(called, schema | {"title": called})  # generators of clients name their classes by titles

    def keep_used_by(self, paths: object) -> None:
        """Forget what no operation needs, such as the framework's own errors, which no response has."""
        used: set[str] = set()
        found = _referred(paths)
        while found:
            used |= found
            found = set().union(*(_referred(self._schemas[name]) for name in found)) - used
        for name in self._schemas.keys() - used:
            del self._schemas[name]


def _referred(part: object, kind: str = "schemas") -> set[str]:
    """Return the names of the schemas, or of other components, that a part refers to."""
    if isinstance(part, Mapping):
        name = str(part.get("$ref", "")).partition(f"#/components/{kind}/")[2]
        return set().union({name} if name else set(), *(_referred(each, kind) for each in part.values()))
    if isinstance(part, Sequence) and not isinstance(part, str):
        return set().union(*(_referred(each, kind) for each in part))
    return set()


def _problems(meanings: Mapping[str, str]) -> dict[str, Any]:
    """Return the problem responses by status."""
    schema = {"$ref": REFERENCE.format(model="ProblemDetails")}
    return {
        status: {
            "description": meaning,
            "headers": _headers(*_ALWAYS, *_WITH_A_PROBLEM.get(status, ())),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, meaning in meanings.items()
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _describe_query(document: dict[str, Any], route: APIRoute, reads_tables: Callable[[APIRoute], bool]) -> None:
    """Add a query's problems, headers and scopes of machines, which FastAPI does not know."""
    for method in route.methods or ():
        operation = document["paths"].get(route.path_format, {}).get(method.lower())
        if operation is None:
            continue
        signed_in = bool(operation.get("security"))
        operation["security"] = scope_security(scopes_of(route)) if signed_in else []
        for response in operation["responses"].values():
            response.setdefault("headers", {}).update(_headers(*_ALWAYS))
        whole = signed_in or "requestBody" in operation  # an open query with a body is a sign-in of some kind
        problems = _problems((_OF_A_QUERY if whole else _OF_AN_OPEN_QUERY) | _also(operation))
        operation["responses"] |= problems | _declared(route, operation["responses"])
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                parameter["schema"] = _sent(parameter["schema"])
        more = [_AT_LEAST] if signed_in and reads_tables(route) else []
        if method == "GET":
            more.append(_IF_NONE_MATCH)
            operation["responses"]["200"]["headers"] |= _headers("ETag")
            operation["responses"]["304"] = {
                "description": "As it was for If-None-Match",
                "headers": _headers(*_ALWAYS, "ETag"),
            }
        operation.setdefault("parameters", []).extend([*more, *_ANY_REQUEST])


def _declared(route: APIRoute, responses: Mapping[str, Any]) -> dict[str, Any]:
    """Return the responses that a query itself declares.

    One that has only a description is a problem.
    """
    own, meanings = dict[str, Any](), dict[str, str]()
    for status, response in route.responses.items():
        if response.keys() == {"description"}:
            meanings[str(status)] = response["description"]
        else:
            own[str(status)] = responses[str(status)]
    return own | _problems(meanings)


def _also(operation: Mapping[str, Any]) -> dict[str, str]:
    """Return the problems of a query with a path parameter or a body, by status."""
    named = any(parameter["in"] == "path" for parameter in operation.get("parameters", ()))
    found = {"404": _PROBLEMS["404"]} if named else {}
    if "requestBody" in operation:
        found |= {"413": f"More than {BODY_BYTES} bytes", "415": _PROBLEMS["415"]}
    return found


def _sent(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a query's parameter as it may be sent.

    A text that is "" by default is left out for that: an empty value is refused.
    """
    if "anyOf" in schema:
        return schema | {"anyOf": [_sent(choice) for choice in schema["anyOf"]]}
    if schema.get("type") != "string" or "enum" in schema:
        return schema
    sent = {key: value for key, value in schema.items() if (key, value) != ("default", "")}
    return sent | {"minLength": max(1, schema.get("minLength", 1))}


def _operation(route: CommandRoute, schemas: _Schemas) -> dict[str, Any]:
    form = schemas.of_model(route.form) if route.form.model_fields else None
    problems = _PROBLEMS | {"413": f"More than {route.body_bytes} bytes, or the event would be too large"}
    if route.bulk:
        del problems["412"]  # many commands have no condition
    conditions = [] if route.bulk else _CONDITIONS
    more = [*([] if route.bulk else ["ETag"]), *(["Location"] if route.location else [])]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": type_.json_schema()}
        for name, type_ in route.path_types.items()
    ]
    text = inspect.getdoc(route.command) or route.form.__name__
    if route.bulk:
        text = f"Several in one request: {text}"
    answer = _answer(route, schemas)
    if route.extra_response is not None:
        answer = {"allOf": [answer, schemas.of_model(route.extra_response, whole=False)]}
    responses = {"200": "Accepted, or nothing to change"}
    if route.completes:
        responses["202"] = "Accepted, but not complete yet; the response says what it waits for"
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": text.split("\n")[0],
        "description": text,
        "tags": ["commands"],
        "parameters": [*parameters, *_OF_A_COMMAND, *conditions, *_ANY_REQUEST],
        "responses": {
            **{
                status: {
                    "description": meaning,
                    "headers": _headers(*_ALWAYS, "Tenure-Version", *more),
                    "content": {"application/json": {"schema": answer}},
                }
                for status, meaning in responses.items()
            },
            **_problems(problems),
        },
    }
    if form is not None:
        operation["requestBody"] = {
            "required": any(field.is_required() for field in route.form.model_fields.values()),
            "content": {"application/json": {"schema": form}, **_csv(route)},
        }
    operation["security"] = [] if route.open else scope_security(route.scopes)
    return operation


def _answer(route: CommandRoute, schemas: _Schemas) -> dict[str, Any]:
    """Return the schema of a route's answer, whose events are of the kinds that its stream has."""
    if not route.events:
        return {"$ref": REFERENCE.format(model="BulkAnswer" if route.bulk else "Answer")}
    kinds = {kind.type(): schemas.of(f"{kind.__name__}Event", _event(kind, schemas)) for kind in route.events}
    mapping = {name: kind["$ref"] for name, kind in kinds.items()}
    event = {"oneOf": [*kinds.values()], "discriminator": {"propertyName": "type", "mapping": mapping}}
    name, properties = (
        route.category.capitalize(),
        _ANSWER["properties"] | {"events": {"type": "array", "items": event}},
    )
    single = schemas.of(f"{name}Answer", _ANSWER | {"title": f"{name}Answer", "properties": properties})
    if not route.bulk:
        return single
    title = f"{name}BulkAnswer"
    return schemas.of(title, _bulk_answer(title, single))


def _event(kind: type[Event], schemas: _Schemas) -> dict[str, Any]:
    """Return the schema of an event of this kind in an answer."""
    data = schemas.of_model(kind, f"{kind.__name__}Data", "serialization")
    properties = _EVENT["properties"] | {"type": {"type": "string", "const": kind.type()}, "data": data}
    return _EVENT | {"title": f"{kind.__name__}Event", "properties": properties}


def _csv(route: CommandRoute) -> dict[str, Any]:
    """Return the CSV file among the bodies of a route, if it reads one."""
    columns = columns_of(item_of(route.form)) if route.bulk else {}
    if not columns:
        return {}
    text = (
        f"A header row with columns of {', '.join(columns)}, then at most {ITEMS_AT_MOST} lines, each an item; UTF-8, "
        "separated by commas or semicolons. An empty cell leaves its field out."
    )
    return {CSV: {"schema": {"type": "string", "minLength": 1, "description": text}}}


def _queries(routes: Sequence[BaseRoute]) -> Iterator[APIRoute]:
    """Yield the queries among these routes, including those of included routers."""
    for route in routes:
        included: APIRouter | None = getattr(route, "original_router", None)
        if included is not None:
            yield from _queries(included.routes)
        elif isinstance(route, APIRoute):
            yield route
