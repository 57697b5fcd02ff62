"""The TLS context of a process's HTTP clients."""

import ssl
from functools import cache

import httpx


@cache
def tls() -> ssl.SSLContext:
    """Return the context that verifies a server's certificate by the authorities of certifi.

    Without it each new client reads all certificates, which takes 30 ms in which the process does nothing else.
    """
    return httpx.create_ssl_context(trust_env=False)
