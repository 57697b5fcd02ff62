"""Providers of sign-ins (OpenID Connect): which are configured, and their documents.

identity checks the ID tokens of these providers; the console leads people to them and back.
"""

import asyncio
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Annotated, Final
from urllib.parse import urlsplit

import httpx
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from shared.runtime.clients import tls

ANSWER_S: Final = 5.0
"""The time for a provider's whole answer."""
ANSWER_BYTES: Final = 128 * 1024
DOCUMENT_S: Final = 3600.0
"""After this time a provider's document is read again; every few seconds while that fails."""
RETRY_S: Final = 5.0
EVERY_DOMAIN: Final = "*"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def _safe_url(url: str) -> str:
    """Return a URL that can't be read or changed on the way: HTTPS, or within this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError("it is neither https:// nor on this machine")
    if not parts.hostname or parts.fragment or parts.username or parts.password:
        raise ValueError("it has no host, or has a fragment, a user or a password")
    return url


SafeUrl = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,500}$"), AfterValidator(_safe_url)]
Domain = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z0-9-]+(\.[a-z0-9-]+)+)$")]
ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class Provider(BaseModel):
    """A provider that people may sign in by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Annotated[str, Field(min_length=1, max_length=60)]
    """Its name as people know it."""
    issuer: SafeUrl
    """The issuer of its ID tokens, exactly as they name it."""
    client_id: Annotated[str, StringConstraints(pattern=r"^[ -~]{1,200}$")]
    """This installation's name at the provider, which is the audience of its ID tokens."""
    client_secret_file: Path | None = None
    """A file with the client's secret, which the console alone reads; without it, the client is a public one."""
    domains: tuple[Domain, ...] = ()
    """The domains whose e-mail addresses it may vouch for; `*` for all. Without any, people link their identity
    themselves."""
    scope: Annotated[str, StringConstraints(pattern=r"^openid( [!-~]+)*$")] = "openid email"

    def vouches_for(self, address: str) -> bool:
        """Return whether the provider may vouch for an address in its canonical form."""
        return EVERY_DOMAIN in self.domains or address.rpartition("@")[2] in self.domains


_FILE: Final = TypeAdapter(dict[ProviderName, Provider])


def read_providers(file: Path | None) -> Mapping[str, Provider]:
    """Return the providers in a file, by name.

    Raises:
        OSError: The file can't be read.
        ValueError: The file is malformed, or two providers have one issuer.
    """
    if file is None:
        return {}
    try:
        found = _FILE.validate_python(tomllib.loads(file.read_text()))
    except ValueError as fault:
        raise ValueError(f"{file}: {fault}") from fault
    if len({each.issuer for each in found.values()}) < len(found):
        raise ValueError(f"{file}: two providers have one issuer")
    return found


class Unusable(Exception):
    """A provider does not answer, or its answer can't be used; the message is for the log."""


class Document(BaseModel):
    """What a provider says about itself.

    Source: OpenID Connect Discovery 1.0, section 3; RFC 8414; RFC 9207.
    """

    model_config = ConfigDict(frozen=True)

    issuer: str
    authorization_endpoint: SafeUrl
    token_endpoint: SafeUrl
    jwks_uri: SafeUrl
    code_challenge_methods_supported: tuple[str, ...] | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


async def read_answer(client: httpx.AsyncClient, request: httpx.Request) -> tuple[int, Mapping[str, object]]:
    """Send a request to a provider; return the status and the JSON object of its answer.

    Raises:
        Unusable: The answer does not come in time, is too large, or is no JSON object.
    """
    request.headers["Accept"], request.headers["Accept-Encoding"] = "application/json", "identity"
    try:
        async with asyncio.timeout(ANSWER_S):
            status, body = await _read(client, request)
        answer = orjson.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as fault:
        raise Unusable(f"{request.url.host}: {fault!r}") from fault
    if not isinstance(answer, dict):
        raise Unusable(f"{request.url.host}: the answer is no object")
    return status, answer


async def _read(client: httpx.AsyncClient, request: httpx.Request) -> tuple[int, bytes]:
    response = await client.send(request, stream=True, follow_redirects=False)
    try:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ValueError("the answer is compressed, though that was not asked for")
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > ANSWER_BYTES:
                raise ValueError("the answer is too large")
    finally:
        await response.aclose()
    return response.status_code, bytes(body)


def client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Return a client for the requests to providers."""
    return httpx.AsyncClient(timeout=ANSWER_S, trust_env=False, verify=tls(), transport=transport)


@dataclass(slots=True, kw_only=True)
class Discovery:
    """The document of a provider, which is read when it is first needed."""

    issuer: str
    client: httpx.AsyncClient
    clock: Callable[[], float] = monotonic
    _document: Document | None = None
    _read_at: float = float("-inf")
    _tried_at: float = float("-inf")
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def document(self) -> Document:
        """Return the document.

        While it can't be read again, the one that was read before stays in use.

        Raises:
            Unusable: It could not be read at all, just now or some seconds ago.
        """
        if self._due():
            async with self._lock:
                if self._due():  # another request may have read it while this one waited for the lock
                    await self._refresh()
        if self._document is None:
            raise Unusable(f"{self.issuer}: no document")
        return self._document

    def _due(self) -> bool:
        now = self.clock()
        return now - self._read_at > DOCUMENT_S and now - self._tried_at > RETRY_S

    async def _refresh(self) -> None:
        self._tried_at = self.clock()
        try:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            status, answer = await read_answer(self.client, self.client.build_request("GET", url))
            document = Document.model_validate(answer)
            if status != httpx.codes.OK or document.issuer != self.issuer:
                raise Unusable(f"{self.issuer}: status {status}, or another issuer: {document.issuer[:200]}")
        except (Unusable, ValidationError) as fault:
            if self._document is None:
                raise Unusable(str(fault)) from fault
            return
        self._document, self._read_at = document, self.clock()
