"""What a reaction was asked, so that a repeat can be told from another event of the same name.

A sender may send an event again: the same source and id say the same. One that says something else under a name that
was used is no repeat, and dropping it would lose it: it is parked as a conflicting duplicate.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from shared.eventlog.deliver.plan import Received
from shared.events.envelope import Envelope, stamp
from shared.sql import statements

SQL: Final = statements(__file__)


class Conflicting(Exception):
    """An event of this name was dealt with before, and it said something else."""


class Unsure(Exception):
    """Another process has just noted one of these events: ask again."""


def content_of(record: Received) -> bytes:
    """A digest of all that decides what a reaction asks: the event's type, its shape's version, its time and its data.

    The data counts by its values: a sender may write the same JSON otherwise when it sends it again.
    """
    envelope, data = _envelope(record), record.raw.value or b""
    try:
        data = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        pass  # then its bytes are what it says
    return sha256(f"{envelope.type}\n{envelope.schema}\n{stamp(envelope.time)}\n".encode() + data).digest()


def identity_of(record: Received) -> bytes:
    """A digest of a foreign event's name: its source and its id in it."""
    envelope = _envelope(record)
    return sha256(f"{len(envelope.source)}\n{envelope.source}\n{envelope.id}".encode()).digest()


def _envelope(record: Received) -> Envelope:
    if record.envelope is None:
        raise ValueError("a record without an envelope leads to no reaction")
    return record.envelope


async def claim(db: Any, consumer: str, records: Sequence[Received]) -> dict[bytes, bytes]:
    """Notes what these foreign records say, unless it is noted already; of two of one name, the first. Answers, by
    identity, the content that is noted. Raises Unsure."""
    if not records:
        return {}
    identities, contents = [identity_of(each) for each in records], [content_of(each) for each in records]
    rows = await db.fetch(SQL["claim"], consumer, identities, contents)
    noted: dict[bytes, bytes] = {row["identity"]: row["content"] for row in rows}
    if missing := set(identities) - noted.keys():
        raise Unsure(f"{len(missing)} events were noted by another process meanwhile")
    return noted


async def unclaim(db: Any, consumer: str, records: Sequence[Received]) -> None:
    """Forgets what these said: they had no effect, and what is sent in their place may say something else."""
    if records:
        identities, contents = [identity_of(each) for each in records], [content_of(each) for each in records]
        await db.execute(SQL["unclaim"], consumer, identities, contents)


async def conflicts(db: Any, consumer: str, record: Received) -> bool:
    """Whether another content is noted for this foreign record's name; notes nothing."""
    noted = await db.fetchval(SQL["noted"], consumer, identity_of(record))
    return noted is not None and noted != content_of(record)
