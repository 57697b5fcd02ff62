"""Who is calling: tokens that identity signs and every door checks. No switch turns it off."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from shared.events.identity import OrganisationKind
from shared.runtime.problems import Problem

ISSUER: Final = "tenure-identity"
AUDIENCE: Final = "tenure"
ALGORITHM: Final = "ES256"
TOKEN_S: Final = 3600
REFRESH_S: Final = 5.0
KNOWN_TOKENS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Actor:
    """The account behind a request and the organisation that it belongs to."""

    account_id: str
    organisation_id: str
    organisation_kind: OrganisationKind
    publisher: str = ""
    """The publisher that a publisher's people act for; "" for everybody else."""


class TokenSigner:
    """identity's: makes tokens with the newest key."""

    def __init__(self, key: ECKey, clock: Callable[[], float] = time.time) -> None:
        self._key, self._clock = key, clock

    def sign(self, actor: Actor, token_id: str, lifetime_s: int = TOKEN_S) -> str:
        claims = {"sub": actor.account_id, "org": actor.organisation_id, "kind": actor.organisation_kind}
        if actor.publisher:
            claims["pub"] = actor.publisher
        return self.sign_claims(claims, token_id, audience=AUDIENCE, lifetime_s=lifetime_s)

    def sign_claims(self, claims: dict[str, Any], token_id: str, *, audience: str, lifetime_s: int) -> str:
        """A token for another purpose than access (an invitation), told apart by its audience."""
        now = int(self._clock())
        body = {**claims, "iss": ISSUER, "aud": audience, "iat": now, "exp": now + lifetime_s, "jti": token_id}
        return jwt.encode({"alg": ALGORITHM, "typ": "JWT", "kid": self._key.kid}, body, self._key, [ALGORITHM])


def public_keys(keys: list[ECKey]) -> dict[str, Any]:
    """The JWKS: what others check signatures with."""
    return {"keys": [{**key.as_dict(private=False), "use": "sig", "alg": ALGORITHM, "kid": key.kid} for key in keys]}


def verified(token: str, keys: KeySet, audience: str, clock: Callable[[], float] = time.time) -> dict[str, Any]:
    """The claims of a token that is signed, in time, from us and for `audience`. Raises JoseError or ValueError.

    Only ES256 with one of our keys: a token can bring neither its key nor its algorithm.
    """
    decoded = jwt.decode(token, keys, algorithms=[ALGORITHM])
    if not set(decoded.header) <= {"alg", "typ", "kid"} or "kid" not in decoded.header:
        raise ValueError("the token's header names more or less than its key")
    registry = jwt.JWTClaimsRegistry(
        now=lambda: int(clock()), leeway=0,
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": audience},
        exp={"essential": True}, iat={"essential": True}, sub={"essential": True}, jti={"essential": True},
    )  # fmt: skip
    registry.validate(decoded.claims)
    return dict(decoded.claims)


class TokenVerifier:
    """Checks tokens with identity's keys: fetched once, again for an unknown key (at most every few seconds), and
    still good while identity is away. A token that was good is not checked again until it expires or keys are fetched
    anew: its signature takes longer than most queries."""

    def __init__(self, fetch: Callable[[], Any], clock: Callable[[], float] = time.time) -> None:
        """`fetch` is an async function that returns the JWKS."""
        self._fetch, self._clock = fetch, clock
        self._keys: KeySet | None = None
        self._kids: frozenset[str] = frozenset()
        self._fetched_at = float("-inf")
        self._tries = 0
        self._lock = asyncio.Lock()
        self._good: dict[str, tuple[Actor, float]] = {}
        """By token, the caller and when it expires."""

    async def actor(self, authorization: str | None) -> Actor:
        """The caller. Raises Problem 401 (no token, or not a good one) or 503 (the keys can't be had yet)."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > 4096:
            raise _unauthorised(
                "This door needs a token.", "Sign in at identity (POST /sessions) and send it as Bearer."
            )
        known = self._good.get(token)
        if known is not None and self._clock() < known[1]:
            return known[0]
        keys = await self._keys_for(token)
        try:
            claims = verified(token, keys, AUDIENCE, self._clock)
            org, kind, publisher = claims["org"], claims["kind"], claims.get("pub", "")
            if not all(isinstance(c, str) and c for c in (claims["sub"], org, kind)):
                raise ValueError("the token names no account or organisation")
            if not isinstance(publisher, str):
                raise ValueError("the token names no publisher")
        except (JoseError, ValueError, KeyError, TypeError, UnicodeError, RecursionError) as error:
            raise _unauthorised("The token is not valid, or not any more.", "Sign in again.") from error
        if len(self._good) >= KNOWN_TOKENS:
            self._good.clear()
        actor = Actor(claims["sub"], org, cast(OrganisationKind, kind), publisher)
        self._good[token] = actor, float(claims["exp"])
        return actor

    async def _keys_for(self, token: str) -> KeySet:
        kid = _kid(token)
        if self._keys is None or (kid not in self._kids and self._clock() - self._fetched_at > REFRESH_S):
            tries = self._tries
            async with self._lock:
                if tries == self._tries:  # else somebody has asked meanwhile; its answer, good or bad, is ours
                    await self._refresh()
        if self._keys is None:
            raise Problem(503, rule="unavailable", reason="The keys that tokens are checked with can't be had now.",
                          remedy="Try again in a moment.", headers={"Retry-After": "2"})  # fmt: skip
        return self._keys

    async def _refresh(self) -> None:
        try:
            found = await self._fetch()
            keys = [ECKey.import_key(key) for key in found["keys"] if key.get("kty") == "EC"]
            self._keys = KeySet(list(keys))
            self._kids = frozenset(str(key.kid) for key in keys)
            self._good.clear()
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError):
            return  # the keys that we have, if any, are still good
        finally:
            self._tries += 1
            self._fetched_at = self._clock()


def _kid(token: str) -> str:
    from joserfc import jws

    try:
        return str(jws.extract_compact(token.encode()).headers().get("kid", ""))
    except (JoseError, ValueError, UnicodeError, TypeError):
        return ""


def _unauthorised(reason: str, remedy: str) -> Problem:
    headers = {"WWW-Authenticate": "Bearer"}
    return Problem(401, rule="not-signed-in", reason=reason, remedy=remedy, headers=headers)


def fetcher(identity_url: str) -> Callable[[], Any]:
    """Reads the JWKS from identity over HTTP."""

    async def fetch() -> Any:
        async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
            answer = await client.get(f"{identity_url}/.well-known/jwks.json")
            answer.raise_for_status()
            return answer.json()

    return fetch
