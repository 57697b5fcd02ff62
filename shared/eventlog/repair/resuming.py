"""Checkpoints of a service's consumers after its store was restored.

A projection folds again from the first record (`folding`), which rebuilds its tables. A reaction must not start there:
its commands are in the log already. Its checkpoints were lost with the database, but two sources remain:

- The offsets that its service's group committed in Kafka, which are committed only after the database transaction.
  Formerly each consumer had a group of its own; what that committed counts in a partition of which the service's group
  says nothing. Elsewhere it is old, and since then the topic may have been created again.
- Events in the restored log that name a command of this consumer: such an event proves that every batch before its
  cause's batch, in the cause's partition, was processed.

The reaction continues after the later of the two. What it does from there on is done for the first time, or under the
command id that it had before, which the log knows; so no effect is lost and none is repeated.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from shared.eventlog.deliver.consumer import BATCH_RECORDS
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.offsets import group_of, offset_of
from shared.eventlog.deliver.projection import Reactions
from shared.eventlog.deliver.received import Partition, Raw
from shared.eventlog.repair.chains import Chains, OwnRecord, own_record
from shared.eventlog.repair.topic import TopicReader
from shared.events.envelope import Envelope, Unreadable, shortened, type_off_wire
from shared.events.registry import is_inbound, service_of, topics_read
from shared.sql import statements

_NAMES: Final = frozenset({"ce_id", "ce_source", "ce_type"})
SQL: Final = statements(__file__)


class Mark(NamedTuple):
    """The last offset of a partition that a consumer is known to have processed; -1 if unknown."""

    consumer: str
    topic: str
    partition: int
    offset: int


class Resumed(NamedTuple):
    """The result of moving a reaction's checkpoints."""

    moved: int
    """The number of partitions whose checkpoints were moved forward."""
    without: int
    """The number of events before the new checkpoints, of types that it reacts to, without any effect in the log: they
    asked for nothing, were refused, or had been parked."""


async def causes_of(name: str, db: Any) -> frozenset[str]:
    """Return the causes of this consumer's commands, of those that led to events."""
    rows = await db.fetch(SQL["causes"], f"{name}:")
    return frozenset(cause_of(row["command_id"].removeprefix(f"{name}:"), row["causation_id"]) for row in rows)


async def resume(service: str, reactions: Reactions[Any], pool: Any, access: KafkaAccess) -> Resumed:
    """Move the reactions' checkpoints forward to what they are known to have processed.

    To repeat it changes nothing.
    """
    causes = await causes_of(f"{service}.{reactions.name}", pool)
    return await _advance(pool, await marks(service, reactions, causes, access), reactions.types, causes, access)


async def marks(service: str, reactions: Reactions[Any], causes: frozenset[str], access: KafkaAccess) -> list[Mark]:
    """Return what the reactions have at least processed, by partition, from both sources."""
    name = f"{service}.{reactions.name}"
    committed, existing = await _committed(access, service, name)
    result: list[Mark] = []
    for topic in topics_read(reactions.topics, existing):
        async with TopicReader(topic, access) as reader:
            proven = await _proven(reader, causes)
            for n, end in reader.ends.items():
                offset = committed.get((topic, n), 0)
                result.append(Mark(name, topic, n, max(proven.get(n, 0), offset if offset <= end else 0) - 1))
    return result


async def _committed(access: KafkaAccess, service: str, consumer: str) -> tuple[Mapping[Partition, int], Sequence[str]]:
    """Return the next offsets that were committed for a consumer, and the existing topics."""
    admin = AIOKafkaAdminClient(**access.client())
    await admin.start()
    try:
        existing: Sequence[str] = await admin.list_topics()
        committed: dict[Partition, int] = {}
        for group in (group_of(service), consumer):
            try:
                offsets = await admin.list_consumer_group_offsets(group)
            except KafkaError:
                continue  # There is no such group. If there is none, only the log remains as a source.
            for p, each in offsets.items():
                offset = each.offset if group == consumer else offset_of(consumer, each.metadata)
                if offset is not None:
                    committed.setdefault((p.topic, p.partition), offset)
        return committed, existing
    finally:
        await admin.close()


def cause_of(rest: str, event_id: str) -> str:
    """Return the cause in a reaction's command id.

    It is the event's id, prefixed with its source if the event is foreign, or the digest of both if they were too long.

    Args:
        rest: the command id without the consumer's name.
    """
    if rest.startswith(f"{event_id}:"):
        return event_id
    source, is_whole, _ = rest.partition(f"#{event_id}:")
    return f"{source}#{event_id}" if is_whole else rest.partition(":")[0]


class _Followed:
    """Filter for the records of a topic that consumers process.

    It needs each partition's records from the beginning. Records of a publisher's topic have no order, and all of them
    count.
    """

    def __init__(self, topic: str, partitions: int) -> None:
        self._topic, self._partitions = topic, partitions
        self._chains = Chains()

    def takes(self, raw: Raw) -> OwnRecord | None:
        """Return the record if it is the next event of its stream; None for repeats and non-events."""
        try:
            record = own_record(raw, service_of(self._topic), self._partitions)
        except Unreadable:
            return None
        if not self._chains.accepts(record):
            return None
        self._chains.note(record)
        return record

    def counts(self, raw: Raw) -> bool:
        return is_inbound(self._topic) or self.takes(raw) is not None


async def _proven(reader: TopicReader, causes: frozenset[str]) -> dict[int, int]:
    """Return, by partition, the offset before which the log proves that records were processed.

    It is the first offset that can be in one batch with the last cause of the consumer's events. That batch is
    processed again: its streams were processed concurrently, so records before the cause may not have been.
    """
    last: dict[int, int] = {}
    waiting = set(causes)
    followed = _Followed(reader.topic, len(reader.ends))
    at = dict(reader.starts)
    while waiting and (batches := await reader.read(at, at)):
        for raw in (raw for batch in batches.values() for raw in batch):
            if not followed.counts(raw):
                continue
            identity = _identity(raw, _texts(raw))
            if matches := waiting & {identity, shortened(identity)}:
                waiting -= matches  # only the first record counts, because consumers drop repeats
                last[raw.partition] = raw.offset
    return {partition: max(0, offset - BATCH_RECORDS + 1) for partition, offset in last.items()}


def _texts(raw: Raw) -> dict[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in raw.attributes if name in _NAMES}


def _identity(raw: Raw, names: Mapping[str, str]) -> str:
    """Return the cause by which a reaction's command id names this event."""
    own = names.get("ce_id", "")
    return f"{names.get('ce_source')}#{own}" if is_inbound(raw.topic) else own


async def _advance(
    pool: Any, marks: Sequence[Mark], types: frozenset[str], causes: frozenset[str], access: KafkaAccess
) -> Resumed:
    """Move a consumer's checkpoints forward to these marks, and note the versions before them.

    A checkpoint is never moved back.
    """
    moved = [mark for mark in marks if mark.offset >= 0]
    if not moved:
        return Resumed(0, 0)
    consumer, without = moved[0].consumer, 0
    checkpoints = {
        (row["topic"], row["partition"]): row["offset"] for row in await pool.fetch(SQL["offsets"], consumer)
    }
    moved = [mark for mark in moved if mark.offset > checkpoints.get((mark.topic, mark.partition), -1)]
    seen: dict[str, Envelope] = {}
    for topic in sorted({mark.topic for mark in moved}):
        until = {mark.partition: mark.offset for mark in moved if mark.topic == topic}
        async for raw in _processed(topic, until, access, seen):
            if raw.offset > checkpoints.get((topic, raw.partition), -1):
                names = _texts(raw)
                identity = _identity(raw, names)
                handled = type_off_wire(names.get("ce_type", "")) in types
                without += handled and causes.isdisjoint((identity, shortened(identity)))
    versions = [envelope.version for envelope in seen.values()]
    hashes, tenants = [envelope.hash for envelope in seen.values()], [envelope.tenant for envelope in seen.values()]
    async with pool.acquire() as db, db.transaction():
        await db.execute(SQL["see"], consumer, list(seen), versions, hashes, tenants)
        await db.execute(
            SQL["mark"], consumer, [m.topic for m in moved], [m.partition for m in moved], [m.offset for m in moved]
        )
    return Resumed(len(moved), without)


async def _processed(
    topic: str, until: Mapping[int, int], access: KafkaAccess, seen: dict[str, Envelope]
) -> AsyncIterator[Raw]:
    """Yield the records up to the offsets `until`, without repeats and non-events.

    It reads from the beginning, because the chains start there.

    Args:
        seen: receives each stream's last event.
    """
    async with TopicReader(topic, access) as reader:
        followed = _Followed(topic, len(reader.ends))
        at = {n: reader.starts[n] for n in until}
        while pending := [n for n in until if at[n] <= until[n]]:
            for raw in (raw for batch in (await reader.read(pending, at)).values() for raw in batch):
                if raw.offset > until[raw.partition]:
                    continue
                if is_inbound(topic):
                    yield raw
                elif (record := followed.takes(raw)) is not None:
                    seen[record.event.envelope.stream] = record.event.envelope
                    yield raw
