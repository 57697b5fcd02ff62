"""The verbs of `tenure` for pages, by the operations server and with the person's own token."""

from typing import TypeVar

import structlog
from pydantic import BaseModel, JsonValue, ValidationError

from services.console.doors import NoSuchId, Unreachable
from services.console.shapes.operations import VerbAnswer
from services.console.visits import Visit
from shared.services import OPERATIONS

logger = structlog.get_logger("operations")

Shape = TypeVar("Shape", bound=BaseModel)


def check_operator(visit: Visit) -> None:
    """Raise NoSuchId unless the person is one of the operator's, for whom alone these pages are."""
    if visit.account is None or visit.account.organisation_kind != "operator":
        raise NoSuchId


async def run_verb(visit: Visit, verb: str, shape: type[Shape], **parameters: JsonValue) -> Shape:
    """Run a verb that only looks, and return its result.

    Args:
        verb: Its path at the operations server.
        parameters: Those that are None or "" are left out.

    Raises:
        Refused, SessionOver, Unreachable: As a service's.
    """
    given: dict[str, JsonValue] = {name: value for name, value in parameters.items() if value not in (None, "")}
    answer = await visit.ask(OPERATIONS, "POST", verb, VerbAnswer, given)
    try:
        return shape.model_validate(answer.result)
    except ValidationError as fault:
        logger.error("a verb's result that can't be read", verb=verb, fault=str(fault)[:500])
        raise Unreachable(OPERATIONS) from fault
