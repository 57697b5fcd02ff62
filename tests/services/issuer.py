"""Somebody whom another issuer knows: what they bring from there, and how they sign in with it."""

from typing import Any

import httpx
from joserfc import jwt

from shared.eventlog.write.log import utc_now
from tests.services.identity_bench import ISSUER, Bench
from tests.services.mailing import token_for
from tests.spec import sends

URL = "https://issuer.example"

OWN: dict[str, Any] = {"organisation": {"name": "Own", "kind": "customer"}}


async def fresh(bench: Bench) -> str:
    nonce: str = (await bench.when("", "POST", "/sessions/oidc/nonce")).json()["nonce"]
    return nonce


def id_token(nonce: str, sub: str = "1", email: str | None = "mina@x.example", **more: Any) -> str:
    now = int(utc_now().timestamp())
    claims = {
        "iss": URL,
        "aud": "us",
        "sub": sub,
        "iat": now,
        "exp": now + 60,
        "email": email,
        "email_verified": True,
        "nonce": nonce,
    } | more
    body = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": "RS256", "kid": "theirs"}, body, ISSUER, ["RS256"])


async def from_issuer(
    bench: Bench, sub: str = "1", email: str | None = "mina@x.example", **more: Any
) -> dict[str, str]:
    """What somebody brings from the issuer, with a fresh nonce."""
    nonce = await fresh(bench)
    return {"id_token": id_token(nonce, sub, email, **more), "nonce": nonce}


@sends
async def signs_in(bench: Bench, sub: str = "1", email: str | None = "mina@x.example", **more: Any) -> httpx.Response:
    return await bench.when("", "POST", "/sessions/oidc", await from_issuer(bench, sub, email, **more))


async def verified(bench: Bench, name: str) -> tuple[str, str]:
    account_id, session = await bench.join(name)
    token = await token_for(bench, name)
    assert (await bench.when(session, "POST", "/me/address/verification", {"token": token})).status_code == 200
    return account_id, session
