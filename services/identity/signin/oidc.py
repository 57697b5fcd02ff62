"""Sign-in by another issuer: its ID tokens (OpenID Connect) say who somebody is there. Configured, not coded."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from services.identity.domain.account import Identity
from shared.events.fields import canonical_address
from shared.runtime.auth import LEEWAY_S, REFRESH_S
from shared.runtime.settings import Settings

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384", "Ed25519")
"""Signatures by a private key of the issuer's; nothing that a shared secret can make."""
OLDEST_S: Final = 600
"""How long ago an ID token may have been issued. It is used at once, or not at all."""
SUBJECT_AT_MOST: Final = 255
KEYS_S: Final = 3600.0
"""After this the keys are read again, so that a withdrawn one stops to count; every few seconds while that fails."""
_KINDS: Final[Mapping[str, type[RSAKey | ECKey | OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}

Fetch = Callable[[], Awaitable[Mapping[str, object]]]


class NotGenuine(Exception):
    """The token is not a good one of this issuer for us. The message says why, for the log."""


class Unreachable(Exception):
    """The issuer's keys can't be had now."""


class Issuer:
    """One issuer of ID tokens."""

    def __init__(self, issuer: str, audience: str, fetch: Fetch, clock: Callable[[], float] = time.time) -> None:
        """`fetch` returns the issuer's JWKS."""
        self._issuer, self._audience, self._fetch, self._clock = issuer, audience, fetch, clock
        self._keys: dict[str, RSAKey | ECKey | OKPKey] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def identify(self, token: str, nonce: str) -> Identity:
        """Who the token's holder is at the issuer. The token has to repeat the nonce.

        Raises:
            NotGenuine: It is not a good token of this issuer's for us, or too old.
            Unreachable: The issuer's keys can't be had now.
        """
        keys = await self._keys_for(token)
        try:
            decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            registry = jwt.JWTClaimsRegistry(
                now=lambda: int(self._clock()),
                leeway=LEEWAY_S,
                iss={"essential": True, "value": self._issuer},
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
            raise NotGenuine("its subject is none")
        return Identity(self._issuer, subject, _verified_address(claims))

    async def _keys_for(self, token: str) -> KeySet:
        kid = _kid(token)
        if self._stale(kid):
            async with self._lock:
                if self._stale(kid):  # else somebody has asked meanwhile
                    await self._refresh()
        if not self._keys:
            raise Unreachable(self._issuer)
        if kid not in self._keys:
            raise NotGenuine("it is signed by no key of this issuer")
        return KeySet([self._keys[kid]])

    def _stale(self, kid: str) -> bool:
        """Whether the keys are to be read: they are old, or this one is unknown. At most every few seconds."""
        now = self._clock()
        due = now - self._fetched_at > KEYS_S or kid not in self._keys
        return due and now - self._tried_at > REFRESH_S

    async def _refresh(self) -> None:
        try:
            found = await self._fetch()
            self._keys = dict(_imported(found["keys"]))
            self._fetched_at = self._clock()
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError, AttributeError):
            return  # the keys that we have, if any, are still good
        finally:
            self._tried_at = self._clock()


def _verified_address(claims: Mapping[str, object]) -> str:
    """The address that the issuer has verified, in its canonical form, or "". Some issuers write `true` as a string;
    nothing else is taken for it."""
    email, verified = claims.get("email"), claims.get("email_verified")
    if not isinstance(email, str) or not (verified is True or verified == "true"):
        return ""
    try:
        return canonical_address(email)
    except ValueError:
        return ""


def _imported(keys: object) -> list[tuple[str, RSAKey | ECKey | OKPKey]]:
    """The keys of a JWKS that sign here. Raises KeyError, TypeError, AttributeError or ValueError."""
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


def configured(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> Issuer | None:
    """The issuer of the settings, or none. Raises ValueError when they say it by halves."""
    given = (settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url)
    if not any(given):
        return None
    if not (settings.oidc_issuer and settings.oidc_audience and settings.oidc_jwks_url):
        raise ValueError("TENURE_OIDC_ISSUER, TENURE_OIDC_AUDIENCE and TENURE_OIDC_JWKS_URL go together")
    url = settings.oidc_jwks_url

    async def fetch() -> Mapping[str, object]:
        async with httpx.AsyncClient(timeout=3, trust_env=False, transport=transport) as client:
            answer = await client.get(url)
            answer.raise_for_status()
            found: Mapping[str, object] = answer.json()
            return found

    return Issuer(settings.oidc_issuer, settings.oidc_audience, fetch)
