"""Given what a service's log holds, when an event comes or time has come, then its commands and their events.

In memory: a log, reactions and timers, without tables. Reactions that look into tables are tested over a database.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.projection import Dispatch, ReactionContext, Reactions
from shared.eventlog.deliver.timers import Cancel, Timers
from shared.eventlog.write.log import Accepted, Log, Meta, Refused
from shared.eventlog.write.memory import MemoryStore
from shared.events import Event
from shared.events.envelope import Envelope, source_of
from tests.spec.matching import Expected, assert_events

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E", bound=Event)


def given_service(name: str, now: datetime, timers: Timers | None = None) -> "Service":
    """Begin a test of the service's reactions or timers, with an empty log."""
    return Service(name, now, timers)


class Service:
    """A service's log, and the timers that its events set. It changes with every `given` and `when`."""

    def __init__(self, name: str, now: datetime, timers: Timers | None) -> None:
        self.name, self.now, self.timers = name, now, timers
        self.log = Log(MemoryStore(), name)
        self.due: dict[str, datetime] = {}
        """The timers that are set, by name."""
        self._commands = 0

    async def given(self, stream: Stream[S, C, E], key: str, *commands: C) -> None:
        """Have the stream accept these commands."""
        for command in commands:
            answer = await self.execute(Dispatch(stream, key, command))
            assert isinstance(answer, Accepted), answer

    async def state(self, stream: Stream[S, C, E], key: str) -> S:
        return await self.log.state(stream, key)

    def when(self, reactions: Reactions, event: Event, *, source: str = "") -> "Reaction":
        """Let the event come from `source`, the service itself unless another is named."""
        envelope = Envelope("event-1", source or source_of(self.name), event.type(), "stream-1", self.now)

        async def react() -> Sequence[Dispatch]:
            return await reactions.react(event, envelope, self._context(self.now))

        return Reaction(self, react)

    def when_due(self, timer: str, key: str, at: datetime) -> "Reaction":
        """Let the timer fire."""

        async def fire() -> Sequence[Dispatch]:
            assert self.timers is not None
            stream, command = await self.timers.command(timer, key, at, self._context(at))
            return [Dispatch(stream, key, command)]

        return Reaction(self, fire)

    def _context(self, now: datetime) -> ReactionContext:
        return ReactionContext(lookups=None, log=self.log, now=now, clocks=Clocks(lambda: now))

    async def execute(self, dispatch: Dispatch) -> Accepted | Refused:
        """Execute the command, and set the timers that its events set."""
        self._commands += 1
        meta = Meta(f"command-{self._commands}", "somebody", self.now)
        answer = await self.log.execute(dispatch.stream, dispatch.key, dispatch.command, meta)
        if isinstance(answer, Accepted):
            for recorded in answer.events:
                self._set_timers(recorded.event, recorded.id, answer.stream)
        return answer

    def _set_timers(self, event: Event, id_: str, stream: str) -> None:
        if self.timers is None:
            return
        envelope = Envelope(id_, source_of(self.name), event.type(), stream, self.now)
        for change in self.timers.changes(event, envelope):
            if isinstance(change, Cancel):
                self.due.pop(change.name, None)
            else:
                self.due[change.name] = change.due


@dataclass(frozen=True)
class Reaction:
    """What follows. Each check executes it anew."""

    service: Service
    dispatches: Callable[[], Coroutine[None, None, Sequence[Dispatch]]]

    async def then_dispatched(self, *commands: Dispatch) -> None:
        """Check that exactly these commands follow. They are not executed."""
        assert tuple(await self.dispatches()) == commands

    async def then(self, *events: Expected) -> None:
        """Check that the commands bring exactly these events. A class stands for any event of it."""
        assert_events([event for _, event in await self.then_accepted()], events)

    async def then_nothing(self) -> None:
        """Check that no command follows, or none that changes anything."""
        assert await self.then_accepted() == []

    async def then_accepted(self) -> Sequence[tuple[str, Event]]:
        """Check that the commands are accepted; return their events, each with its stream."""
        answers = [await self.service.execute(dispatch) for dispatch in await self.dispatches()]
        assert all(isinstance(answer, Accepted) for answer in answers), answers
        return [(a.stream, recorded.event) for a in answers if isinstance(a, Accepted) for recorded in a.events]

    async def then_refused(self, rule: str) -> Refused:
        """Check that one command follows, and that this rule refuses it."""
        (dispatch,) = await self.dispatches()
        answer = await self.service.execute(dispatch)
        assert isinstance(answer, Refused), f"not refused: {answer}"
        assert answer.rule == rule
        return answer
