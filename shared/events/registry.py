"""The topics, and which event types may be on each, from whom.

A service's own topic holds that service's events; the inbound topics hold what publishers' systems may say. Everything
that reads a topic asks here, so that no record is believed because it lies somewhere.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from importlib import import_module
from typing import Final, get_args

from shared.events.base import Event
from shared.events.envelope import publisher_of, source_of
from shared.events.publisher import PublisherEvent
from shared.services import SERVICES

INBOUND: Final = "publisher.inbound.v1"
"""Foreign CloudEvents from publishers' systems: no stream versions, no hashes. This one is a trusted gateway's, which
speaks for any publisher; each publisher's own topic is `inbound_topic(publisher)`."""
INBOUND_PATTERN: Final = r"^publisher\.inbound\.v1(\.[A-Za-z0-9_-]{1,100})?$"
"""The names of all inbound topics, for subscriptions."""
_INBOUND: Final = re.compile(INBOUND_PATTERN)


def topic_of(service: str) -> str:
    """Where a service publishes its own events."""
    return f"{service}.events.v1"


IDENTITY: Final = topic_of("identity")
MARKETPLACE: Final = topic_of("marketplace")
ENTITLEMENTS: Final = topic_of("entitlements")
DISTRIBUTION: Final = topic_of("distribution")


def service_of(topic: str) -> str:
    """The service whose own topic it is; "" for any other topic."""
    service = topic.removesuffix(".events.v1")
    return service if topic == topic_of(service) else ""


@lru_cache(1024)
def is_inbound(topic: str) -> bool:
    """Whether the topic holds what publishers' systems say: the gateway's, or a publisher's own."""
    return _INBOUND.fullmatch(topic) is not None


def publisher_of_topic(topic: str) -> str:
    """The one publisher that writes to an inbound topic; "" for the gateway's, where any may be the source."""
    return topic.removeprefix(f"{INBOUND}.") if is_inbound(topic) and topic != INBOUND else ""


def inbound_topic(publisher: str) -> str:
    """The topic that this publisher's system alone writes to. Raises ValueError when no topic can have that name."""
    topic = f"{INBOUND}.{publisher}"
    if not is_inbound(topic):
        raise ValueError(f"a publisher with a topic of its own is named by letters, digits, - and _, not {publisher!r}")
    return topic


def topics_read(declared: Iterable[str], existing: Iterable[str]) -> list[str]:
    """The topics that a consumer of `declared` reads: who reads the inbound topic reads publishers' own, too."""
    wanted = list(declared)
    own = sorted(topic for topic in existing if publisher_of_topic(topic)) if INBOUND in wanted else []
    return list(dict.fromkeys([*wanted, *own]))


def topics_pattern(declared: Iterable[str]) -> str:
    """A regular expression of exactly the topics that `topics_read` names, now and when more are made."""
    wanted = list(declared)
    names = [re.escape(topic) for topic in wanted if topic != INBOUND]
    return "|".join([f"^{name}$" for name in names] + [INBOUND_PATTERN] * (INBOUND in wanted))


def _contract_of(service: str) -> tuple[type[Event], ...]:
    """The event types of a service: the union `<Service>Event` at the end of `shared.events.<service>`."""
    union: object = getattr(import_module(f"shared.events.{service}"), f"{service.capitalize()}Event")
    return get_args(union)


EVENTS_ON: Final[Mapping[str, tuple[type[Event], ...]]] = {
    **{topic_of(service): _contract_of(service) for service in SERVICES},
    INBOUND: get_args(PublisherEvent),
}
"""The event types of each topic. A publisher's own topic has those of the gateway's."""

EVENTS: Final[Mapping[str, type[Event]]] = {event.type(): event for events in EVENTS_ON.values() for event in events}
"""Every event type of the contract."""

PUBLISHERS_EVENTS: Final[Mapping[str, type[Event]]] = {event.type(): event for event in EVENTS_ON[INBOUND]}
"""The event types that a publisher's system may send."""


def published_by(service: str) -> dict[str, type[Event]]:
    """The event types that a service's own streams consist of."""
    return {event.type(): event for event in EVENTS_ON[topic_of(service)]}


_OWN: Final = {topic_of(service): (source_of(service), frozenset(published_by(service))) for service in SERVICES}


def why_not_from(topic: str, source: str, event_type: str) -> str | None:
    """Why an event of this type and source may not be on this topic; None when it may.

    A type that the contract does not know is nobody's yet: only its source is judged.
    """
    own = _OWN.get(topic)
    if own is not None:
        allowed = source == own[0] and (event_type in own[1] or event_type not in EVENTS)
    elif is_inbound(topic):
        speaker, only = publisher_of(source), publisher_of_topic(topic)
        allowed = (
            bool(speaker) and only in ("", speaker) and (event_type in PUBLISHERS_EVENTS or event_type not in EVENTS)
        )
    else:
        allowed = source == source_of(topic.split(".", 1)[0])
    return None if allowed else f"type {event_type[:80]} is not one that {source[:120]} may publish on {topic}"


def publisher_named(event: Event) -> str | None:
    """The publisher that an event says it is about, where its type names one: only that publisher may send it."""
    about = getattr(event, "plan", event)
    named: str | None = getattr(about, "publisher", None)
    return named


def times_said(event: Event) -> Iterator[tuple[str, datetime]]:
    """The points in time that an event names, with their fields' names."""
    return ((name, value) for name, value in event if isinstance(value, datetime))
