"""The outbox: mails that follow from events, each once, until they are sent.

A row says why and about whom a mail is to be sent, never to which address or with which token: those are read and
signed when it is sent. The table is private: no event makes it again.
"""

from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias

from services.identity.domain.account import address_digest
from shared.events.envelope import Envelope
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)

Kind: TypeAlias = Literal["verify-address", "invitation", "prove-address"]
ASKED_AT_MOST: Final = 1000
"""Mails that somebody asked for and that wait, of a kind."""
ASKED_AGAIN_S: Final = 300
"""The same mail is sent again on request after so long."""
KEPT: Final = timedelta(days=30)


class Row(NamedTuple):
    """A mail to send."""

    id: int
    event_id: str
    kind: Kind
    about: str
    digest: str
    address: str | None
    tries: int
    created_at: datetime
    stale: bool
    """Whether it has waited for too long to be of use."""


class Figures(NamedTuple):
    """How the outbox stands."""

    waiting: int
    parked: int
    oldest_s: float


async def enqueue(db: Queryable, kind: Kind, about: str, email: str, envelope: Envelope) -> None:
    """Keep the mail that follows from an event. Doing it again changes nothing."""
    again = kind == "invitation"
    position = envelope.position or 0
    await db.execute(SQL["enqueue"], envelope.id, kind, about, address_digest(email), None, position, again)


async def ask(db: Queryable, kind: Kind, about: str, email: str, now: datetime, *, address: str | None = None) -> None:
    """Keep a mail that somebody asked for: the same one at most once in some minutes."""
    digest = address_digest(email)
    asked = f"asked:{about or digest}:{int(now.timestamp()) // ASKED_AGAIN_S}"
    await db.execute(SQL["ask"], asked, kind, about, digest, address, ASKED_AT_MOST)


async def due(db: Queryable, limit: int, stale_after: timedelta) -> list[Row]:
    return [Row(**dict(row)) for row in await db.fetch(SQL["due"], limit, stale_after)]


async def settle(db: Queryable, row: Row, state: Literal["sent", "parked", "dropped"], reason: str = "") -> None:
    await db.execute(SQL["settle"], row.id, state, reason[:500], int(state != "dropped"))


async def postpone(db: Queryable, row: Row, pause: timedelta, reason: str) -> None:
    await db.execute(SQL["postpone"], row.id, pause, reason[:500])


async def figures(db: Queryable) -> Figures:
    (row,) = await db.fetch(SQL["figures"])
    return Figures(**dict(row))


async def prune(db: Queryable) -> None:
    await db.execute(SQL["prune"], KEPT)


async def forget(db: Queryable, about: str) -> None:
    """Forget the mails about a person or an invitation."""
    await db.execute(SQL["forget"], about)


async def mute(db: Queryable) -> None:
    """Send nothing of what was before by itself: for after a restore. The operator may (`tenure mail retry`)."""
    await db.execute(SQL["mute_waiting"])
    await db.execute(SQL["mute"])
