"""The outbox: the mails to be sent.

A row has the reason for a mail and the id of its account or invitation. The token is signed, and the address read from
the log, when the mail is sent; only a proof of an address without an account has the address in its row. The table is
private: it can't be rebuilt from events.
"""

from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias

from services.identity.domain.account import address_digest
from shared.events.envelope import Envelope
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)

Kind: TypeAlias = Literal["verify-address", "invitation", "prove-address", "reset-password", "notification"]
ASKED_AT_MOST: Final = 1000
"""The maximum number of waiting mails of a kind that are accepted on request."""
ASKED_AGAIN_S: Final = 300
"""The period in which the same mail is sent at most once on request."""
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
    stale: bool
    """Whether it has waited for too long to be sent."""


class Figures(NamedTuple):
    """The numbers of waiting and parked mails, and the age in seconds of the oldest that waits."""

    waiting: int
    parked: int
    oldest_s: float


async def enqueue(db: Queryable, kind: Kind, about: str, email: str, envelope: Envelope) -> None:
    """Enqueue the mail that follows from an event. Idempotent."""
    again = kind == "invitation"
    position = envelope.position or 0
    await db.execute(SQL["enqueue"], envelope.id, kind, about, address_digest(email), None, position, again)


async def ask(db: Queryable, kind: Kind, about: str, email: str, now: datetime, *, address: str | None = None) -> None:
    """Enqueue a mail on request, the same one at most once in ASKED_AGAIN_S."""
    digest = address_digest(email)
    asked = f"asked:{about or digest}:{int(now.timestamp()) // ASKED_AGAIN_S}"
    await db.execute(SQL["ask"], asked, kind, about, digest, address, ASKED_AT_MOST)


async def due(db: Queryable, limit: int, stale_after: timedelta) -> list[Row]:
    return [Row(**dict(row)) for row in await db.fetch(SQL["due"], limit, stale_after)]


async def settle(db: Queryable, row: Row, state: Literal["sent", "parked", "dropped"], reason: str = "") -> None:
    await db.execute(SQL["settle"], row.id, state, reason[:500], int(state != "dropped"))


async def note_bounce(db: Queryable, row: Row, digest: str, reason: str) -> None:
    """Note that a server refuses an account's address for good."""
    await db.execute(SQL["note_bounce"], row.about, digest, row.id, reason[:500])


async def note_arrival(db: Queryable, row: Row, digest: str) -> None:
    """Note that a server accepts an account's address."""
    await db.execute(SQL["note_arrival"], row.about, digest)


async def postpone(db: Queryable, row: Row, pause: timedelta, reason: str) -> None:
    await db.execute(SQL["postpone"], row.id, pause, reason[:500])


async def figures(db: Queryable) -> Figures:
    (row,) = await db.fetch(SQL["figures"])
    return Figures(**dict(row))


async def prune(db: Queryable) -> None:
    await db.execute(SQL["prune"], KEPT)


async def forget(db: Queryable, about: str) -> None:
    """Delete the mails about a person or an invitation."""
    await db.execute(SQL["forget"], about)


async def mute(db: Queryable) -> None:
    """Drop all mails of events so far, after a restore; `tenure mail retry` sends them."""
    await db.execute(SQL["mute_waiting"])
    await db.execute(SQL["mute"])
