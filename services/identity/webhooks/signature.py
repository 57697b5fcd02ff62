"""The signature `v1` of Standard Webhooks: an HMAC-SHA256 under a shared secret.

Source: standardwebhooks.com, "Signature scheme".
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
"""The specification asks for 24 to 64."""


def new_secret() -> str:
    """Return a new secret, as receivers configure it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def headers_of(event_id: str, timestamp: int, body: bytes, secrets_of: Sequence[str]) -> dict[str, str]:
    """Return the headers of a message.

    Args:
        event_id: The id of the message, the same in each attempt.
        timestamp: When this attempt is made, in seconds since 1970.
        secrets_of: The secrets to sign with; a receiver accepts any of the signatures.
    """
    signed = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets_of),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
