"""Reading: from stored bytes to today's model. Old shapes are lifted here by pure functions, version by version."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from shared.events.base import Event
from shared.events.envelope import Envelope, Unreadable
from shared.events.registry import EVENTS

Upcast = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTS: Final[Mapping[tuple[str, int], Upcast]] = {}
"""From (type, version) to the function that makes version + 1 of it. Every type stands at version 1 today."""


def check(upcasts: Mapping[tuple[str, int], Upcast] = UPCASTS, events: Mapping[str, type[Event]] = EVENTS) -> None:
    """Raises BadUpcasts, naming every one, where an old version can't be lifted, or a step is of no use: of a type that
    doesn't exist, or from a version that is today's or newer, whose result would be lifted without end."""
    wrong = [
        f"{name} version {version} can't be read: there is no upcast from it to {version + 1}"
        for name, model in events.items()
        for version in range(1, model.SCHEMA)
        if (name, version) not in upcasts
    ]
    for name, version in upcasts:
        if name not in events:
            wrong.append(f"there is an upcast of {name} version {version}, but no such event")
        elif not 1 <= version < events[name].SCHEMA:
            wrong.append(f"the upcast of {name} version {version} leads past {events[name].SCHEMA}, which is today's")
    if wrong:
        raise BadUpcasts("; ".join(wrong))


class BadUpcasts(Exception):
    """The upcasts don't lead from every old version to today's. A service doesn't start with such."""


class NewerEvent(Unreadable):
    """An event that a newer version of the code wrote: this process can't read it, one that is upgraded can."""


class UnknownType(NewerEvent):
    """No event of this contract has this type."""


def decode(envelope: Envelope, data: bytes, *, trusted: bool = False) -> Event:
    """Return the event, knowing its id.

    Args:
        trusted: whether the bytes are of a log of ours. What such a log accepted before the contents of fields were
            restricted is read by its types alone, as it was read then. Foreign events have to pass as they are.

    Raises:
        UnknownType or Unreadable, and nothing else, on whatever bytes come.
    """
    model = EVENTS.get(envelope.type)
    if model is None:
        raise UnknownType(f"no event of this contract has the type {envelope.type[:80]!r}")
    if envelope.schema > model.SCHEMA:
        raise NewerEvent(
            f"{envelope.type} version {envelope.schema} is newer than the {model.SCHEMA} that is known here"
        )
    try:
        today = data if envelope.schema == model.SCHEMA else _lifted(envelope, data)
        event = model.from_stored(today) if trusted else model.model_validate_json(today)
        return event.recorded(envelope.id)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Unreadable(f"{envelope.type}: {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{envelope.type}: {error}") from None


def _lifted(envelope: Envelope, data: bytes) -> str:
    """Today's shape as JSON, which the models read otherwise than what Python makes of it: a date is a string there."""
    shape = json.loads(data)
    for version in range(envelope.schema, EVENTS[envelope.type].SCHEMA):
        try:
            shape = UPCASTS[envelope.type, version](shape)
        except (LookupError, TypeError, AttributeError) as error:  # a body that never had the old shape
            raise ValueError(f"it can't be read as version {version}: {error!r}") from error
    return json.dumps(shape)
