"""Cross-origin requests of browsers, for the origins that the settings name.

Source: Fetch, section 3.3 (CORS).
"""

import re
from typing import Any, Final

_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_READ: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Tenure-At-Least",
    "X-Correlation-ID",
    "X-Request-ID",
    "traceparent",
    "tracestate",
)
"""The headers of requests that a page may set."""
_SHOWN: Final = (
    "Content-Disposition",
    "ETag",
    "Location",
    "Retry-After",
    "Tenure-Sandbox",
    "Tenure-Version",
    "WWW-Authenticate",
    "X-Correlation-ID",
    "X-Request-ID",
)
"""The headers of responses that a page may read."""
_REMEMBERED_S: Final = 600
"""How long a browser may go by the answer to its question before a request."""


def origins_of(origins: str) -> list[str]:
    """Parse the setting TENURE_CORS_ORIGINS.

    Raises ValueError unless each is `*` or a scheme, a host and, if it is not the scheme's own, a port.
    """
    found = [origin.strip() for origin in origins.split(",") if origin.strip()]
    for origin in found:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin[:60]!r} is not an origin, such as https://app.example.org:8443 in lower case")
    return found


def options(origins: list[str], *, credentials: bool) -> dict[str, Any]:
    """Return the options of Starlette's CORSMiddleware."""
    return {
        "allow_origins": origins,
        "allow_credentials": credentials,
        "allow_methods": ["GET", "HEAD", "POST", "PUT", "DELETE"],
        "allow_headers": _READ,
        "expose_headers": _SHOWN,
        "max_age": _REMEMBERED_S,
    }
