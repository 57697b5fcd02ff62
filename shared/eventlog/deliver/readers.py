"""The check that every reader of a topic handles or ignores every event on it.

A service runs it before it starts. After an event is added to a topic's union (`shared/events/`), the check names every
reader of the topic that has to be extended; the type checker names the folds of the event's stream.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, get_args, get_type_hints

from shared.eventlog.decision import Stream
from shared.events.base import Event
from shared.events.registry import EVENTS_ON, topic_of

REMEDY: Final = (
    "Handle the event in the modules that are named, or list it in the reader's `ignores`. "
    "A stream folds the events in the annotation of its `evolve`: add it to `Event` in the stream's file in domain/."
)

EventsOn: TypeAlias = Mapping[str, Sequence[type[Event]]]
"""The event types that can be on each topic."""


class UnansweredEvents(Exception):
    """A reader neither handles nor ignores an event of its topics, or no stream folds an event.

    Add a handler, or declare that the reader ignores the event.
    """


class Reader(Protocol):
    """Anything that reads topics: a projection, reactions, timers, or another follower."""

    @property
    def topics(self) -> Sequence[str]: ...

    @property
    def handlers(self) -> Mapping[str, Callable[..., object]]:
        """The function that handles each event type, by the name of the type."""

    @property
    def ignored(self) -> frozenset[str]:
        """The names of the event types that the reader ignores on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """The declaration of a reader that is neither a projection nor reactions nor timers."""

    topics: Sequence[str]
    handlers: Mapping[str, Callable[..., object]]
    ignored: frozenset[str]


def names(events: Iterable[type[Event]]) -> frozenset[str]:
    """Return the names of these event types."""
    return frozenset(event.type() for event in events)


def unanswered(readers: Mapping[str, Reader], events: EventsOn = EVENTS_ON) -> list[str]:
    """Describe each event that a reader of its topic neither handles nor ignores.

    A reader that both handles and ignores an event, or names an event that is on none of its topics, is reported as
    well: such a declaration can hide a missing one.
    """
    return [fault for name, reader in readers.items() for fault in _faults(name, reader, events)]


def _faults(name: str, reader: Reader, events: EventsOn) -> Iterable[str]:
    handled = reader.handlers.keys()
    for topic in reader.topics:
        for event in sorted(names(events[topic]) - handled - reader.ignored):
            yield f"{name} neither handles nor ignores {event} of {topic} ({_where(reader, names(events[topic]))})"
    for event in sorted(handled & reader.ignored):
        yield f"{name} both handles and ignores {event}"
    for event in sorted((handled | reader.ignored) - names(e for topic in reader.topics for e in events[topic])):
        yield f"{name} handles or ignores {event}, which is on none of its topics"


def _where(reader: Reader, events: frozenset[str]) -> str:
    """Return the reader's modules, its tables, and its handlers of the topic's other events."""
    functions = [inspect.unwrap(handler) for handler in reader.handlers.values()]
    related = [inspect.unwrap(handler) for event, handler in reader.handlers.items() if event in events]
    modules = ", ".join(dict.fromkeys(function.__module__ for function in functions))
    handlers = ", ".join(dict.fromkeys(function.__name__ for function in related))
    tables = ", ".join(getattr(reader, "tables", ()))
    return "; ".join(part for part in (modules, tables and f"tables {tables}", handlers and f"see {handlers}") if part)


def unfolded(service: str, streams: Iterable[Stream[Any, Any, Any]], events: EventsOn = EVENTS_ON) -> list[str]:
    """Describe each event that only the service's topic or only one of its streams has."""
    declared = names(events[topic_of(service)])
    folds = {event: stream.category for stream in streams for event in names(folded(stream))}
    missing = [f"{service}: none of its streams folds {event}" for event in sorted(declared - folds.keys())]
    extra = sorted(folds.keys() - declared)
    return missing + [f"{service}: the stream {folds[event]} folds {event}, not on its topic" for event in extra]


def folded(stream: Stream[Any, Any, Any]) -> Sequence[type[Event]]:
    """Return the event types in the annotation of the stream's `evolve`."""
    second = list(inspect.signature(stream.evolve).parameters)[1]
    union = get_type_hints(stream.evolve)[second]
    return get_args(union) or (union,)


def check(service: str, readers: Mapping[str, Reader], streams: Iterable[Stream[Any, Any, Any]]) -> None:
    """Check the readers and streams of a service before it starts.

    Raises:
        UnansweredEvents: A reader neither handles nor ignores an event of its topics, or the events of the service's
            topic are not those that its streams fold.
    """
    if faults := unanswered(readers) + unfolded(service, streams):
        raise UnansweredEvents("\n".join((*faults, REMEDY)))
