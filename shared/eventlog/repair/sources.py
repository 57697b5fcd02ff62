"""Sources of the events for rebuilds: the service's own store and the topics."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.eventlog.deliver.connecting import start_reading, stop_reading
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.plan import contradiction
from shared.eventlog.deliver.received import Partition, receive
from shared.eventlog.deliver.records import raw_of
from shared.eventlog.deliver.tables import PostgresTables
from shared.eventlog.repair.scratch import CannotRebuild, Piece
from shared.events.envelope import Envelope, StoredEvent, source_of
from shared.sql import statements, with_names

SQL: Final = statements(__file__)

BATCH: Final = 2_000
READ_AT_ONCE: Final = 8_000
"""The number of events of the own store that are read at once, to be folded side by side."""


def pieces(stored: Sequence[StoredEvent], types: frozenset[str]) -> list[Piece]:
    return [Piece(envelope, data if envelope.type in types else None) for envelope, data in stored]


def _piece(row: Any, source: str) -> Piece:
    position, stream, version, time, id_, type_, schema, *rest, data = row
    if data is None:
        return Piece(Envelope("", source, "", stream, time, version=version, position=position), None)
    return Piece(Envelope(id_, source, type_, stream, time, schema, version, position, *rest), data.encode())


class OwnStore:
    """Reader of the service's own events in its database."""

    def __init__(self, db: Any, source: str, types: frozenset[str]) -> None:
        self._db, self._source, self._types = db, source, sorted(types)

    async def events(self, after: int, upto: int) -> AsyncIterator[tuple[int, list[Piece]]]:
        """Yield the events between two positions in batches, each with the position that it reaches."""
        while after < upto:
            end = min(after + READ_AT_ONCE, upto)
            rows = await self._db.fetch(SQL["between"], self._types, after, end)
            yield end, [_piece(row, self._source) for row in rows]
            after = end

    async def behind(self, consumer: str, schema: str) -> list[Piece]:
        """Read the first events, in order, that the consumer has processed and the schema lacks."""
        rows = await self._db.fetch(with_names(SQL["behind"], schema=schema), self._types, consumer, BATCH)
        return [_piece(row, self._source) for row in rows]


async def applied(db: Any, service: str, pieces: Sequence[Piece]) -> list[Piece]:
    """Return those of a topic's events that the service's consumers have accepted.

    Other events of the same stream and version, which the consumers have parked as conflicts or as forged, may come
    before them in the topic.
    """
    source = source_of(service)
    versions = [(piece.envelope.stream, piece.envelope.version or 0) for piece in pieces]
    own = {version for version, piece in zip(versions, pieces, strict=True) if piece.envelope.source == source}
    known = (await PostgresTables(db).facts({}, own, set(versions) - own)).known
    return [
        piece
        for version, piece in zip(versions, pieces, strict=True)
        if contradiction(piece.envelope, known.get(version), own=piece.envelope.source == source) is None
    ]


class Topics:
    """Reader of records between two offsets, without a consumer group: it commits nothing."""

    def __init__(self, access: KafkaAccess, types: frozenset[str]) -> None:
        self._access, self._types = access, types
        self._kafka: Any = None

    async def __aenter__(self) -> "Topics":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._kafka is not None:
            await stop_reading(self._kafka)

    async def _assigned(self, partitions: Sequence[TopicPartition]) -> Any:
        """Return the client with these partitions assigned. It connects when first needed."""
        if self._kafka is None:
            self._kafka = AIOKafkaConsumer(
                **self._access.client(),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=50,
                max_partition_fetch_bytes=4 * 1024 * 1024,
            )
            await start_reading(self._kafka)
        self._kafka.assign(list(partitions))
        return self._kafka

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return the current last offset of each of these partitions, -1 if it is empty."""
        tps = [TopicPartition(*p) for p in partitions]
        if not tps:
            return {}
        ends = await (await self._assigned(tps)).end_offsets(tps)
        return {(p.topic, p.partition): end - 1 for p, end in ends.items()}

    async def between(
        self, done: Mapping[Partition, int], upto: Mapping[Partition, int]
    ) -> AsyncIterator[tuple[dict[Partition, int], list[Piece]]]:
        """Yield the events between two offsets, in batches with the offsets reached.

        Args:
            done: the last processed offset by partition; -1 to read from the start.
            upto: the last offset to read, by partition.

        Raises:
            CannotRebuild: Kafka has deleted records after `done`.
        """
        remaining = {TopicPartition(*p): end for p, end in upto.items() if done.get(p, -1) < end}
        if not remaining:
            return
        kafka = await self._assigned(list(remaining))
        starts = await kafka.beginning_offsets(list(remaining))
        for p in remaining:
            first = done.get((p.topic, p.partition), -1) + 1
            if starts[p] > first:
                raise CannotRebuild(
                    f"{p.topic}, partition {p.partition}, now begins at offset {starts[p]}, after offset {first}: its "
                    "older events are gone from Kafka. Restore the topic from the store first."
                )
            kafka.seek(p, first)
        while remaining:
            fetched = await kafka.getmany(*remaining, timeout_ms=200, max_records=BATCH)
            reached, batch = {}, []
            for p, records in fetched.items():
                batch += [self._piece(r) for r in records if r.offset <= remaining[p]]
            for p in list(remaining):
                next_offset = await kafka.position(p)
                reached[p.topic, p.partition] = min(next_offset - 1, remaining[p])
                if next_offset > remaining[p]:
                    del remaining[p]
                    kafka.pause(p)
            yield reached, [piece for piece in batch if piece is not None]

    def _piece(self, r: Any) -> Piece | None:
        """Read a record. Return None if it is no event of a stream: consumers park such records."""
        received = receive(raw_of(r), frozenset())
        if received.envelope is None or not received.sequenced:
            return None
        envelope = received.envelope
        return Piece(envelope, (r.value or b"") if envelope.type in self._types else None)
