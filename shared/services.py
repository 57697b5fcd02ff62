"""The declarations of the services and of the edges, one line each.

All other lists of them are derived from these. A service is event-sourced: it has a log. An edge serves people by the
services' public routes: it has an address, a process and a package, and a user of Kafka that may read their events.

From a service's name follow the package `services.<name>`, the events' module `shared.events.<name>`, the topics
`<name>.events.v1` and `anchors.v1.<name>`, the database and the role `tenure_<name>`, the user of Kafka, the secrets
`postgres-<name>` and `kafka-<name>`, and the variable `TENURE_<NAME>_URL`.

This module imports only the standard library, because `python -m deploy.secrets` runs before anything is installed.
"""

from dataclasses import dataclass
from typing import Final

PUBLISHERS: Final = "publishers"
"""In `reads`: the topics of all publishers' systems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDeclaration:
    """A service's name, default port and the topics that it may read."""

    name: str
    port: int
    """The default port; with TENURE_PORT_BASE the launcher shifts all of them."""
    reads: tuple[str, ...]
    """The services whose events its consumers may read, in addition to its own, and PUBLISHERS. Every service reads
    identity's events, for moved clocks and ended sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeDeclaration:
    """An edge's name, default port, and the services whose events it may read.

    It has no log, no topics of its own and no database.
    """

    name: str
    port: int
    reads: tuple[str, ...]


DECLARED: Final = (
    ServiceDeclaration(name="identity", port=8101, reads=("marketplace", "entitlements", "distribution")),
    ServiceDeclaration(name="marketplace", port=8102, reads=("identity", "entitlements", PUBLISHERS)),
    ServiceDeclaration(name="entitlements", port=8103, reads=("identity", "marketplace", PUBLISHERS)),
    ServiceDeclaration(name="distribution", port=8104, reads=("identity", "entitlements", PUBLISHERS)),
)

SERVICES: Final = tuple(declaration.name for declaration in DECLARED)

EDGES_DECLARED: Final = (EdgeDeclaration(name="console", port=8100, reads=SERVICES),)
EDGES: Final = tuple(declaration.name for declaration in EDGES_DECLARED)
OPERATIONS: Final = "operations"
"""The operations server, `cli.serving`: neither a service nor an edge, as it acts on all databases with the operator's
credentials."""
PORTS: Final = {declaration.name: declaration.port for declaration in (*DECLARED, *EDGES_DECLARED)} | {OPERATIONS: 8107}


def url_variable(service: str) -> str:
    """Return the environment variable with the URL of a service, edge or operations server."""
    return f"TENURE_{service.upper()}_URL"


def local_url(service: str) -> str:
    """Return the default URL of a service or an edge: its port on this machine."""
    return f"http://127.0.0.1:{PORTS[service]}"
