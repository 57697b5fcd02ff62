"""Given what happened on a stream, when a command comes, then events or a refusal. Pure: no log, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Generic, TypeVar

from shared.eventlog.decision import Decision, Rejected, Stream
from shared.events import Event
from tests.spec.matching import Expected, assert_events

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E", bound=Event)


def given(stream: Stream[S, C, E], *events: E) -> "Given[S, C, E]":
    """Begin a test of the stream's decider, from a stream that has these events."""
    return Given(stream, events)


@dataclass(frozen=True)
class Given(Generic[S, C, E]):
    stream: Stream[S, C, E]
    events: tuple[E, ...]

    @property
    def state(self) -> S:
        return reduce(self.stream.evolve, self.events, self.stream.initial)

    def after(self, *commands: C) -> "Given[S, C, E]":
        """The stream after these commands as well, none of which may be refused."""
        events, state = list(self.events), self.state
        for command in commands:
            decided = Outcome(self.stream.decide(command, state)).events
            events.extend(decided)
            state = reduce(self.stream.evolve, decided, state)
        return Given(self.stream, tuple(events))

    def when(self, command: C) -> "Outcome[E]":
        return Outcome(self.stream.decide(command, self.state))


@dataclass(frozen=True)
class Outcome(Generic[E]):
    decision: Decision[E]

    @property
    def events(self) -> tuple[E, ...]:
        """The events to append. Fails where the command is refused."""
        assert not isinstance(self.decision, Rejected), self.decision
        return self.decision

    def then(self, *events: E | type[Event]) -> None:
        """Check that exactly these events are to be appended. A class stands for any event of it."""
        assert_events(self.events, events)

    def then_nothing(self) -> None:
        """Check that the command is accepted and changes nothing."""
        assert self.events == ()

    def then_accepted(self) -> tuple[E, ...]:
        """Check that the command brings events; return them, for tests that look at parts of them."""
        assert self.events, "nothing follows"
        return self.events

    def then_refused(self, rule: str, *, because: Sequence[Expected] | None = ()) -> Rejected:
        """Check that this rule refuses the command, because of exactly these events. See `refused`."""
        return refused(self.decision, rule, because=because)


def refused(decision: Decision[Event] | None, rule: str, *, because: Sequence[Expected] | None = ()) -> Rejected:
    """Check that this rule refuses, because of exactly these events, and says what to do instead.

    A class stands for any event of it. With `because=None` the test looks at the evidence itself.
    """
    assert isinstance(decision, Rejected), f"not refused: {decision}"
    assert decision.rule == rule
    assert decision.reason
    assert decision.remedy
    if because is not None:
        assert_events(decision.because, because, ids=True)
    return decision
