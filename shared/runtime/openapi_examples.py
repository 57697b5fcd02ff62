"""The examples of the OpenAPI document: of every JSON body and of every problem."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from shared import rules
from shared.documents.examples import example_of, text_for
from shared.documents.filled import SchemaExamples
from shared.events.base import Event
from shared.runtime.problems import MEDIA_TYPE, Problem
from shared.runtime.routes import CommandRoute, CommandRoutes

_JSON: Final = "application/json"
_VERSION: Final = 7
_EVENT: Final = "0197a3f4-9c1e-7d21-8f60-2b5c1d7e9a34"
_REFUSED: Final = (
    Problem(rule=rules.NOT_SIGNED_IN, reason="The token is invalid or has expired.", remedy="Sign in again."),
    Problem(rule=rules.ROLE_MISSING, reason="You have no role on this contract.", remedy="Ask its manager for one."),
    Problem(rule=rules.UNKNOWN, reason="There is no contract that you may see.", remedy="Check the id."),
    Problem(
        rule=rules.NAME_TAKEN, reason="The name is taken.", remedy="Choose another name.", because=[_EVENT]
    ),  # of many rules with this status
    Problem(
        rule=rules.VERSION_CHANGED,
        reason="pool-1 is at version 8, and the request is for another one.",
        remedy="Read it again; if the command is still right, send it with the new ETag.",
        because=[_EVENT],
    ),
    Problem(rule=rules.TOO_LARGE, reason="A request to this route has at most 64 KiB.", remedy="Send a smaller one."),
    Problem(rule=rules.UNSUPPORTED_MEDIA_TYPE, reason="This route reads JSON.", remedy="Send application/json."),
    Problem(
        rule=rules.MALFORMED,
        reason="The request is not well formed: body.seats: it must be at least 1.",
        remedy="Correct these fields and send it again.",
        fields=[{"field": "body.seats", "error": "it must be at least 1"}],
    ),
    Problem(rule=rules.TOO_MANY_REQUESTS, reason="Too many commands by this account.", remedy="Wait for a second."),
    Problem(rule=rules.BUSY, reason="Too many concurrent changes; nothing was done.", remedy="Send it again."),
)


_INVENTED: Final = """

The ids and tokens in examples are invented: send those that your installation has answered with."""


def add_examples(document: dict[str, Any], commands: CommandRoutes) -> None:
    """Add an example to each body of the document."""
    document["info"]["description"] += _INVENTED
    problems = {f"Problem{each.status}": {"value": json.loads(bytes(each.response().body))} for each in _REFUSED}
    document["components"]["examples"] = problems
    schemas = document["components"]["schemas"]
    filled, asked = SchemaExamples(schemas), SchemaExamples(schemas, datetime.now(UTC))
    routes = {route.operation: route for route in commands.routes}
    for operation in _operations(document):
        for media in _bodies(operation.get("requestBody", {})):
            media["example"] = asked.of(media["schema"])
        for status, response in operation["responses"].items():
            if MEDIA_TYPE in response.get("content", {}):
                reference = {"$ref": f"#/components/examples/Problem{status}"}
                response["content"][MEDIA_TYPE]["examples"] = {"refused": reference}
            for media in _bodies(response):
                value, route = filled.of(media["schema"]), routes.get(operation["operationId"])
                media["example"] = value if route is None else value | _answer(route, value)


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def _bodies(part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the JSON bodies with a schema that says anything."""
    media = part.get("content", {}).get(_JSON, {})
    if media.get("schema"):
        yield media


def _answer(route: CommandRoute, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a command's answer, with the event that it most likely leads to."""
    if route.bulk:
        single = value["items"][0]["answer"] | _decided(route)
        return {"items": [{"status": int(HTTPStatus.OK), "answer": single}], "accepted": 1, "dry_run": False}
    return _decided(route)


def _decided(route: CommandRoute) -> dict[str, Any]:
    kind = max(route.events, key=lambda event: _likeness(route, event), default=None)
    event = {} if kind is None else {"type": kind.type(), "data": json.loads(example_of(kind).data())}
    return {
        "stream": f"{route.category}-{text_for(f'{route.category}_id')}",
        "version": _VERSION,
        "events": [{"id": _EVENT, "version": _VERSION, **event}] if event else [],
        "repeated": False,
        "dry_run": False,
    }


def _likeness(route: CommandRoute, event: type[Event]) -> int:
    """Return how many words the names share, such as `assign` and `assigned`."""
    command, named = (
        {word.lower()[:5] for word in re.findall("[A-Z][a-z]*", each.__name__)} for each in (route.command, event)
    )
    return len(command & named)
