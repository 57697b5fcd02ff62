"""Where a service's consumers go on after its store was restored: folds at the beginning, reactions where they stood.

A fold is done again from the first record: that is what makes its tables anew. A reaction must not be: its commands are
in the log already. How far it had come died with the database, but two witnesses are left. Kafka has the offsets that
its group committed, and commits only after the database did. And an event in the restored log that names a command of
this consumer proves that every batch before its cause's, in the cause's partition, was dealt with. The reaction goes on
after the later of the two. What it does from there on, it does for the first time or under the command id that it had
before, which the log knows; so no effect is lost and none doubled.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import BATCH_RECORDS, Consumer
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.plan import Partition, Raw, receive
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.repair.chains import Chains, OwnRecord, own_record
from shared.eventlog.repair.topic import ReportProgress, TopicReader
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events.envelope import Envelope, Unreadable, shortened
from shared.events.registry import is_inbound, service_of, topics_read
from shared.sql import statements

_NAMES: Final = frozenset({"ce_id", "ce_source", "ce_type"})
SQL: Final = statements(__file__)


async def fold(service: str, projection: Projection, pool: Any, access: KafkaAccess, progress: ReportProgress) -> int:
    """Folds a projection from its checkpoint to the ends of its topics, by the very code that does it in a running
    service. Answers how many records it read. Nothing that is missing can still come: what comes after a gap is parked,
    and so is a record of the service's own topic that its store does not have."""
    log = Log(PostgresStore("", service), service)  # never asked for anything: a fold has no commands
    consumer = Consumer(service, projection, pool, log, Clocks(utc_now), has_all=True)
    total = 0
    for topic in projection.topics:
        async with TopicReader(topic, access) as reader:
            done = await consumer.assigned([(topic, n) for n in reader.ends])
            at = {n: max(offset + 1, reader.starts[n]) for (_, n), offset in done.items()}
            goal = total + sum(max(0, reader.ends[n] - offset) for n, offset in at.items())
            while batches := await reader.read(at, at):
                raws = [raw for batch in batches.values() for raw in batch]
                await consumer.consume([receive(raw, projection.types) for raw in raws], impatient=list(done))
                total += len(raws)
                progress(f"folding {consumer.name}", total, goal)
    return total


class Mark(NamedTuple):
    """How far a consumer is known to have come in a partition."""

    consumer: str
    topic: str
    partition: int
    offset: int


class Resumed(NamedTuple):
    """How many of a consumer's partitions were moved forward, and how many events of types that it reacts to lie before
    there without any effect in the log: they asked for nothing, were refused, or had been parked."""

    moved: int
    without: int


async def causes_of(name: str, db: Any) -> frozenset[str]:
    """The events that this consumer's commands came from, as far as those led to events."""
    rows = await db.fetch(SQL["causes"], f"{name}:")
    return frozenset(cause_of(row["command_id"].removeprefix(f"{name}:"), row["causation_id"]) for row in rows)


async def resume(service: str, reactions: Reactions, pool: Any, access: KafkaAccess) -> Resumed:
    """Moves the reactions' checkpoints to where they are known to have stood. Doing it again changes nothing."""
    causes = await causes_of(f"{service}.{reactions.name}", pool)
    return await _put(pool, await marks(service, reactions, causes, access), reactions.types, causes, access)


async def marks(service: str, reactions: Reactions, causes: frozenset[str], access: KafkaAccess) -> list[Mark]:
    """Where the reactions stood at least, by both witnesses; -1 for a partition of which neither knows."""
    name = f"{service}.{reactions.name}"
    told, existing = await _committed(access, name)
    result: list[Mark] = []
    for topic in topics_read(reactions.topics, existing):
        async with TopicReader(topic, access) as reader:
            proven = await _proven(reader, causes)
            for n, end in reader.ends.items():
                committed = told.get((topic, n), 0)
                result.append(Mark(name, topic, n, max(proven.get(n, 0), committed if committed <= end else 0) - 1))
    return result


async def _committed(access: KafkaAccess, group: str) -> tuple[Mapping[Partition, int], Sequence[str]]:
    """The offsets that the group committed, and the topics that there are."""
    admin = AIOKafkaAdminClient(**access.client())
    await admin.start()
    try:
        existing: Sequence[str] = await admin.list_topics()
        try:
            found = await admin.list_consumer_group_offsets(group)
        except KafkaError:
            return {}, existing  # no such group: the other witness has to do
        return {(p.topic, p.partition): known.offset for p, known in found.items()}, existing
    finally:
        await admin.close()


def cause_of(rest: str, event_id: str) -> str:
    """The cause in a reaction's command id: the event's id, with its source before it where it is foreign, or the
    digest of both where they were too long."""
    if rest.startswith(f"{event_id}:"):
        return event_id
    source, is_whole, _ = rest.partition(f"#{event_id}:")
    return f"{source}#{event_id}" if is_whole else rest.partition(":")[0]


class _Followed:
    """A topic's records, each partition's from its beginning: which of them consumers deal with, and where that leaves
    the streams. Those of a publisher's topic have no order, and all count."""

    def __init__(self, topic: str, partitions: int) -> None:
        self._topic, self._partitions = topic, partitions
        self._chains = Chains()

    def takes(self, raw: Raw) -> OwnRecord | None:
        """The next event of its stream, if the record is one; None for a repeat, and for what is no event."""
        try:
            found = own_record(raw, service_of(self._topic), self._partitions)
        except Unreadable:
            return None
        if not self._chains.accepts(found):
            return None
        self._chains.note(found)
        return found

    def counts(self, raw: Raw) -> bool:
        return is_inbound(self._topic) or self.takes(raw) is not None


async def _proven(reader: TopicReader, causes: frozenset[str]) -> dict[int, int]:
    """By partition, the first offset of the last batch that can have caused one of the consumer's events. That batch is
    dealt with again: its streams went side by side, so of what lies before the event some may be missing."""
    last: dict[int, int] = {}
    waiting = set(causes)
    followed = _Followed(reader.topic, len(reader.ends))
    at = dict(reader.starts)
    while waiting and (batches := await reader.read(at, at)):
        for raw in (raw for batch in batches.values() for raw in batch):
            if not followed.counts(raw):
                continue
            identity = _identity(raw, _texts(raw))
            if found := waiting & {identity, shortened(identity)}:
                waiting -= found  # its first record counts: a repeat was dropped
                last[raw.partition] = raw.offset
    return {partition: max(0, offset - BATCH_RECORDS + 1) for partition, offset in last.items()}


def _texts(raw: Raw) -> dict[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in raw.headers if name in _NAMES}


def _identity(raw: Raw, names: Mapping[str, str]) -> str:
    """What a reaction's command id calls this event."""
    own = names.get("ce_id", "")
    return f"{names.get('ce_source')}#{own}" if is_inbound(raw.topic) else own


async def _put(
    pool: Any, found: Sequence[Mark], types: frozenset[str], causes: frozenset[str], access: KafkaAccess
) -> Resumed:
    """Moves the checkpoints of one consumer forward to these marks, and notes the versions that lie before them. Never
    back."""
    moved = [mark for mark in found if mark.offset >= 0]
    if not moved:
        return Resumed(0, 0)
    consumer, without = moved[0].consumer, 0
    here = {(row["topic"], row["partition"]): row["offset"] for row in await pool.fetch(SQL["offsets"], consumer)}
    moved = [mark for mark in moved if mark.offset > here.get((mark.topic, mark.partition), -1)]
    seen: dict[str, Envelope] = {}
    for topic in sorted({mark.topic for mark in moved}):
        until = {mark.partition: mark.offset for mark in moved if mark.topic == topic}
        async for raw in _dealt_with(topic, until, access, seen):
            if raw.offset > here.get((topic, raw.partition), -1):
                names = _texts(raw)
                identity = _identity(raw, names)
                without += names.get("ce_type") in types and causes.isdisjoint((identity, shortened(identity)))
    versions = [envelope.version for envelope in seen.values()]
    hashes, tenants = [envelope.hash for envelope in seen.values()], [envelope.tenant for envelope in seen.values()]
    async with pool.acquire() as db, db.transaction():
        await db.execute(SQL["see"], consumer, list(seen), versions, hashes, tenants)
        await db.execute(
            SQL["mark"], consumer, [m.topic for m in moved], [m.partition for m in moved], [m.offset for m in moved]
        )
    return Resumed(len(moved), without)


async def _dealt_with(
    topic: str, until: Mapping[int, int], access: KafkaAccess, seen: dict[str, Envelope]
) -> AsyncIterator[Raw]:
    """The records up to the offsets `until`, without repeats and what is no event. Notes in `seen` each stream's last
    event. Reads from the beginning: only so does it know the chains."""
    async with TopicReader(topic, access) as reader:
        followed = _Followed(topic, len(reader.ends))
        at = {n: reader.starts[n] for n in until}
        while wanted := [n for n in until if at[n] <= until[n]]:
            for raw in (raw for batch in (await reader.read(wanted, at)).values() for raw in batch):
                if raw.offset > until[raw.partition]:
                    continue
                if is_inbound(topic):
                    yield raw
                elif (found := followed.takes(raw)) is not None:
                    seen[found.event.envelope.stream] = found.event.envelope
                    yield raw
