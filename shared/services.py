"""The services there are, one line each. Whatever else needs to know of a service derives it from here.

From the name follow the package `services.<name>`, the events' module `shared.events.<name>`, the topics
`<name>.events.v1` and `anchors.v1.<name>`, the database and the role `tenure_<name>`, the user of Kafka, the secrets
`postgres-<name>` and `kafka-<name>`, and the variable `TENURE_<NAME>_URL`.

Imports nothing that has to be installed: `python -m deploy.secrets` runs without.
"""

from dataclasses import dataclass
from typing import Final

PUBLISHERS: Final = "publishers"
"""What a service reads that hears of publishers' systems: all of their topics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDeclaration:
    """A service's name and place."""

    name: str
    port: int
    """Where it answers by default; the launcher moves all of them by TENURE_PORT_BASE."""
    reads: tuple[str, ...]
    """The services whose events its consumers read beside its own, or PUBLISHERS. It may read nothing else. Every one
    reads identity's: clocks that were moved, and sessions that ended."""


DECLARED: Final = (
    ServiceDeclaration(name="identity", port=8101, reads=("marketplace",)),
    ServiceDeclaration(name="marketplace", port=8102, reads=("identity", "entitlements", PUBLISHERS)),
    ServiceDeclaration(name="entitlements", port=8103, reads=("identity", "marketplace", PUBLISHERS)),
    ServiceDeclaration(name="distribution", port=8104, reads=("identity", "entitlements", PUBLISHERS)),
)

SERVICES: Final = tuple(each.name for each in DECLARED)
PORTS: Final = {each.name: each.port for each in DECLARED}


def url_variable(service: str) -> str:
    """The environment variable that says where a service answers."""
    return f"TENURE_{service.upper()}_URL"


def local_url(service: str) -> str:
    """Where a service answers unless its variable says otherwise: at its own port of this machine."""
    return f"http://127.0.0.1:{PORTS[service]}"
