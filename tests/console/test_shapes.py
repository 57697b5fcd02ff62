"""What the pages read of an answer: the console's own models, compared with what the routes declare.

The console imports no service, so its models of the services' answers stand in `services/console/shapes`. A field
that a route renames, drops or gives another type fails here.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cache
from types import ModuleType
from typing import Any, Final, Literal

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, create_model

from cli.app import load_verbs
from cli.serving.app import ServerParts, make_app
from services.console import shapes
from services.console.deeds import LinesOutcome, Outcome
from shared.runtime.settings import Settings
from shared.services import OPERATIONS, SERVICES
from tests.cli.shown import VERB_SHAPES
from tests.console.asked import Request, every_request, unnamed
from tests.services.every_route import app_of

Schema = Mapping[str, Any]

NAMED_ROUTES: Final = re.compile(r"(\w+)'s (`[A-Z]+ /[^`]*`(?:(?:, and|,| and| or) `[A-Z]+ /[^`]*`)*)")
"""The routes in a docstring such as "Of identity's `POST /sessions` and `POST /sessions/refresh`."."""


class Declared:
    """A type as JSON schema, with the definitions that it refers to."""

    def __init__(self, schema: Schema, definitions: Mapping[str, Schema]) -> None:
        while "$ref" in schema:
            schema = definitions[schema["$ref"].rpartition("/")[2]]
        self.schema, self.definitions = schema, definitions

    def part(self, schema: Schema) -> "Declared":
        return Declared(schema, self.definitions)

    @property
    def choices(self) -> list["Declared"]:
        """The members of a union."""
        return [self.part(each) for each in self.schema.get("anyOf", self.schema.get("oneOf", []))]

    @property
    def values(self) -> set[Any] | None:
        """The values of an enumeration; None for any."""
        if "const" in self.schema:
            return {self.schema["const"]}
        return set(self.schema["enum"]) if "enum" in self.schema else None

    @property
    def fields(self) -> dict[str, "Declared"]:
        return {name: self.part(each) for name, each in self.schema.get("properties", {}).items()}

    @property
    def required(self) -> set[str]:
        return set(self.schema.get("required", ()))


Compared = frozenset[tuple[int, int]]
"""The pairs of schemas that are being compared: one that contains itself is compared once."""


def unreadable(shape: Declared, answer: Declared, at: str, within: Compared = frozenset()) -> list[str]:
    """What of an answer the shape does not read, with its place; empty if every such answer fits."""
    pair = (id(shape.schema), id(answer.schema))
    if pair in within or not shape.schema.keys() - {"title", "description", "default"}:
        return []  # anything
    within |= {pair}
    if answer.choices:
        return [problem for each in answer.choices for problem in unreadable(shape, each, at, within)]
    if shape.choices:
        found = [unreadable(each, answer, at, within) for each in shape.choices]
        return [] if [] in found else min(found, key=len)
    kind, given = shape.schema.get("type"), answer.schema.get("type")
    if kind != given and (kind, given) != ("number", "integer"):
        return [f"{at}: the route has {given or 'anything'}, the shape {kind}"]
    if shape.values is not None and (answer.values is None or not answer.values <= shape.values):
        return [f"{at}: the route has {sorted(answer.values or ()) or 'any value'}, the shape {sorted(shape.values)}"]
    if (wanted := shape.schema.get("format")) not in (None, answer.schema.get("format")):
        return [f"{at}: the route has {answer.schema.get('format', 'a text')}, the shape {wanted}"]
    if kind == "array":
        wanted_item, item = (each.part(each.schema.get("items", {})) for each in (shape, answer))
        return unreadable(wanted_item, item, f"{at}[]", within)
    return list(_unreadable_fields(shape, answer, at, within)) if kind == "object" else []


def _unreadable_fields(shape: Declared, answer: Declared, at: str, within: Compared) -> Iterator[str]:
    others, wanted = answer.schema.get("additionalProperties"), shape.schema.get("additionalProperties")
    if isinstance(wanted, Mapping):
        each = shape.part(wanted)
        for name, value in answer.fields.items():
            yield from unreadable(each, value, f"{at}.{name}", within)
        if isinstance(others, Mapping):
            yield from unreadable(each, answer.part(others), f"{at}.*", within)
    for name, field in shape.fields.items():
        if name not in answer.fields:
            yield f"{at}.{name}: the route has no such field"
            continue
        if name in shape.required - answer.required:
            yield f"{at}.{name}: the route may leave it out, the shape has no default"
        yield from unreadable(field, answer.fields[name], f"{at}.{name}", within)


def modules() -> Iterator[ModuleType]:
    yield shapes
    for found in pkgutil.iter_modules(getattr(shapes, "__path__", ())):
        yield importlib.import_module(f"{shapes.__name__}.{found.name}")


SHAPES: Final = [
    shape
    for module in modules()
    for _, shape in inspect.getmembers(module, inspect.isclass)
    if issubclass(shape, BaseModel) and shape.__module__ == module.__name__
]


def routes_of(shape: type[BaseModel]) -> list[tuple[str, str, str]]:
    """The service, method and path of each route in the shape's docstring."""
    found = []
    for service, routes in NAMED_ROUTES.findall(" ".join((shape.__doc__ or "").split())):
        for route in re.findall(r"`(.*?)`", routes):
            method, path = route.split(" ", 1)
            found.append((service, method, unnamed(path)))
    return found


@cache
def operations_app() -> FastAPI:
    """The application of the operations server, with all verbs."""
    load_verbs()
    return make_app(ServerParts(settings=Settings()))


@cache
def document(service: str) -> tuple[dict[tuple[str, str], Schema], dict[str, Schema]]:
    """The service's operations by method and path, and the schemas that they refer to."""
    described = operations_app().openapi() if service == OPERATIONS else app_of(service).openapi()
    operations = {
        (method.upper(), unnamed(path)): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    return operations, described["components"]["schemas"]


def answer_of(service: str, method: str, path: str) -> Declared:
    """What a route declares as its answer; the fields that a command adds may be missing in any answer."""
    operations, definitions = document(service)
    assert (method, path) in operations, f"{service} has no route {method} {path}"
    responses = operations[method, path]["responses"]
    response = next(response for status, response in responses.items() if status.startswith("2"))
    schema = response["content"]["application/json"]["schema"]
    if "allOf" not in schema:
        return Declared(schema, definitions)
    answer, extra = (Declared(each, definitions) for each in schema["allOf"])
    fields = {**answer.schema["properties"], **extra.schema["properties"]}
    return Declared({"type": "object", "properties": fields, "required": list(answer.required)}, definitions)


def declared(shape: type[BaseModel]) -> Declared:
    schema = shape.model_json_schema()
    return Declared(schema, schema.get("$defs", {}))


def name(each: Any) -> str:
    return getattr(each, "__name__", str(each))


ROUTES: Final = [(shape, *route) for shape in SHAPES for route in routes_of(shape)]


@pytest.mark.parametrize(
    ("shape", "service", "method", "path"), ROUTES, ids=lambda each: getattr(each, "__name__", each)
)
def test_a_shape_reads_what_its_route_declares(shape: type[BaseModel], service: str, method: str, path: str) -> None:
    problems = unreadable(declared(shape), answer_of(service, method, path), shape.__name__)
    assert not problems, f"{service}'s {method} {path} has drifted:\n" + "\n".join(problems)


@pytest.mark.parametrize(("shape", "answer"), [(Outcome, "Answer"), (LinesOutcome, "BulkAnswer")], ids=name)
@pytest.mark.parametrize("service", SERVICES)
def test_what_is_read_of_every_command_is_in_every_answer(service: str, shape: type[BaseModel], answer: str) -> None:
    definitions = document(service)[1]
    answers = [each for name, each in definitions.items() if re.search(f"(?<!Bulk){answer}$", name)]
    assert answers
    for each in answers:
        assert not unreadable(declared(shape), Declared(each, definitions), shape.__name__)


def test_every_shape_names_its_route_or_is_a_part_of_one_that_does() -> None:
    parts = {part for shape, *_ in ROUTES for part in declared(shape).definitions}
    parts |= {part for shape in VERB_SHAPES.values() for part in (shape.__name__, *declared(shape).definitions)}
    lost = [shape.__name__ for shape in SHAPES if not routes_of(shape) and shape.__name__ not in parts]
    assert not lost, f"{', '.join(lost)}: end the docstring with: Of <service>'s `METHOD /path`."


# ── What the pages ask ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("request_", sorted(every_request()), ids=lambda each: " ".join(each[:4]))
def test_a_page_asks_a_route_that_is_there_and_reads_it_by_its_own_model(request_: Request) -> None:
    routes = {
        (service, method, path)
        for service in (*SERVICES, OPERATIONS)
        for method, path in document(service)[0]
        if request_.may_be(service, method, path)
    }
    assert routes, f"{request_.service} has no route {request_.method} {request_.path}"
    for service, method, path in routes:
        known = {each["name"] for each in document(service)[0][method, path].get("parameters", ())}
        unknown = set(request_.filters) - known
        assert not unknown, f"{service}'s {method} {path} refuses the parameters {', '.join(sorted(unknown))}"
    named = [set(routes_of(shape)) for shape in SHAPES if shape.__name__ == request_.model]
    assert not named or any(routes <= each for each in named), (
        f"{request_.service}'s {request_.method} {request_.path} is read as {request_.model}, whose docstring does not "
        "name it"
    )


# ── What is a drift ────────────────────────────────────────────────────────────────────────────────────


class Route(BaseModel):
    at: datetime
    day: date | None
    seats: int
    state: Literal["open", "closed"]
    names: list[str]


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ((datetime, ...), ""),
        ((str, ...), ""),
        ((int, ...), "R.at: the route has string, the shape integer"),
        ((date, ...), "R.at: the route has date-time, the shape date"),
    ],
)
def test_a_field_of_another_type_is_a_drift(field: Any, problem: str) -> None:
    assert drift(at=field) == problem


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"day": (date | None, ...)}, ""),
        ({"day": (date, ...)}, "R.day: the route has null, the shape string"),
        ({"seats": (float, ...)}, ""),
        ({"seats": (int | None, None)}, ""),
        ({"state": (Literal["open"], ...)}, "R.state: the route has ['closed', 'open'], the shape ['open']"),
        ({"state": (str, ...)}, ""),
        ({"names": (list[int], ...)}, "R.names[]: the route has string, the shape integer"),
        ({"free": (int, 0)}, "R.free: the route has no such field"),
    ],
)
def test_a_shape_may_read_more_than_its_route_says_but_not_less(fields: dict[str, Any], problem: str) -> None:
    assert drift(**fields) == problem


def drift(**fields: Any) -> str:
    answer = Route.model_json_schema(mode="serialization")
    return "\n".join(unreadable(declared(create_model("Shape", **fields)), Declared(answer, {}), "R"))
