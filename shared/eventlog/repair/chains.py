"""Pure rules for which records of a service's topic are events of its log.

Anyone with the service's Kafka credentials can write a record with any position, any version and a matching hash. Such
a record is an event of the log only if both hold:

1. It is intact and is in its stream's partition (`own_record`).
2. The store holds it at its position, by its hash; or it continues its stream: it is version 1 of a stream that has not
   begun, or version n with the hash of version n-1, which is in the store, or came earlier in the same partition and is
   itself an event of the log.

The guard, restores and `resuming` skip every other record. A record that is correctly chained to the end of a stream,
or begins one, can't be distinguished from an event while the store has no event there.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from shared.eventlog.deliver.received import Raw
from shared.eventlog.deliver.relay import partition_of
from shared.eventlog.write.store import NOT_STORED, Head, InStore
from shared.events.envelope import StoredEvent, Unreadable, counted, flaw, from_headers, source_of


class OwnRecord(NamedTuple):
    """An intact record of the service's own event, in its stream's partition."""

    raw: Raw
    event: StoredEvent

    @property
    def position(self) -> int:
        return self.event.envelope.position or 0


def own_event(raw: Raw, service: str) -> StoredEvent:
    """Read the event of a record. Raises Unreadable if it is not intact or not the service's."""
    if raw.unparsed:
        raise Unreadable(raw.unparsed)
    envelope, data = from_headers(raw.headers, raw.key), raw.value or b""
    if envelope.source != source_of(service) or not envelope.stream or not counted(envelope):
        raise Unreadable(f"it is not an event of {service}'s store, its source is {envelope.source[:80]!r}")
    if (why := flaw(envelope, raw.key, data)) is not None:
        raise Unreadable(why)
    return StoredEvent(envelope, data)


def own_record(raw: Raw, service: str, partitions: int) -> OwnRecord:
    """Read a record of the service's topic.

    Args:
        partitions: the number of the topic's partitions.

    Raises:
        Unreadable: it is not an event of this service, not intact, or not in its stream's partition.
    """
    event = own_event(raw, service)
    if partition_of(event.envelope.stream, partitions) != raw.partition:
        raise Unreadable(f"{event.envelope.stream} belongs in another partition")
    return OwnRecord(raw, event)


def location(raw: Raw) -> str:
    """Describe where a record is: its topic, partition and offset."""
    return f"{raw.topic}, partition {raw.partition}, offset {raw.offset}"


def reported_event(
    raw: Raw, service: str, partitions: int, report: Callable[[str, str], None]
) -> tuple[str, StoredEvent, str] | None:
    """Read the event of a record, and report it if it is in another partition than its stream.

    Returns:
        The record's place, the event and what it is in words; None if the record can't be read, which is reported.
    """
    where = location(raw)
    try:
        event = own_event(raw, service)
    except Unreadable as why:
        report(where, str(why))
        return None
    what = f"position {event.envelope.position or 0} ({event.envelope.stream} version {event.envelope.version})"
    if partition_of(event.envelope.stream, partitions) != raw.partition:
        report(where, f"{what} belongs in another partition")
    return where, event, what


class Chains:
    """The streams' heads as far as they were read, to distinguish events from forged records.

    Call it with each partition's records in their order. Reading from a partition's start needs nothing else. If it
    starts later, `published` gives, by partition, a position up to which the partition's events are known to be in the
    part that is read or before it. Any other record of a version that the store has up to that position is no event.
    """

    def __init__(self, published: Mapping[int, int] | None = None) -> None:
        self._published = published or {}
        self._heads: dict[str, Head] = {}

    def accepts(self, record: OwnRecord, stored: InStore = NOT_STORED) -> bool:
        """Return whether the record is an event of the log.

        A repeat of a version that was noted before is accepted only if the store holds the very record.
        """
        envelope = record.event.envelope
        if stored.hash == envelope.hash:
            return True
        head = self._heads.get(envelope.stream, Head())
        version = envelope.version or 0
        if version <= head.version:
            return False
        if stored.version_at is not None and stored.version_at <= self._published.get(record.raw.partition, 0):
            return False
        if (version, envelope.prevhash) == (head.version + 1, head.hash):
            return True
        return version == 1 or stored.previous == envelope.prevhash

    def note(self, record: OwnRecord) -> None:
        """Advance the stream's head to this record, which was accepted."""
        envelope = record.event.envelope
        if (envelope.version or 0) >= self._heads.get(envelope.stream, Head()).version:
            self._heads[envelope.stream] = Head(envelope.version or 0, envelope.hash)


def gap_between(record: OwnRecord, position: int) -> str:
    """Describe the gap if this record is the next one after `position`."""
    where = location(record.raw)
    return f"position {position + 1} is missing in the topic: after {position} comes {record.position} ({where})"
