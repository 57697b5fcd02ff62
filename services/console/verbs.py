"""The verbs of `tenure` for the operator's pages, with the person's own token."""

from typing import Final, TypeVar

import structlog
from pydantic import BaseModel, JsonValue, ValidationError

from services.console.doors import NoSuchId, Unreachable, path
from services.console.visits import Visit
from shared.services import OPERATIONS

logger = structlog.get_logger("operations")

SERVER: Final = OPERATIONS
Shape = TypeVar("Shape", bound=BaseModel)


class Said(BaseModel):
    """The answer of a verb; its result is read by a shape of its own."""

    result: dict[str, JsonValue]


def check_operator(visit: Visit) -> None:
    """Raise NoSuchId unless the person is one of the operator's, whose pages these are."""
    if visit.account is None or visit.account.organisation_kind != "operator":
        raise NoSuchId


async def result_of(visit: Visit, name: str, shape: type[Shape], **parameters: JsonValue) -> Shape:
    """Run a verb that only reads, and return its result.

    Args:
        name: The verb's name in the path, such as `stream-find`.
        parameters: Those that are None or "" are left out.

    Raises:
        Refused, SessionOver, Unreachable: As a service's.
    """
    given: dict[str, JsonValue] = {key: value for key, value in parameters.items() if value not in (None, "")}
    answer = await visit.ask(SERVER, "POST", path("/verbs/{verb}", verb=name), Said, given)
    try:
        return shape.model_validate(answer.result)
    except ValidationError as fault:
        logger.error("a verb's result that can't be read", verb=name, fault=str(fault)[:500])
        raise Unreachable(SERVER) from fault
