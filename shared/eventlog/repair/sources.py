"""Where events are read again from: the service's own store, or the topics."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.eventlog.deliver.consumer import known_versions
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.plan import Partition, contradiction, receive
from shared.eventlog.deliver.records import raw_of
from shared.eventlog.repair.scratch import CannotRebuild, Piece
from shared.events.envelope import Envelope, StoredEvent, source_of
from shared.sql import statements, with_names

SQL: Final = statements(__file__)

BATCH: Final = 2_000


def pieces(stored: Sequence[StoredEvent], types: frozenset[str]) -> list[Piece]:
    return [Piece(envelope, data if envelope.type in types else None) for envelope, data in stored]


def _piece(row: Any, source: str) -> Piece:
    position, stream, version, id_, type_, schema, time, correlation, causation, *rest = row
    actor, tenant, traceparent, prevhash, hash_, data = rest
    envelope = Envelope(
        str(id_),
        source,
        type_,
        stream,
        time,
        schema,
        version,
        position,
        correlation,
        causation,
        actor,
        tenant,
        traceparent,
        prevhash,
        hash_,
    )
    return Piece(envelope, None if data is None else data.encode())


class OwnStore:
    """The service's own events, out of its database."""

    def __init__(self, db: Any, source: str, types: frozenset[str]) -> None:
        self._db, self._source, self._types = db, source, sorted(types)

    async def share(self, worker: int, workers: int, after: int, upto: int) -> AsyncIterator[tuple[int, list[Piece]]]:
        """The events of one worker's streams in batches, each with the position up to which that is all of them."""
        while after < upto:
            rows = await self._db.fetch(SQL["share"], self._types, after, upto, workers, worker, BATCH)
            after = rows[-1]["position"] if len(rows) == BATCH else upto
            yield after, [_piece(row, self._source) for row in rows]

    async def behind(self, consumer: str, schema: str) -> list[Piece]:
        """Some events that the consumer has dealt with and the schema has not: the earliest, in order."""
        rows = await self._db.fetch(with_names(SQL["behind"], schema=schema), self._types, consumer, BATCH)
        return [_piece(row, self._source) for row in rows]


async def applied(db: Any, service: str, read: Sequence[Piece]) -> list[Piece]:
    """Those of the events from topics that are what the service's consumers went by. Another one of the same stream
    and version, which they have parked as a conflict or as forged, may lie before it."""
    source = source_of(service)
    versions = [(piece.envelope.stream, piece.envelope.version or 0) for piece in read]
    own = {version for version, piece in zip(versions, read, strict=True) if piece.envelope.source == source}
    known = await known_versions(db, own, set(versions) - own)
    return [
        piece
        for version, piece in zip(versions, read, strict=True)
        if contradiction(piece.envelope, known.get(version), own=piece.envelope.source == source) is None
    ]


class Topics:
    """Records of partitions between two offsets, read without a group: nothing is noted in Kafka."""

    def __init__(self, access: KafkaAccess, types: frozenset[str]) -> None:
        self._access, self._types = access, types
        self._kafka: Any = None

    async def __aenter__(self) -> "Topics":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._kafka is not None:
            await self._kafka.stop()

    async def _assigned(self, partitions: Sequence[TopicPartition]) -> Any:
        """The client, which connects when it is first needed."""
        if self._kafka is None:
            self._kafka = AIOKafkaConsumer(
                **self._access.client(),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=50,
                max_partition_fetch_bytes=4 * 1024 * 1024,
            )
            await self._kafka.start()
        self._kafka.assign(list(partitions))
        return self._kafka

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The last offset of each of these as of now, -1 for none."""
        wanted = [TopicPartition(*p) for p in partitions]
        if not wanted:
            return {}
        ends = await (await self._assigned(wanted)).end_offsets(wanted)
        return {(p.topic, p.partition): end - 1 for p, end in ends.items()}

    async def between(
        self, done: Mapping[Partition, int], upto: Mapping[Partition, int]
    ) -> AsyncIterator[tuple[dict[Partition, int], list[Piece]]]:
        """What lies after `done` (-1: from the start) and not after `upto`, in batches with the offsets reached."""
        left = {TopicPartition(*p): end for p, end in upto.items() if done.get(p, -1) < end}
        if not left:
            return
        kafka = await self._assigned(list(left))
        starts = await kafka.beginning_offsets(list(left))
        for p in left:
            first = done.get((p.topic, p.partition), -1) + 1
            if starts[p] > first:
                raise CannotRebuild(
                    f"{p.topic}, partition {p.partition}, begins at offset {starts[p]} and not at {first} any more: "
                    "its older events are gone from Kafka. Restore the topic from the store first."
                )
            kafka.seek(p, first)
        while left:
            found = await kafka.getmany(*left, timeout_ms=200, max_records=BATCH)
            reached, batch = {}, []
            for p, records in found.items():
                kept = [r for r in records if r.offset <= left[p]]
                batch += [self._piece(r) for r in kept]
            for p in list(left):
                next_offset = await kafka.position(p)
                reached[p.topic, p.partition] = min(next_offset - 1, left[p])
                if next_offset > left[p]:
                    del left[p]
                    kafka.pause(p)
            yield reached, [each for each in batch if each is not None]

    def _piece(self, r: Any) -> Piece | None:
        """None for what is no event of a stream: a consumer has parked it, and so nothing was folded from it."""
        received = receive(raw_of(r), frozenset())
        if received.envelope is None or not received.sequenced:
            return None
        envelope = received.envelope
        return Piece(envelope, (r.value or b"") if envelope.type in self._types else None)
