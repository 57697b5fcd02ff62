"""Event types that somebody asks for: whether their topic has such events."""

from collections.abc import Iterable
from typing import Final

from shared import rules
from shared.events.envelope import type_off_wire
from shared.events.registry import EVENTS_ON, OUTCOMES, is_outcomes
from shared.runtime.problems import Problem

_SHOWN: Final = 300
"""How many characters of unknown types a refusal repeats."""


def required_types(topic: str, asked: Iterable[str]) -> frozenset[str]:
    """Return the names of the types that somebody asks for, with the prefix or without.

    Raises:
        Problem: 422 unless the topic has events of all of them.
    """
    types, known = frozenset(map(type_off_wire, asked)), types_on(topic)
    if wrong := sorted(types - known):
        raise Problem(
            rule=rules.EVENT_TYPE_UNKNOWN,
            reason=f"{topic} has no events of the type {', '.join(wrong)[:_SHOWN]}.",
            remedy=f"Its types are {', '.join(sorted(known))}.",
        )
    return types


def types_on(topic: str) -> frozenset[str]:
    """Return the names of the event types of a topic; none if it is not one of the contract's."""
    return frozenset(event.type() for event in EVENTS_ON.get(OUTCOMES if is_outcomes(topic) else topic, ()))
