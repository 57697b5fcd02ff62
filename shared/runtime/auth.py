"""Authentication: tokens that identity signs and every route checks. It can't be disabled."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from shared import rules
from shared.events.identity import OrganisationKind
from shared.runtime.clients import service_client
from shared.runtime.problems import Problem, unavailable

ISSUER: Final = "http://127.0.0.1:8101"
"""The default issuer of tokens: the URL of identity, which serves the discovery document."""
AUDIENCE: Final = "tenure"
ALGORITHM: Final = "ES256"
TOKEN_S: Final = 300
LEEWAY_S: Final = 30
"""The accepted clock difference between machines, for the times in a token; it never extends an ended session."""
REFRESH_S: Final = 5.0
"""The shortest interval at which the keys are fetched again for an unknown key."""
JWKS_S: Final = 60
"""How long fetched keys are used, and the max-age of the JWKS. A withdrawn key is accepted this long at most."""
KNOWN_TOKENS: Final = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """The account behind a request and the organisation that it belongs to."""

    account_id: str
    organisation_id: str
    organisation_kind: OrganisationKind
    publisher: str = ""
    """The publisher that an account of a publisher acts for; "" for all other accounts."""
    session_id: str = field(default="", kw_only=True)
    """The person's session; "" for a machine."""
    client_id: str = field(default="", kw_only=True)
    """The machine account; "" for a person. Its `account_id` is the account that it acts for, or this id."""
    scopes: frozenset[str] | None = field(default=None, kw_only=True)
    """The scopes of a machine account; None for a person, whom no scope limits."""
    since: int = field(default=0, kw_only=True)
    """The position of identity's log at which the session began, or the machine's token was issued: an event that ends
    it has a higher position. Positions, unlike times, have one order even if machines' clocks differ."""


class Endings(Protocol):
    """Knowledge of which sessions and machine accounts have ended."""

    async def good(self, actor: Actor, token: str) -> bool:
        """Return whether the caller's session still runs. Raises Problem 503 if that is unknown."""
        ...


class TokenSigner:
    """Signer of tokens with one of identity's keys."""

    def __init__(self, key: ECKey, clock: Callable[[], float] = time.time, issuer: str = ISSUER) -> None:
        self._key, self._clock, self._issuer = key, clock, issuer

    def sign(self, actor: Actor, token_id: str, lifetime_s: int = TOKEN_S) -> str:
        """Make an access token. A token without a session counts as a session of its own."""
        claims: dict[str, Any] = {
            "sub": actor.account_id,
            "org": actor.organisation_id,
            "kind": actor.organisation_kind,
            "since": actor.since,
        }
        if actor.publisher:
            claims["pub"] = actor.publisher
        if actor.client_id:
            claims |= {"client_id": actor.client_id, "scope": " ".join(sorted(actor.scopes or ()))}
        else:
            claims["sid"] = actor.session_id or token_id
        return self.sign_claims(claims, token_id, audience=AUDIENCE, lifetime_s=lifetime_s)

    def sign_claims(self, claims: dict[str, Any], token_id: str, *, audience: str, lifetime_s: int) -> str:
        """Make a token for another purpose than access, such as an invitation.

        Its audience distinguishes it from access tokens.
        """
        now = int(self._clock())
        body = {**claims, "iss": self._issuer, "aud": audience, "iat": now, "exp": now + lifetime_s, "jti": token_id}
        return jwt.encode({"alg": ALGORITHM, "typ": "JWT", "kid": self._key.kid}, body, self._key, [ALGORITHM])


def public_keys(keys: list[ECKey]) -> dict[str, Any]:
    """Return the JWKS, with which others verify signatures."""
    return {"keys": [{**key.as_dict(private=False), "use": "sig", "alg": ALGORITHM, "kid": key.kid} for key in keys]}


def verified(
    token: str,
    keys: KeySet,
    audience: str,
    clock: Callable[[], float] = time.time,
    *,
    issuer: str = ISSUER,
    leeway_s: int = LEEWAY_S,
) -> dict[str, Any]:
    """Verify a token's signature, times, issuer and audience, and return its claims.

    Only ES256 with one of identity's keys is accepted: a token can't choose its key or algorithm.

    Raises:
        JoseError: the token is invalid.
        ValueError: the token is malformed, or its header has other fields than `alg`, `typ` and `kid`.
    """
    decoded = jwt.decode(token, keys, algorithms=[ALGORITHM])
    if not set(decoded.header) <= {"alg", "typ", "kid"} or "kid" not in decoded.header:
        raise ValueError("the token's header has no key id, or fields other than alg, typ and kid")
    registry = jwt.JWTClaimsRegistry(
        now=lambda: int(clock()),
        leeway=leeway_s,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
        jti={"essential": True},
    )
    registry.validate(decoded.claims)
    return dict(decoded.claims)


class TokenVerifier:
    """Verifier of access tokens, with identity's keys and the endings of sessions.

    The keys are fetched at an interval, and for an unknown key at most every few seconds; they stay valid while
    identity is unavailable. A valid token's signature is not verified again until it expires or the keys change,
    because that takes longer than most queries. Whether its session has ended is checked for each request.
    """

    def __init__(
        self,
        fetch: Callable[[], Any],
        endings: Endings,
        clock: Callable[[], float] = time.time,
        issuer: str = ISSUER,
    ) -> None:
        """Create a verifier without keys; `fetch` is an async function that returns the JWKS."""
        self._fetch, self.endings, self._clock, self._issuer = fetch, endings, clock, issuer
        self._keys: KeySet | None = None
        self._kids: frozenset[str] = frozenset()
        self._published: Any = None
        self._fetched_at = self._tried_at = float("-inf")
        self._tries = 0
        self._lock = asyncio.Lock()
        self._good: dict[str, tuple[Actor, float]] = {}
        """Verified tokens, each with its caller and expiry."""

    async def actor(self, authorization: str | None) -> Actor:
        """Return the caller of a request.

        Raises:
            Problem: 401 if there is no valid token; 503 if the keys, or whether the session has ended, are unknown.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > 4096:
            raise _unauthorised(
                "This route needs a token.", "Sign in at identity (POST /sessions) and send the token as Bearer."
            )
        actor = await self._verify(token)
        if not await self.endings.good(actor, token):
            raise _unauthorised("The token is invalid or has expired.", "Sign in again.", INVALID)
        return actor

    def accepted_until(self, token: str) -> float:
        """Return when a token that was just verified expires, in seconds since 1970."""
        known = self._good.get(token)
        return self._clock() if known is None else known[1]

    async def _verify(self, token: str) -> Actor:
        keys = await self._keys_for(token)
        verified_before = self._good.get(token)
        if verified_before is not None and self._clock() < verified_before[1]:
            return verified_before[0]
        try:
            claims = verified(token, keys, AUDIENCE, self._clock, issuer=self._issuer)
            actor = _actor_of(claims)
        except (JoseError, ValueError, KeyError, TypeError, UnicodeError, RecursionError) as error:
            raise _unauthorised("The token is invalid or has expired.", "Sign in again.", INVALID) from error
        if len(self._good) >= KNOWN_TOKENS:
            self._good.clear()
        self._good[token] = actor, float(claims["exp"]) + LEEWAY_S
        return actor

    async def _keys_for(self, token: str) -> KeySet:
        now = self._clock()
        due = now - self._fetched_at >= JWKS_S or (token not in self._good and _kid(token) not in self._kids)
        if self._keys is None or (due and now - self._tried_at > REFRESH_S):
            tries = self._tries
            async with self._lock:
                if tries == self._tries:  # otherwise another request has fetched them meanwhile
                    await self._refresh()
        if self._keys is None:
            raise unavailable("The keys for verifying tokens are not available now.")
        return self._keys

    async def _refresh(self) -> None:
        try:
            jwks = await self._fetch()
            keys = [ECKey.import_key(key) for key in jwks["keys"] if key.get("kty") == "EC"]
            if jwks != self._published:
                self._keys = KeySet(list(keys))
                self._kids = frozenset(str(key.kid) for key in keys)
                self._published = jwks
                self._good.clear()
            self._fetched_at = self._clock()
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError):
            return  # the present keys, if any, stay valid
        finally:
            self._tries += 1
            self._tried_at = self._clock()


def _actor_of(claims: dict[str, Any]) -> Actor:
    """Read the caller from a token's claims.

    Raises:
        ValueError: a claim has a wrong form, or the claims name no caller, or both a person and a machine.
        KeyError: a claim is missing.
    """
    account_id, org, kind, since = claims["sub"], claims["org"], claims["kind"], claims["since"]
    publisher, session_id, client_id = (claims.get(name, "") for name in ("pub", "sid", "client_id"))
    if not all(isinstance(claim, str) and claim for claim in (account_id, org, kind, session_id or client_id)):
        raise ValueError("the token has no account, organisation or session")
    if not all(isinstance(claim, str) for claim in (publisher, session_id, client_id)):
        raise ValueError("a claim of the token is not text")
    if (session_id and client_id) or type(since) is not int or since < 0:
        raise ValueError("the token is both a person's and a machine's, or its `since` is invalid")
    scopes = None
    if client_id:
        if not isinstance(claims["scope"], str):
            raise ValueError("the token's scope is not text")
        scopes = frozenset(claims["scope"].split())
    return Actor(
        account_id=account_id,
        organisation_id=org,
        organisation_kind=cast(OrganisationKind, kind),
        publisher=publisher,
        session_id=session_id,
        client_id=client_id,
        scopes=scopes,
        since=since,
    )


def _kid(token: str) -> str:
    from joserfc import jws

    try:
        return str(jws.extract_compact(token.encode()).headers().get("kid", ""))
    except (JoseError, ValueError, UnicodeError, TypeError):
        return ""


INVALID: Final = 'Bearer error="invalid_token"'
"""The challenge for an invalid token; without a token it is the scheme alone. Source: RFC 6750, section 3.1."""


def _unauthorised(reason: str, remedy: str, challenge: str = "Bearer") -> Problem:
    headers = {"WWW-Authenticate": challenge}
    return Problem(rule=rules.NOT_SIGNED_IN, reason=reason, remedy=remedy, headers=headers)


def fetcher(identity_url: str) -> Callable[[], Any]:
    """Return a function that reads the JWKS from identity over HTTP."""

    async def fetch() -> Any:
        async with service_client(3) as client:
            response = await client.get(f"{identity_url}/.well-known/jwks.json")
            response.raise_for_status()
            return response.json()

    return fetch
