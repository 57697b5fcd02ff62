"""From an event's public type to its model, and the topics where events are found."""

from typing import Final

from shared.events import distribution, entitlements, identity, marketplace, operations, publisher
from shared.events.base import Event

IDENTITY: Final = "identity.events.v1"
MARKETPLACE: Final = "marketplace.events.v1"
ENTITLEMENTS: Final = "entitlements.events.v1"
DISTRIBUTION: Final = "distribution.events.v1"
INBOUND: Final = "publisher.inbound.v1"
"""Foreign CloudEvents from publishers' systems: no stream versions, no hashes."""


def topic_of(service: str) -> str:
    """Where a service publishes its own events."""
    return f"{service}.events.v1"


def _events_of(*modules: object) -> dict[str, type[Event]]:
    found: dict[str, type[Event]] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Event) and value is not Event:
                found[value.type()] = value
    return found


EVENTS: Final[dict[str, type[Event]]] = _events_of(
    identity, marketplace, entitlements, distribution, operations, publisher
)  # fmt: skip
"""Every event type of the contract."""


def published_by(service: str) -> dict[str, type[Event]]:
    """The event types that a service's own streams consist of."""
    modules = {
        "identity": identity, "marketplace": marketplace, "entitlements": entitlements, "distribution": distribution,
    }  # fmt: skip
    own = {name: e for name, e in _events_of(modules[service]).items() if e.__module__ == modules[service].__name__}
    return own | _events_of(operations)
