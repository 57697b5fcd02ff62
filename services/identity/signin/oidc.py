"""The configured issuers of ID tokens (OpenID Connect), and the check of their tokens."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import httpx
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from services.identity.domain.account import Identity
from shared.events.fields import canonical_address
from shared.runtime.auth import LEEWAY_S, REFRESH_S
from shared.runtime.providers import Discovery, Provider, Unusable, client, read_answer, read_providers
from shared.runtime.settings import Settings

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384", "Ed25519")
"""Algorithms with a private key only; none with a shared secret."""
OLDEST_S: Final = 600
"""The maximum age of an ID token, which is used at once."""
SUBJECT_AT_MOST: Final = 255
KEYS_S: Final = 3600.0
"""After this time the keys are read again, so that withdrawn ones expire; every few seconds while that fails."""
_KINDS: Final[Mapping[str, type[RSAKey | ECKey | OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}

Fetch = Callable[[], Awaitable[Mapping[str, object]]]


class NotGenuine(Exception):
    """The token is not a valid one of this issuer for Tenure; the message is for the log."""


class Unreachable(Exception):
    """The issuer's keys are unavailable."""


class Issuer:
    """An issuer of ID tokens."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        fetch: Fetch,
        clock: Callable[[], float] = time.time,
        *,
        vouches_for: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Set the issuer.

        Args:
            issuer: its URL, exactly as its tokens name it.
            audience: our client id there.
            fetch: returns its JWKS.
            vouches_for: whether an address counts as verified if the issuer says so.
        """
        self.issuer, self._audience, self._fetch, self._clock = issuer, audience, fetch, clock
        self._vouches_for = vouches_for
        self._keys: dict[str, RSAKey | ECKey | OKPKey] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def identify(self, token: str, nonce: str) -> Identity:
        """Return the identity in an ID token, which has to repeat the nonce.

        Raises:
            NotGenuine: The token is not a valid one of this issuer for Tenure, or is too old.
            Unreachable: The issuer's keys are unavailable.
        """
        keys = await self._keys_for(token)
        try:
            decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            registry = jwt.JWTClaimsRegistry(
                now=lambda: int(self._clock()),
                leeway=LEEWAY_S,
                iss={"essential": True, "value": self.issuer},
                aud={"essential": True, "value": self._audience},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
            )
            registry.validate(decoded.claims)
        except (JoseError, ValueError, KeyError, TypeError, UnicodeError, RecursionError) as error:
            raise NotGenuine(repr(error)) from error
        return self._identity(decoded.claims, nonce)

    def _identity(self, claims: Mapping[str, object], nonce: str) -> Identity:
        audience = claims["aud"]
        several = isinstance(audience, list) and len(audience) > 1
        if (several or "azp" in claims) and claims.get("azp") != self._audience:
            raise NotGenuine("it was issued to another of its audiences")
        if not nonce or claims.get("nonce") != nonce:
            raise NotGenuine("it does not repeat the nonce")
        issued = claims["iat"]
        if not isinstance(issued, int | float) or issued < self._clock() - OLDEST_S - LEEWAY_S:
            raise NotGenuine("it was issued too long ago")
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_AT_MOST or not subject.isprintable():
            raise NotGenuine("its subject is missing or malformed")
        address = _verified_address(claims)
        return Identity(self.issuer, subject, address if self._vouches_for(address) else "")

    async def _keys_for(self, token: str) -> KeySet:
        kid = _kid(token)
        if self._stale(kid):
            async with self._lock:
                if self._stale(kid):  # another request may have read them while this one waited for the lock
                    await self._refresh()
        if not self._keys:
            raise Unreachable(self.issuer)
        if kid not in self._keys:
            raise NotGenuine("it is not signed by a key of this issuer")
        return KeySet([self._keys[kid]])

    def _stale(self, kid: str) -> bool:
        """Return whether the keys are old or this one is unknown, at most every few seconds."""
        now = self._clock()
        due = now - self._fetched_at > KEYS_S or kid not in self._keys
        return due and now - self._tried_at > REFRESH_S

    async def _refresh(self) -> None:
        try:
            document = await self._fetch()
            self._keys = dict(_imported(document["keys"]))
            self._fetched_at = self._clock()
        except (httpx.HTTPError, Unusable, JoseError, ValueError, KeyError, TypeError, AttributeError):
            return  # the keys that were read before, if any, stay in use
        finally:
            self._tried_at = self._clock()


class Issuers:
    """The issuers of ID tokens, each for its own tokens only."""

    def __init__(self, issuers: Sequence[Issuer]) -> None:
        """Take the issuers. Raises ValueError if two are the same."""
        self._issuers = {each.issuer: each for each in issuers}
        if len(self._issuers) < len(issuers):
            raise ValueError("an issuer of ID tokens is configured twice")

    async def identify(self, token: str, nonce: str) -> Identity:
        """Return the identity in an ID token of one of the issuers. Raises as `Issuer.identify`."""
        issuer = self._issuers.get(_issuer_in(token))
        if issuer is None:
            raise NotGenuine("its issuer is not configured")
        return await issuer.identify(token, nonce)


def _issuer_in(token: str) -> str:
    """Return the issuer that a token names, which is not checked yet; "" if it names none."""
    from joserfc import jws

    try:
        claims = orjson.loads(jws.extract_compact(token.encode()).payload)
    except (JoseError, ValueError, TypeError, AttributeError) as error:
        raise NotGenuine(repr(error)) from error
    return str(claims.get("iss", "")) if isinstance(claims, dict) else ""


def _verified_address(claims: Mapping[str, object]) -> str:
    """Return the address that the issuer has verified, in its canonical form, or "".

    Some issuers write `true` as a string; no other value counts as verified.
    """
    email, verified = claims.get("email"), claims.get("email_verified")
    if not isinstance(email, str) or not (verified is True or verified == "true"):
        return ""
    try:
        return canonical_address(email)
    except ValueError:
        return ""


def _imported(keys: object) -> list[tuple[str, RSAKey | ECKey | OKPKey]]:
    """Return the signing keys of a JWKS by key id.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: The JWKS is malformed.
    """
    if not isinstance(keys, list):
        raise TypeError("a JWKS has a list of keys")
    usable = [key for key in keys if key.get("kty") in _KINDS and key.get("use", "sig") == "sig" and key.get("kid")]
    return [(str(key["kid"]), _KINDS[key["kty"]].import_key(key)) for key in usable]


def _kid(token: str) -> str:
    from joserfc import jws

    try:
        return str(jws.extract_compact(token.encode()).headers().get("kid", ""))
    except (JoseError, ValueError, UnicodeError, TypeError, AttributeError, RecursionError) as error:
        raise NotGenuine(repr(error)) from error


def configured(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> Issuers | None:
    """Return the issuers of the settings, if any.

    Raises:
        OSError: The file of the providers can't be read.
        ValueError: It is malformed, a setting is missing, or an issuer is configured twice.
    """
    found = [_of_provider(each, transport) for each in read_providers(settings.oidc_providers_file).values()]
    if variables := single(settings, transport):
        found.append(variables)
    return Issuers(found) if found else None


def _of_provider(provider: Provider, transport: httpx.AsyncBaseTransport | None) -> Issuer:
    asking = client(transport)
    discovery = Discovery(issuer=provider.issuer, client=asking)

    async def fetch() -> Mapping[str, object]:
        document = await discovery.document()
        return await _keys_at(document.jwks_uri, asking)

    return Issuer(provider.issuer, provider.client_id, fetch, vouches_for=provider.vouches_for)


def single(settings: Settings, transport: httpx.AsyncBaseTransport | None) -> Issuer | None:
    """Return the issuer of the three variables, which vouches for every address."""
    given = (settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url)
    if not any(given):
        return None
    if not (settings.oidc_issuer and settings.oidc_audience and settings.oidc_jwks_url):
        raise ValueError("TENURE_OIDC_ISSUER, TENURE_OIDC_AUDIENCE and TENURE_OIDC_JWKS_URL go together")
    url, asking = settings.oidc_jwks_url, client(transport)

    async def fetch() -> Mapping[str, object]:
        return await _keys_at(url, asking)

    return Issuer(settings.oidc_issuer, settings.oidc_audience, fetch)


async def _keys_at(url: str, asking: httpx.AsyncClient) -> Mapping[str, object]:
    status, document = await read_answer(asking, asking.build_request("GET", url))
    if status != httpx.codes.OK:
        raise Unusable(f"{url}: status {status}")
    return document
