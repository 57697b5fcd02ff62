"""Who is calling: tokens that identity signs and every route checks. No switch turns it off."""

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
from shared.runtime.problems import Problem

ISSUER: Final = "http://127.0.0.1:8101"
"""Who signs, unless the settings say otherwise: the URL of identity, under which its discovery document is found."""
AUDIENCE: Final = "tenure"
ALGORITHM: Final = "ES256"
TOKEN_S: Final = 300
LEEWAY_S: Final = 30
"""How far another machine's clock may be off: for the times that a token names, never for a session that has ended."""
REFRESH_S: Final = 5.0
"""How soon the keys may be fetched again for a key that is not known."""
JWKS_S: Final = 60
"""How long fetched keys are used, and what the JWKS says of it. A withdrawn key is believed for so long."""
KNOWN_TOKENS: Final = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """The account behind a request and the organisation that it belongs to."""

    account_id: str
    organisation_id: str
    organisation_kind: OrganisationKind
    publisher: str = ""
    """The publisher that a publisher's people act for; "" for everybody else."""
    session_id: str = field(default="", kw_only=True)
    """The person's session; "" for a machine."""
    client_id: str = field(default="", kw_only=True)
    """The machine account; "" for a person. Its `account_id` is the account that it acts for, or this id."""
    scopes: frozenset[str] | None = field(default=None, kw_only=True)
    """What a machine was given; None for a person, whom no scope limits."""
    since: int = field(default=0, kw_only=True)
    """The position of identity's log at which the session began, or the machine's token was issued: whatever ends it
    stands later in that log. Positions, unlike times, have one order whichever machine's clock is behind."""


class Endings(Protocol):
    """What knows which sessions and machine accounts have ended."""

    async def good(self, actor: Actor, token: str) -> bool:
        """Whether the caller's session still runs. Raises Problem 503 when that can't be known now."""
        ...


class TokenSigner:
    """Signs tokens with one of identity's keys."""

    def __init__(self, key: ECKey, clock: Callable[[], float] = time.time, issuer: str = ISSUER) -> None:
        self._key, self._clock, self._issuer = key, clock, issuer

    def sign(self, actor: Actor, token_id: str, lifetime_s: int = TOKEN_S) -> str:
        """Make an access token. One that belongs to no session is a session by itself."""
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
        """A token for another purpose than access (an invitation), told apart by its audience."""
        now = int(self._clock())
        body = {**claims, "iss": self._issuer, "aud": audience, "iat": now, "exp": now + lifetime_s, "jti": token_id}
        return jwt.encode({"alg": ALGORITHM, "typ": "JWT", "kid": self._key.kid}, body, self._key, [ALGORITHM])


def public_keys(keys: list[ECKey]) -> dict[str, Any]:
    """The JWKS: what others check signatures with."""
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
    """The claims of a token that is signed, in time, from us and for `audience`. Raises JoseError or ValueError.

    Only ES256 with one of our keys: a token can bring neither its key nor its algorithm.
    """
    decoded = jwt.decode(token, keys, algorithms=[ALGORITHM])
    if not set(decoded.header) <= {"alg", "typ", "kid"} or "kid" not in decoded.header:
        raise ValueError("the token's header names more or less than its key")
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
    """Checks tokens with identity's keys, and that their sessions have not ended.

    The keys are fetched on a schedule, and for a key that is not known (at most every few seconds); they are still good
    while identity is away. A token that was good is not checked again until it expires or other keys are fetched: its
    signature takes longer than most queries. Whether its session has ended is asked each time.
    """

    def __init__(
        self,
        fetch: Callable[[], Any],
        endings: Endings,
        clock: Callable[[], float] = time.time,
        issuer: str = ISSUER,
    ) -> None:
        """`fetch` is an async function that returns the JWKS."""
        self._fetch, self.endings, self._clock, self._issuer = fetch, endings, clock, issuer
        self._keys: KeySet | None = None
        self._kids: frozenset[str] = frozenset()
        self._published: Any = None
        self._fetched_at = self._tried_at = float("-inf")
        self._tries = 0
        self._lock = asyncio.Lock()
        self._good: dict[str, tuple[Actor, float]] = {}
        """By token, the caller and until when it is good."""

    async def actor(self, authorization: str | None) -> Actor:
        """The caller. Raises Problem 401 (no token, or not a good one) or 503 (the keys can't be had yet, or nobody
        can say whether the session has ended)."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > 4096:
            raise _unauthorised(
                "This door needs a token.", "Sign in at identity (POST /sessions) and send it as Bearer."
            )
        actor = await self._known(token)
        if not await self.endings.good(actor, token):
            raise _unauthorised("The token is not valid, or not any more.", "Sign in again.", INVALID)
        return actor

    async def _known(self, token: str) -> Actor:
        keys = await self._keys_for(token)
        known = self._good.get(token)
        if known is not None and self._clock() < known[1]:
            return known[0]
        try:
            claims = verified(token, keys, AUDIENCE, self._clock, issuer=self._issuer)
            actor = _actor_of(claims)
        except (JoseError, ValueError, KeyError, TypeError, UnicodeError, RecursionError) as error:
            raise _unauthorised("The token is not valid, or not any more.", "Sign in again.", INVALID) from error
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
                if tries == self._tries:  # else somebody has asked meanwhile; its answer, good or bad, is ours
                    await self._refresh()
        if self._keys is None:
            raise Problem(
                503,
                rule=rules.UNAVAILABLE,
                reason="The keys that tokens are checked with can't be had now.",
                remedy="Try again in a moment.",
                headers={"Retry-After": "2"},
            )
        return self._keys

    async def _refresh(self) -> None:
        try:
            found = await self._fetch()
            keys = [ECKey.import_key(key) for key in found["keys"] if key.get("kty") == "EC"]
            if found != self._published:
                self._keys = KeySet(list(keys))
                self._kids = frozenset(str(key.kid) for key in keys)
                self._published = found
                self._good.clear()
            self._fetched_at = self._clock()
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError):
            return  # the keys that we have, if any, are still good
        finally:
            self._tries += 1
            self._tried_at = self._clock()


def _actor_of(claims: dict[str, Any]) -> Actor:
    """The caller that the claims name. Raises ValueError or KeyError when they name none, or both kinds of caller."""
    account_id, org, kind, since = claims["sub"], claims["org"], claims["kind"], claims["since"]
    publisher, session_id, client_id = (claims.get(name, "") for name in ("pub", "sid", "client_id"))
    if not all(isinstance(claim, str) and claim for claim in (account_id, org, kind, session_id or client_id)):
        raise ValueError("the token names no account, organisation or session")
    if not all(isinstance(claim, str) for claim in (publisher, session_id, client_id)):
        raise ValueError("a name in the token is none")
    if (session_id and client_id) or type(since) is not int or since < 0:
        raise ValueError("the token is a person's and a machine's, or says not since when")
    scopes = None
    if client_id:
        if not isinstance(claims["scope"], str):
            raise ValueError("the token's scope is no text")
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
"""RFC 6750, section 3.1: what is said of a token that is not good; of none at all, only the scheme is."""


def _unauthorised(reason: str, remedy: str, challenge: str = "Bearer") -> Problem:
    headers = {"WWW-Authenticate": challenge}
    return Problem(401, rule=rules.NOT_SIGNED_IN, reason=reason, remedy=remedy, headers=headers)


def fetcher(identity_url: str) -> Callable[[], Any]:
    """Reads the JWKS from identity over HTTP."""

    async def fetch() -> Any:
        async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
            answer = await client.get(f"{identity_url}/.well-known/jwks.json")
            answer.raise_for_status()
            return answer.json()

    return fetch
