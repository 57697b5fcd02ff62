"""Check that every reader of a topic has an answer to every event of it: a handler, or that it ignores the event.

A service asks before it starts. An event that is added to a topic's union (`shared/events/`) names all of its readers
here; the folds of its stream are named by the type checker.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, get_args, get_type_hints

from shared.eventlog.decision import Stream
from shared.events.base import Event
from shared.events.registry import EVENTS_ON, topic_of

EventsOn: TypeAlias = Mapping[str, Sequence[type[Event]]]
"""By topic, the event types that can be on it."""


class UnansweredEvents(Exception):
    """A reader neither handles nor ignores an event of its topics, or no stream folds it. Decide what it should do."""


class Reader(Protocol):
    """Whatever reads topics: a projection, reactions, timers, or a follower of its own."""

    @property
    def topics(self) -> Sequence[str]: ...

    @property
    def handlers(self) -> Mapping[str, Callable[..., object]]:
        """The function that handles each event type, by the type's name."""

    @property
    def ignored(self) -> frozenset[str]:
        """The names of the event types that it ignores on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """The declaration of a reader that is neither a projection nor reactions."""

    topics: Sequence[str]
    handlers: Mapping[str, Callable[..., object]]
    ignored: frozenset[str]


def names(events: Iterable[type[Event]]) -> frozenset[str]:
    """The names of these event types."""
    return frozenset(event.type() for event in events)


def unanswered(readers: Mapping[str, Reader], events: EventsOn = EVENTS_ON) -> list[str]:
    """Name each reader with an event of its topics that it neither handles nor ignores.

    An event that it does both with, or one of another topic, is a fault, too: such a declaration hides what is missing.
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
    """What to look at: the tables that are folded, and the functions that handle other events of the topic."""
    functions = [inspect.unwrap(handler) for handler in reader.handlers.values()]
    close = [inspect.unwrap(handler) for event, handler in reader.handlers.items() if event in events]
    modules = ", ".join(dict.fromkeys(function.__module__ for function in functions))
    handlers = ", ".join(dict.fromkeys(function.__name__ for function in close))
    tables = ", ".join(getattr(reader, "tables", ()))
    return "; ".join(part for part in (modules, tables and f"tables {tables}", handlers and f"see {handlers}") if part)


def unfolded(service: str, streams: Iterable[Stream[Any, Any, Any]], events: EventsOn = EVENTS_ON) -> list[str]:
    """Name the events of the service's topic that no stream of it folds, and those that streams fold beside."""
    declared = names(events[topic_of(service)])
    folds = {event: stream.category for stream in streams for event in names(_folded(stream))}
    missing = [f"{service}: none of its streams folds {event}" for event in sorted(declared - folds.keys())]
    beside = sorted(folds.keys() - declared)
    return missing + [f"{service}: the stream {folds[event]} folds {event}, not on its topic" for event in beside]


def _folded(stream: Stream[Any, Any, Any]) -> Sequence[type[Event]]:
    """The event types that `evolve` takes, as it is annotated."""
    second = list(inspect.signature(stream.evolve).parameters)[1]
    union = get_type_hints(stream.evolve)[second]
    return get_args(union) or (union,)


def check(service: str, readers: Mapping[str, Reader], streams: Iterable[Stream[Any, Any, Any]]) -> None:
    """Raise UnansweredEvents, naming each reader and stream of the service that lacks an answer to an event."""
    if faults := unanswered(readers) + unfolded(service, streams):
        raise UnansweredEvents("\n".join(faults))
