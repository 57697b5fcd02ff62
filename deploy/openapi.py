"""The OpenAPI documents of the services and of the console, without a running process."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from services import definition_of
from services.console.live.doors import make_doors
from shared.documents.bundle import bundled, server
from shared.runtime.service import ServiceProcess
from shared.runtime.settings import edge_settings
from shared.services import EDGES, SERVICES, local_url


@cache
def _document(service: str) -> dict[str, Any]:
    process = ServiceProcess(service=definition_of(service), settings=edge_settings(), only=frozenset({"api"}))
    return process.app.openapi()


def openapi_documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the documents, each with the name of its file: all services', and each one's.

    Their addresses are those of a local system; whoever reads a document can replace them.
    """
    of_services = {service: _document(service) for service in SERVICES}
    yield "openapi.json", bundled(of_services, {service: local_url(service) for service in SERVICES})
    for service, document in of_services.items():
        yield f"openapi.{service}.json", document | {"servers": [server(service, local_url(service))]}
    (edge,) = EDGES
    yield f"openapi.{edge}.json", make_doors(edge_settings()).openapi() | {"servers": [server(edge, local_url(edge))]}
