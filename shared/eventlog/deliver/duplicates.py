"""The detection of conflicting duplicates among publishers' events.

A publisher may send an event again, with the same source, id and content. An event with a used source and id but other
content is not a repeat, and dropping it would lose it: it is parked as a conflicting duplicate.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256

from shared.eventlog.deliver.received import Received
from shared.eventlog.deliver.tables import ConsumerTables, Content
from shared.events.envelope import Envelope, stamp


class Conflicting(Exception):
    """An event with the same source and id but other content was processed before."""


class Unsure(Exception):
    """Another process has just recorded one of these events, so the call must be repeated."""


def content_of(record: Received) -> bytes:
    """Return a digest of an event's content: its type, schema, time and data.

    The values of the data count and not their notation, because a sender may write the same JSON differently when it
    sends it again. A time that the event does not say is not its content.
    """
    envelope, data = _envelope(record), record.data
    time = stamp(envelope.time) if record.timed else ""
    try:
        data = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        pass  # Data that is not JSON counts byte for byte.
    return sha256(f"{envelope.type}\n{envelope.schema}\n{time}\n".encode() + data).digest()


def identity_of(record: Received) -> bytes:
    """Return a digest of the source and the id of a publisher's event."""
    envelope = _envelope(record)
    return sha256(f"{len(envelope.source)}\n{envelope.source}\n{envelope.id}".encode()).digest()


def _envelope(record: Received) -> Envelope:
    if record.envelope is None:
        raise ValueError("a record without an envelope has no reaction")
    return record.envelope


async def claim(tables: ConsumerTables, consumer: str, records: Sequence[Received]) -> Mapping[bytes, bytes]:
    """Record the contents of these publishers' records, unless their ids have recorded ones.

    Returns:
        The recorded content of each record, by its identity. If two records have one identity, that of the first.

    Raises:
        Unsure: Another process recorded one of these events at the same time.
    """
    if not records:
        return {}
    contents = [_both(record) for record in records]
    recorded = await tables.claim(consumer, contents)
    if missing := {identity for identity, _ in contents} - recorded.keys():
        raise Unsure(f"{len(missing)} events were recorded by another process at the same time")
    return recorded


async def unclaim(tables: ConsumerTables, consumer: str, records: Sequence[Received]) -> None:
    """Delete the recorded contents of these records.

    They took no effect, so the events that replace them may have other contents.
    """
    if records:
        await tables.unclaim(consumer, [_both(record) for record in records])


async def conflicts(tables: ConsumerTables, consumer: str, record: Received) -> bool:
    """Return whether another content is recorded for this record's source and id."""
    recorded = await tables.content(consumer, identity_of(record))
    return recorded is not None and recorded != content_of(record)


def _both(record: Received) -> Content:
    return identity_of(record), content_of(record)
