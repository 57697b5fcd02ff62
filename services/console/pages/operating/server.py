"""Requests to the operations server."""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, JsonValue
from starlette.responses import Response

from services.console.doors import NoSuchId, path
from services.console.shapes.operating import ServedVerb, Verbs
from services.console.verbs import SERVER
from services.console.visits import Visit

OPERATE: Final = "/operator/operate"
AS_RUN: Final[Mapping[str, str]] = {"Prefer": "respond-async, wait=2"}
"""A run has a page of its own, which follows it. Most have ended within the wait, and are shown so at once."""


class Begun(BaseModel):
    """A run that has begun."""

    id: str


async def verb_named(visit: Visit, name: str) -> ServedVerb:
    """Return a verb. Raises NoSuchId if there is none of this name."""
    found = await visit.see(SERVER, "/verbs", Verbs)
    verb = next((each for each in found.items if each.name == name), None)
    if verb is None:
        raise NoSuchId
    return verb


async def begin(visit: Visit, name: str, parameters: Mapping[str, JsonValue]) -> Response:
    """Begin a run, and go to its page."""
    asked = path("/verbs/{verb}", verb=name)
    begun = await visit.ask(SERVER, "POST", asked, Begun, dict(parameters), condition=AS_RUN)
    return visit.go(path("/operator/operate/operations/{id}", id=begun.id))
