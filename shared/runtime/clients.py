"""The HTTP clients by which a process asks services, and the TLS context of all its clients."""

import ssl
from functools import cache
from typing import Final

import httpx

from shared.runtime.connections import IDLE_S

KEPT_S: Final = IDLE_S / 2
"""How long a client keeps an idle connection: less than a service, which would close it under the next request."""
OPEN_AT_MOST: Final = 100
KEPT_AT_MOST: Final = 20


@cache
def tls() -> ssl.SSLContext:
    """Return the context that verifies a server's certificate by the authorities of certifi.

    Without it each new client reads all certificates, which takes 30 ms in which the process does nothing else.
    """
    return httpx.create_ssl_context(trust_env=False)


def service_client(
    timeout: httpx.Timeout | float, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """Return a client for requests to services."""
    limits = httpx.Limits(max_connections=OPEN_AT_MOST, max_keepalive_connections=KEPT_AT_MOST, keepalive_expiry=KEPT_S)
    return httpx.AsyncClient(timeout=timeout, trust_env=False, verify=tls(), limits=limits, transport=transport)
