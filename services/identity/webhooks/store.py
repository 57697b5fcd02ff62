"""The private tables of webhooks: their secrets, how far they are, and the events that wait."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from services.identity import persons
from services.identity.domain.webhook import Running
from shared.runtime.database import Pool
from shared.runtime.live.frames import Frame
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)


class Progress(NamedTuple):
    """How far a webhook is."""

    position: int
    """Up to here all wanted events were queued."""
    resumes: int
    replays: int
    failures: int
    """How often in succession the address could not be reached, or asked for a pause."""
    open: bool
    """Whether the pause after that is over."""
    queued: int


class Waiting(NamedTuple):
    """An event that waits to be sent."""

    position: int
    stream: str
    event_id: str
    body: bytes
    tries: int


class Figures(NamedTuple):
    """How many events wait for webhooks, and the age in seconds of the oldest."""

    waiting: int
    oldest_s: float


class Standing(NamedTuple):
    """What became of a webhook's events, for a person."""

    webhook_id: str
    position: int
    paused_until: datetime | None
    last_answer: str
    answered_at: datetime | None
    delivered_at: datetime | None
    waiting: int
    first_waiting: int | None
    failing_since: datetime | None


async def add_secret(db: Queryable, webhook_id: str, rotation: int, secret: str, account_id: str) -> bool:
    """Store a secret, sealed under its account's key; return whether the rotation had none."""
    sealed = await persons.sealed(db, secret, account_id)
    return bool(await db.fetchval(SQL["add_secret"], webhook_id, rotation, sealed))


async def secrets(db: Queryable, webhook: Running, now: datetime) -> list[str]:
    """Return the secrets that sign now; none if they are missing or can't be opened."""
    made = webhook.registered
    rows = await db.fetch(SQL["secrets"], made.webhook_id, list(webhook.signs_with(now)))
    opened = await persons.opened(db, [(made.account_id, row["sealed"]) for row in rows])
    return [secret for secret in opened if secret]


async def begin(db: Queryable, webhook: Running, position: int) -> None:
    """Set the position after which a webhook begins. Idempotent."""
    await db.execute(SQL["begin"], webhook.registered.webhook_id, position, webhook.resumes, webhook.replays)


async def progress(db: Queryable, webhook_id: str) -> Progress | None:
    rows = await db.fetch(SQL["progress"], webhook_id)
    return Progress(**dict(rows[0])) if rows else None


async def enqueue(db: Pool, webhook_id: str, frames: Sequence[Frame], position: int) -> None:
    """Queue events, and note that all up to a position were looked through."""
    async with db.acquire() as tx, tx.transaction():
        if frames:
            await tx.execute(
                SQL["enqueue"],
                webhook_id,
                [frame.position for frame in frames],
                [frame.stream for frame in frames],
                [frame.id for frame in frames],
                [frame.body for frame in frames],
            )
        await tx.execute(SQL["advance"], webhook_id, position)


async def due(db: Queryable, webhook_id: str, streams: Collection[str], at_most: int) -> list[Waiting]:
    """Return the next events to send, one of a stream; none of these streams."""
    return [Waiting(**dict(row)) for row in await db.fetch(SQL["due"], webhook_id, list(streams), at_most)]


async def accepted(db: Queryable, webhook_id: str, position: int, answer: str) -> None:
    await db.execute(SQL["accepted"], webhook_id, position, answer)


async def postpone(
    db: Queryable, webhook_id: str, event: Waiting, pause: timedelta, answer: str, *, began: datetime, counts: bool
) -> float:
    """Set when an event is tried again; return for how many seconds it has failed."""
    failing = await db.fetchval(SQL["postpone"], webhook_id, event.position, pause, began, answer, 1 if counts else 0)
    return float(failing or 0)


async def hold(db: Queryable, webhook_id: str, pause: timedelta) -> None:
    """Send nothing to a webhook for a while."""
    await db.execute(SQL["hold"], webhook_id, pause)


async def resume(db: Queryable, webhook: Running) -> None:
    await db.execute(SQL["resume"], webhook.registered.webhook_id, webhook.resumes)


async def replay(db: Queryable, webhook: Running) -> None:
    made = webhook.registered
    await db.execute(SQL["replay"], made.webhook_id, webhook.replayed_after, webhook.resumes, webhook.replays)


async def figures(db: Queryable, webhook_ids: Sequence[str]) -> Figures:
    """Return how many events wait for these webhooks."""
    (row,) = await db.fetch(SQL["figures"], list(webhook_ids))
    return Figures(**dict(row))


async def standing(db: Queryable, webhook_ids: Sequence[str]) -> dict[str, Standing]:
    """Return what became of the events of these webhooks, by id of those that have begun."""
    rows = await db.fetch(SQL["standing"], list(webhook_ids))
    return {row["webhook_id"]: Standing(**dict(row)) for row in rows}


async def forget_ended(db: Queryable) -> None:
    """Delete the secrets of ended webhooks, and what waits for them."""
    await db.execute(SQL["forget_queues"])
    await db.execute(SQL["forget_secrets"])
