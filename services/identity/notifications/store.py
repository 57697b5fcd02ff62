"""The tables of notifications: what each person was told, and what became of it.

`notification_subjects` is a read model. The other tables are private: they can't be rebuilt from events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeAlias

import orjson
from pydantic import JsonValue

from services.identity.domain.notification_rows import NOBODY, Subject
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)

KEPT: Final = timedelta(days=400)
UNREAD_AT_MOST: Final = 100
"""The number up to which unread notifications are counted."""

MailState: TypeAlias = Literal["off", "waiting", "sent", "bounced", "suppressed"]
"""What became of a notification's mail.

`off` where the person does not want one; `suppressed` where none was sent for another reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A notification to one person."""

    notification_id: str
    account_id: str
    event_id: str
    template: str
    kind: str
    facts: dict[str, JsonValue]
    event_time: datetime
    happened_at: datetime
    """By the clock of the person's organisation."""
    in_inbox: bool
    read: bool
    mail: MailState
    mail_reason: str = ""


class Stored(NamedTuple):
    """A notification as it is stored."""

    notification_id: str
    account_id: str
    template: str
    kind: str
    facts: str
    happened_at: datetime
    told_at: datetime
    read_at: datetime | None


async def note_subject(db: Queryable, subject: Subject, version: int) -> None:
    """Store what later events are about. Idempotent."""
    await db.execute(
        SQL["note_subject"],
        subject.subject_id,
        version,
        subject.contract_id,
        subject.customer,
        subject.partner,
        subject.ordered_by,
        subject.purchaser,
        subject.product,
        subject.update,
    )


async def subject(db: Queryable, subject_id: str) -> Subject:
    """Return what an event is about, or NOBODY if that is unknown."""
    rows = await db.fetch(SQL["subject"], subject_id)
    return Subject(**dict(rows[0])) if rows else NOBODY


async def managers_of_people(db: Queryable, organisation_id: str) -> Sequence[str]:
    """Return the accounts that manage an organisation's people."""
    return [row["account_id"] for row in await db.fetch(SQL["managers_of_people"], organisation_id)]


async def tell(db: Queryable, told: Told) -> None:
    """Store a notification and enqueue its mail. Idempotent."""
    await db.execute(
        SQL["tell"],
        told.notification_id,
        told.account_id,
        told.event_id,
        told.template,
        told.kind,
        orjson.dumps(told.facts).decode(),
        told.event_time,
        told.happened_at,
        told.in_inbox,
        told.read,
        told.mail,
        told.mail_reason,
    )


async def one(db: Queryable, notification_id: str) -> Stored | None:
    """Return a notification, or None if there is none."""
    rows = await db.fetch(SQL["one"], notification_id)
    return Stored(**dict(rows[0])) if rows else None


async def bounced(db: Queryable, account_id: str, digest: str, mail_id: int) -> str | None:
    """Return why the account's address is not mailed to, or None if it is."""
    reason: str | None = await db.fetchval(SQL["bounced"], account_id, digest, mail_id)
    return reason


async def mute(db: Queryable) -> None:
    """Mail nothing of events so far, after a restore."""
    await db.execute(SQL["mute_waiting"])
    await db.execute(SQL["mute"])


async def forget(db: Queryable, account_id: str) -> None:
    """Delete what a person was told."""
    await db.execute(SQL["forget"], account_id)
    await db.execute(SQL["forget_bounce"], account_id)


async def prune(db: Queryable) -> None:
    await db.execute(SQL["prune"], KEPT)
