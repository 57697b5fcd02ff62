"""Requests to the operations server."""

from collections.abc import Mapping
from typing import Final, TypeVar

import structlog
from pydantic import BaseModel, JsonValue, ValidationError
from starlette.responses import Response

from services.console.doors import NoSuchId, Unreachable, path
from services.console.shapes.operating import ServedVerb, Verbs
from services.console.visits import Visit

logger = structlog.get_logger("operating")

SERVER: Final = "operations"
OPERATE: Final = "/operator/operate"
AS_RUN: Final[Mapping[str, str]] = {"Prefer": "respond-async, wait=2"}
"""A run has a page of its own, which follows it. Most have ended within the wait, and are shown so at once."""
Shape = TypeVar("Shape", bound=BaseModel)


class Begun(BaseModel):
    """A run that has begun."""

    id: str


class Said(BaseModel):
    """The answer of a verb that only reads."""

    result: dict[str, JsonValue]


def check_operator(visit: Visit) -> None:
    """Raise NoSuchId unless the person is one of the operator's, whose pages these are."""
    if visit.account is None or visit.account.organisation_kind != "operator":
        raise NoSuchId


async def verb_named(visit: Visit, name: str) -> ServedVerb:
    """Return a verb. Raises NoSuchId if there is none of this name."""
    found = await visit.see(SERVER, "/verbs", Verbs)
    verb = next((each for each in found.items if each.name == name), None)
    if verb is None:
        raise NoSuchId
    return verb


async def result_of(visit: Visit, name: str, shape: type[Shape], **parameters: str) -> Shape:
    """Run a verb that only reads, and return its result. Parameters that are "" are left out."""
    given: dict[str, JsonValue] = {key: value for key, value in parameters.items() if value}
    said = await visit.ask(SERVER, "POST", path("/verbs/{verb}", verb=name), Said, given)
    try:
        return shape.model_validate(said.result)
    except ValidationError as fault:
        logger.error("a verb's result that can't be read", verb=name, fault=str(fault)[:500])
        raise Unreachable(SERVER) from fault


async def begin(visit: Visit, name: str, parameters: Mapping[str, JsonValue]) -> Response:
    """Begin a run, and go to its page."""
    asked = path("/verbs/{verb}", verb=name)
    begun = await visit.ask(SERVER, "POST", asked, Begun, dict(parameters), condition=AS_RUN)
    return visit.go(path("/operator/operate/operations/{id}", id=begun.id))
