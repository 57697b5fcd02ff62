"""Sessions and their refresh tokens.

Each token is used once; if it is used again, somebody else may have it, and its session ends.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from shared.runtime.database import Pool
from shared.sql import statements

LIFETIME: Final = timedelta(days=30)
"""The maximum duration of a session."""
IDLE: Final = timedelta(days=14)
"""The maximum duration of a session without a refresh."""
GRACE: Final = timedelta(seconds=10)
"""How long a used token may be repeated, and gets the same successor: for a response that was lost, and for two windows
of one client that refresh at the same time."""

SQL: Final = statements(__file__)
_TAG: Final = 16
_SECRET: Final = 32


class Reused(Exception):
    """A used token was presented again, so that its session has to end."""

    def __init__(self, session_id: str, account_id: str) -> None:
        super().__init__(f"a refresh token of session {session_id} was used twice")
        self.session_id, self.account_id = session_id, account_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A session with its current refresh token."""

    session_id: str
    account_id: str
    since: int
    expires: datetime
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A session as its owner sees it."""

    session_id: str
    since: int
    started: datetime
    last_used: datetime
    expires: datetime


async def begin(
    db: Pool, account_id: str, *, session_id: str, since: int, now: datetime, verifier: str | None
) -> Running | None:
    """Begin a session; return None if `verifier` is not the account's any more.

    `verifier` is the one that the password matched. `since` is the log's position from before the password was
    checked, so that an end of all sessions in between ends this one, too.
    """
    tag, secret, expires = secrets.token_bytes(_TAG), secrets.token_bytes(_SECRET), now + LIFETIME
    await db.execute(SQL["prune"], account_id, now, now - IDLE)
    values = (_digest(tag), secrets.token_bytes(_SECRET), _digest(secret))
    if not await db.fetchval(SQL["begin"], session_id, account_id, since, now, expires, *values, verifier):
        return None
    token = _token(session_id, tag, secret)
    return Running(session_id=session_id, account_id=account_id, since=since, expires=expires, token=token)


async def rotate(db: Pool, token: str, now: datetime) -> Running | None:
    """Exchange a refresh token for the next; return None if it is invalid or has expired.

    Raises:
        Reused: The token was used before, and is not the previous one, used at most GRACE ago.
    """
    session_id, tag, secret = parts_of(token)
    async with db.acquire() as tx, tx.transaction():
        row = await tx.fetchrow(SQL["locked"], session_id)
        if row is None or not hmac.compare_digest(_digest(tag), row["tag"]) or _over(row, now):
            return None
        presented, following = _digest(secret), hmac.digest(row["seed"], secret, "sha256")
        if hmac.compare_digest(presented, row["current"]):
            await tx.execute(SQL["rotate"], session_id, _digest(following), now)
        elif not (presented == row["previous"] and now - row["rotated"] <= GRACE):
            raise Reused(session_id, row["account_id"])
    return Running(
        session_id=session_id,
        account_id=row["account_id"],
        since=row["since"],
        expires=row["expires"],
        token=_token(session_id, tag, following),
    )


async def of_account(db: Pool, account_id: str, now: datetime) -> Sequence[Listed]:
    """Return the sessions of an account that have not expired.

    Which of them were ended is in the log.
    """
    rows = await db.fetch(SQL["listed"], account_id, now, now - IDLE)
    return [Listed(**dict(row)) for row in rows]


def _over(row: asyncpg.Record, now: datetime) -> bool:
    return bool(row["expires"] <= now or row["last_used"] <= now - IDLE)


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _token(session_id: str, tag: bytes, secret: bytes) -> str:
    return f"{session_id}.{base64.urlsafe_b64encode(tag + secret).decode()}"


def parts_of(token: str) -> tuple[str, bytes, bytes]:
    """Return the session id, tag and secret of a token; an invalid token has empty ones."""
    session_id, _, rest = token.partition(".")
    try:
        raw = base64.b64decode(rest.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError:
        return "", b"", b""
    if len(raw) != _TAG + _SECRET or not session_id.isascii() or not session_id.isprintable():
        return "", b"", b""
    return session_id, raw[:_TAG], raw[_TAG:]
