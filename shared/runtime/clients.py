"""The HTTP clients by which a process asks services, and the TLS context of all its clients."""

import ssl
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import httpx

from shared import trace_context
from shared.runtime.connections import IDLE_S
from shared.tracing import ACTIVE

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


class ServiceClient(httpx.AsyncClient):
    """A client whose requests are spans, if what they follow from is recorded.

    Source: OpenTelemetry's semantic conventions, HTTP client spans. `url.full` is left out, as it can name people.
    """

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        active = ACTIVE.get()
        if active is None:
            return await super().send(request, **options)
        attributes: dict[str, str | int] = {
            "http.request.method": request.method,
            "server.address": request.url.host,
            "url.scheme": request.url.scheme,
        }
        if request.url.port is not None:
            attributes["server.port"] = request.url.port
        span = active.tracer.start(request.method, "client", active.context, attributes)
        request.headers["traceparent"], state = trace_context.split(span.context)
        if state:
            request.headers["tracestate"] = state
        error = ""
        try:
            response = await super().send(request, **options)
            span.note({"http.response.status_code": response.status_code})
            error = str(response.status_code) if response.status_code >= HTTPStatus.BAD_REQUEST else ""
        except BaseException as fault:
            error = type(fault).__name__
            raise
        finally:
            span.end(error)
        return response


def service_client(timeout: httpx.Timeout | float, transport: httpx.AsyncBaseTransport | None = None) -> ServiceClient:
    """Return a client for requests to services."""
    limits = httpx.Limits(max_connections=OPEN_AT_MOST, max_keepalive_connections=KEPT_AT_MOST, keepalive_expiry=KEPT_S)
    return ServiceClient(timeout=timeout, trust_env=False, verify=tls(), limits=limits, transport=transport)
