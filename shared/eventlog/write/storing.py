"""What a decision is stored as."""

import json
from collections.abc import Sequence
from typing import Final

from shared.eventlog.decision import Rejected
from shared.events.base import Event

EVENT_BYTES: Final = 256 * 1024


class EventTooLarge(ValueError):
    """The command leads to an event that is larger than `EVENT_BYTES`."""


def data_of(event: Event) -> bytes:
    """Return the event's data. Raise EventTooLarge if it is larger than `EVENT_BYTES`."""
    data = event.data()
    if len(data) > EVENT_BYTES:
        raise EventTooLarge(f"{event.type()} has {len(data)} bytes; the limit for an event is {EVENT_BYTES}")
    return data


def personal(events: Sequence[Event]) -> bool:
    """Return whether one of these events has personal fields."""
    return any(event.PERSONAL_FIELDS for event in events)


def refusal_json(refusal: Rejected, command: object) -> str:
    """Return the refusal as it is stored, with the ids of the events that justify it."""
    return json.dumps(
        {
            "command": type(command).__name__,
            "rule": refusal.rule,
            "reason": refusal.reason,
            "remedy": refusal.remedy,
            "because": [event.ref for event in refusal.because],
        }
    )
