"""The states that a stream's commands lead through, and what it takes to make them."""

from typing import Any

from shared.eventlog.decision import Rejected, Stream
from shared.persistent_map import PersistentMap


def live(stream: Stream[Any, Any, Any], commands: list[Any]) -> list[Any]:
    """The states that the commands lead through. Each command is decided twice: the second time nothing is new."""
    state, number, states = stream.initial, 0, []
    for command in commands:
        decision = stream.decide(command, state)
        if isinstance(decision, Rejected):
            assert decision.rule and decision.reason
            continue
        for event in decision:
            number += 1
            state = stream.evolve(state, event.recorded(str(number)))
        again = stream.decide(command, state)
        assert again == () or isinstance(again, Rejected), f"{command} decides {again} a second time"
        states.append(state)
    return states


def copied(before: PersistentMap[Any, Any], after: PersistentMap[Any, Any]) -> int:
    """The entries that an extension has written."""
    known = {id(part) for part in before.parts}
    return sum(len(part) for part in after.parts if id(part) not in known)
