"""What tests put in the place of who knows which sessions have ended."""

import base64
import hmac
import json
from typing import Any

from shared.runtime.auth import AUDIENCE, ISSUER, Actor


class NothingEnded:
    """Every session goes on."""

    async def good(self, actor: Actor, token: str) -> bool:
        return bool(actor.account_id and token)


NOW = 1_795_000_000.0


def claims(**changed: Any) -> dict[str, Any]:
    body = {
        "sub": "account",
        "org": "organisation",
        "kind": "customer",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": int(NOW),
        "exp": int(NOW) + 60,
        "jti": "token",
        "sid": "session",
        "since": 7,
    }
    return {name: value for name, value in (body | changed).items() if value is not None}


def by_hand(header: bytes, secret: bytes | None = None) -> str:
    """A token as an attacker would put it together, past every library's caution."""
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, json.dumps(claims()).encode())]
    body = b".".join(parts)
    mac = b"" if secret is None else hmac.new(secret, body, "sha256").digest()
    return b".".join((body, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()
