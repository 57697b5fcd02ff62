"""Reading events: from stored bytes to the present models.

Pure functions, the upcasts, convert data of older schemas, version by version.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from shared.events.base import Event
from shared.events.envelope import Envelope, Unreadable
from shared.events.registry import EVENTS

Upcast = Callable[[dict[str, Any]], dict[str, Any]]


def _with_more_values(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a version whose fields had fewer values, which are values still."""
    return data


UPCASTS: Final[Mapping[tuple[str, int], Upcast]] = {
    ("MachineRegistered", 1): _with_more_values,  # version 2 has the scope `events:publish`
}
"""From (type, version) to the function that converts its data to version + 1."""


def check(upcasts: Mapping[tuple[str, int], Upcast] = UPCASTS, events: Mapping[str, type[Event]] = EVENTS) -> None:
    """Check that the upcasts lead from every older version to the present one.

    Raises:
        BadUpcasts: with every old version that has no upcast, and every upcast that can't be used: of an unknown type,
            or from the present version or a newer one.
    """
    wrong = [
        f"{name} version {version} can't be read: there is no upcast from it to {version + 1}"
        for name, model in events.items()
        for version in range(1, model.SCHEMA)
        if (name, version) not in upcasts
    ]
    for name, version in upcasts:
        if name not in events:
            wrong.append(f"there is an upcast of {name} version {version}, but no such event type")
        elif not 1 <= version < events[name].SCHEMA:
            wrong.append(
                f"the upcast of {name} version {version} can't be used: its version must be at least 1 and below "
                f"{events[name].SCHEMA}, the present one"
            )
    if wrong:
        raise BadUpcasts("; ".join(wrong))


class BadUpcasts(Exception):
    """The upcasts do not lead from every older version to the present one.

    A service does not start with such upcasts.
    """


class NewerEvent(Unreadable):
    """An event of a newer version of the code, which this process can't read.

    An upgraded process can.
    """


class UnknownType(NewerEvent):
    """An event whose type the event contract does not have."""


def decode(envelope: Envelope, data: bytes, *, trusted: bool = False) -> Event:
    """Return the event, with its id.

    Args:
        trusted: whether the bytes come from a log of this system. Events that it accepted before the contents of fields
            were restricted are then read by their types alone, as they were read before. Foreign events have to pass
            all checks.

    Raises:
        UnknownType: if the event contract does not have the type.
        NewerEvent: if the schema is newer than this code's.
        Unreadable: if the bytes are not such an event. No bytes raise any other error.
    """
    model = EVENTS.get(envelope.type)
    if model is None:
        raise UnknownType(f"no event of this contract has the type {envelope.type[:80]!r}")
    if envelope.schema > model.SCHEMA:
        raise NewerEvent(
            f"{envelope.type} version {envelope.schema} is newer than version {model.SCHEMA}, the newest that this "
            "process reads"
        )
    try:
        present = data if envelope.schema == model.SCHEMA else _converted(envelope, data)
        event = model.from_stored(present) if trusted else model.model_validate_json(present)
        return event.recorded(envelope.id)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Unreadable(f"{envelope.type}: {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{envelope.type}: {error}") from None


def _converted(envelope: Envelope, data: bytes) -> str:
    """Return the data in the present schema, as JSON.

    It is JSON and not Python objects, because the models read the two differently: a date is a string in JSON.
    """
    body = json.loads(data)
    for version in range(envelope.schema, EVENTS[envelope.type].SCHEMA):
        try:
            body = UPCASTS[envelope.type, version](body)
        except (LookupError, TypeError, AttributeError) as error:  # the data does not have the old schema
            raise ValueError(f"it can't be read as version {version}: {error!r}") from error
    return json.dumps(body)
