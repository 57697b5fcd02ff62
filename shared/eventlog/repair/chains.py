"""Which records of a service's topic are events of its log. Pure.

Whoever has the service's Kafka credentials can write a record with any position, any version and a hash that fits. Such
a record is an event of the log only if

1. it is intact and lies in its stream's partition (`own_record`), and
2. it is what the store holds at its position, by its hash; or it continues its stream: version 1 of a stream that has
   not begun, or version n after the hash of version n-1, which the store holds, or which was found earlier in the same
   partition and is an event of the log itself.

Every other record is passed over: by the guard, by restores, by `resuming`. A record that is correctly chained to a
stream's end (or begins a stream) can't be told from an event, as long as the store has no event there.
"""

from collections.abc import Mapping
from typing import NamedTuple

from shared.eventlog.deliver.plan import Raw
from shared.eventlog.deliver.relay import partition_of
from shared.eventlog.write.store import NOT_STORED, Head, InStore
from shared.events.envelope import StoredEvent, Unreadable, counted, flaw, from_headers, source_of


class Found(NamedTuple):
    """A record that is intact, under the name of the service, in its stream's partition."""

    raw: Raw
    event: StoredEvent

    @property
    def position(self) -> int:
        return self.event.envelope.position or 0


def own_event(raw: Raw, service: str) -> StoredEvent:
    """Read the event of a record. Raises Unreadable where it is not an event of this service, or not intact."""
    if raw.unparsed:
        raise Unreadable(raw.unparsed)
    envelope, data = from_headers(raw.headers, raw.key), raw.value or b""
    if envelope.source != source_of(service) or not envelope.stream or not counted(envelope):
        raise Unreadable(f"it is not an event of {service}'s store but of {envelope.source[:80]!r}")
    if (why := flaw(envelope, raw.key, data)) is not None:
        raise Unreadable(why)
    return StoredEvent(envelope, data)


def own_record(raw: Raw, service: str, partitions: int) -> Found:
    """Read a record of the service's topic, which has so many partitions. Raises Unreadable, also where the record
    lies in another partition than its stream's."""
    event = own_event(raw, service)
    if partition_of(event.envelope.stream, partitions) != raw.partition:
        raise Unreadable(f"{event.envelope.stream} belongs into another partition")
    return Found(raw, event)


def place(raw: Raw) -> str:
    """Where a record lies, in words."""
    return f"{raw.topic}, partition {raw.partition}, offset {raw.offset}"


class Chains:
    """The streams as far as they were read: tells events from records that only look like them.

    Takes each partition's records in their order. A reading that begins at a partition's start needs nothing else. One
    that begins later is told by `published` up to which position the partition's events are known to lie before or in
    what is read: a version that the store has up to there is a repeat, and another record of it is no event.
    """

    def __init__(self, published: Mapping[int, int] | None = None) -> None:
        self._published = published or {}
        self._heads: dict[str, Head] = {}

    def accepts(self, found: Found, stored: InStore = NOT_STORED) -> bool:
        """Whether the record is an event of the log. Of one that was accepted before only what the store has is."""
        envelope = found.event.envelope
        if stored.hash == envelope.hash:
            return True
        head = self._heads.get(envelope.stream, Head())
        version = envelope.version or 0
        if version <= head.version:
            return False
        if stored.version_at is not None and stored.version_at <= self._published.get(found.raw.partition, 0):
            return False
        if (version, envelope.prevhash) == (head.version + 1, head.hash):
            return True
        return version == 1 or stored.previous == envelope.prevhash

    def note(self, found: Found) -> None:
        """Go on from this record, which was accepted."""
        envelope = found.event.envelope
        if (envelope.version or 0) >= self._heads.get(envelope.stream, Head()).version:
            self._heads[envelope.stream] = Head(envelope.version or 0, envelope.hash)


def gap_between(found: Found, position: int) -> str:
    """What is missing, in words, where this record comes after `position`."""
    return (
        f"position {position + 1} is missing in the topic: after {position} comes {found.position} ({place(found.raw)})"
    )
