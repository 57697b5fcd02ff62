"""A stream's decider under any commands, in any order."""

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from shared.eventlog.decision import Rejected, Stream
from shared.events import Event


def live(stream: Stream[Any, Any, Any], commands: Iterable[Any], check: Callable[[Any, Any], None]) -> list[Event]:
    """Decides and folds; every decision survives a retry, and every fold answers what deciding produced. A command may
    be a function that makes it of the state, as an answer to what was asked."""
    state = stream.initial
    history: list[Event] = []
    for drawn in commands:
        command = drawn(state) if isinstance(drawn, FunctionType) else drawn
        decision = stream.decide(command, state)
        if isinstance(decision, Rejected):
            assert decision.rule
            assert decision.reason
            assert all(fact in history for fact in decision.because if fact.ref.startswith("#"))
            continue
        for event in decision:
            event.recorded(f"#{len(history)}")
            state = stream.evolve(state, event)
            history.append(event)
        assert stream.decide(command, state) == ()
        check(state, command)
    assert not history or stream.tenant(history[0])
    return history


def nothing_more(_state: Any, _command: Any) -> None:
    pass
