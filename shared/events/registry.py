"""The topics, and which event types may be on each, from which source.

A service's own topic has that service's events; the inbound topics have the events of publishers' systems. Every reader
of a topic checks records against this registry, so that none is trusted merely because of its topic.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from importlib import import_module
from typing import Final, get_args

from shared.events.base import Event
from shared.events.envelope import publisher_of, source_of, source_of_publisher
from shared.events.outcomes import RecordAnswered
from shared.events.publisher import PublisherEvent
from shared.services import DECLARED, PUBLISHERS, SERVICES

INBOUND: Final = "publisher.inbound.v1"
"""The inbound topic of a trusted gateway, which may send events of any publisher.

Each publisher's own inbound topic is `inbound_topic(publisher)`. Inbound records are CloudEvents of publishers'
systems, without stream versions and hashes."""
INBOUND_PATTERN: Final = r"^publisher\.inbound\.v1(\.[A-Za-z0-9_-]{1,100})?$"
"""A regular expression of the names of all inbound topics, for subscriptions."""
_INBOUND: Final = re.compile(INBOUND_PATTERN)
OUTCOMES: Final = "publisher.outcomes.v1"
"""The topic with the answers to records of publishers that have no topic of outcomes of their own.

Each publisher's own is `outcomes_topic(publisher)`."""


def topic_of(service: str) -> str:
    """Return the topic of a service's own events."""
    return f"{service}.events.v1"


IDENTITY: Final = topic_of("identity")
MARKETPLACE: Final = topic_of("marketplace")
ENTITLEMENTS: Final = topic_of("entitlements")
DISTRIBUTION: Final = topic_of("distribution")


def service_of(topic: str) -> str:
    """Return the service whose own topic this is; "" for any other topic."""
    service = topic.removesuffix(".events.v1")
    return service if topic == topic_of(service) else ""


@lru_cache(1024)
def is_inbound(topic: str) -> bool:
    """Return whether this is an inbound topic: the gateway's or a publisher's own."""
    return _INBOUND.fullmatch(topic) is not None


def publisher_of_topic(topic: str) -> str:
    """Return the publisher whose own inbound topic this is; "" for any other topic.

    On the gateway's topic any publisher may be the source.
    """
    return topic.removeprefix(f"{INBOUND}.") if is_inbound(topic) and topic != INBOUND else ""


def inbound_topic(publisher: str) -> str:
    """Return the inbound topic that only this publisher's system writes to.

    Raises:
        ValueError: if the publisher's name can't be part of a topic's name.
    """
    topic = f"{INBOUND}.{publisher}"
    if not is_inbound(topic):
        raise ValueError(
            f"a publisher with its own topic needs a name of up to 100 letters, digits, - and _, not {publisher!r}"
        )
    return topic


def outcomes_topic(publisher: str) -> str:
    """Return the topic with the answers to this publisher's records; that of all others for ""."""
    return f"{OUTCOMES}.{publisher}" if publisher else OUTCOMES


def is_outcomes(topic: str) -> bool:
    """Return whether this is a topic of outcomes."""
    return topic == OUTCOMES or topic.startswith(f"{OUTCOMES}.")


def publisher_of_outcomes(topic: str) -> str:
    """Return the publisher whose own topic of outcomes this is; "" for any other topic."""
    return topic.removeprefix(f"{OUTCOMES}.") if topic.startswith(f"{OUTCOMES}.") else ""


def topics_read(declared: Iterable[str], existing: Iterable[str]) -> list[str]:
    """Return the topics that a consumer of `declared` reads.

    With the gateway's inbound topic it also reads the existing inbound topics of publishers.
    """
    topics = list(declared)
    own = sorted(topic for topic in existing if publisher_of_topic(topic)) if INBOUND in topics else []
    return list(dict.fromkeys([*topics, *own]))


def topics_pattern(declared: Iterable[str]) -> str:
    """Return a regular expression of the topics of `topics_read`, and of those created later."""
    topics = list(declared)
    names = [re.escape(topic) for topic in topics if topic != INBOUND]
    return "|".join([f"^{name}$" for name in names] + [INBOUND_PATTERN] * (INBOUND in topics))


def _contract_of(service: str) -> tuple[type[Event], ...]:
    """Return the event types of a service, from the union `<Service>Event` of its module."""
    union: object = getattr(import_module(f"shared.events.{service}"), f"{service.capitalize()}Event")
    return get_args(union)


EVENTS_ON: Final[Mapping[str, tuple[type[Event], ...]]] = {
    **{topic_of(service): _contract_of(service) for service in SERVICES},
    INBOUND: get_args(PublisherEvent),
    OUTCOMES: (RecordAnswered,),
}
"""The event types of each topic. A publisher's own topics have the types of the common ones."""

EVENTS: Final[Mapping[str, type[Event]]] = {event.type(): event for events in EVENTS_ON.values() for event in events}
"""Every event type of the contract."""

PUBLISHERS_EVENTS: Final[Mapping[str, type[Event]]] = {event.type(): event for event in EVENTS_ON[INBOUND]}
"""The event types that a publisher's system may send."""


def published_by(service: str) -> dict[str, type[Event]]:
    """Return the event types of a service's own streams, by name."""
    return {event.type(): event for event in EVENTS_ON[topic_of(service)]}


ANSWERING: Final = tuple(each.name for each in DECLARED if PUBLISHERS in each.reads)
"""The services that decide on publishers' events, and answer each of their records."""
_ANSWERS: Final = frozenset(map(source_of, ANSWERING))
_ANSWER_TYPES: Final = frozenset({RecordAnswered.type()})
_TYPES: Final = frozenset(EVENTS)
_PUBLISHERS_TYPES: Final = frozenset(PUBLISHERS_EVENTS)
_OWN: Final = {
    topic_of(service): (frozenset({source_of(service)}), frozenset(published_by(service))) for service in SERVICES
}


def why_not_from(topic: str, source: str, event_type: str) -> str | None:
    """Return why an event of this type and source may not be on this topic; None when it may.

    For a type that the contract does not have, only the source is checked.
    """
    own = _OWN.get(topic)
    if own is not None:
        sources, types = own
    elif is_inbound(topic):
        publisher = publisher_of_topic(topic) or publisher_of(source) or "<publisher>"
        sources, types = frozenset({source_of_publisher(publisher)}), _PUBLISHERS_TYPES
    elif is_outcomes(topic):
        sources, types = _ANSWERS, _ANSWER_TYPES
    else:
        sources, types = frozenset({source_of(topic.split(".", 1)[0])}), _TYPES
    if source not in sources:
        return f"the source {source[:120]} may not publish on {topic}, but only {' or '.join(sorted(sources))}"
    if event_type not in types and event_type in EVENTS:
        return f"type {event_type[:80]} is not one that {source[:120]} may publish on {topic}"
    return None


def publisher_named(event: Event) -> str | None:
    """Return the publisher that an event's data names; None where its type has no publisher.

    Only that publisher may send the event.
    """
    data = getattr(event, "plan", event)
    publisher: str | None = getattr(data, "publisher", None)
    return publisher


def times_said(event: Event) -> Iterator[tuple[str, datetime]]:
    """Return the points in time in an event's data, each with the name of its field."""
    return ((name, value) for name, value in event if isinstance(value, datetime))
