"""What a consumer stores about its progress, and what it asks of the service's own log.

`PostgresTables` implements `ConsumerTables` in the service's database. The simulation has a twin in memory, and one
suite holds both to the same answers.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from shared.eventlog.deliver.outcomes import Outcome
from shared.eventlog.deliver.plan import BatchPlan, Known, ParkedRecord, Seen
from shared.eventlog.deliver.received import Partition, as_text, headers_json
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)
Lock = Literal["none", "wait", "skip"]
"""Whether checkpoints are locked until the transaction ends: not at all, also if that means to wait for another
transaction, or only those that no other one has locked. In the last case, the transaction does not wait long for other
locks either. A lock is a write, and its commit waits for the disk unless checkpoints are moved."""
DETAIL_CHARACTERS: Final = 2_000

Version: TypeAlias = tuple[str, int]
"""A stream and one of its versions."""
Content: TypeAlias = tuple[bytes, bytes]
"""The digests of a publisher's event: of its source and id, and of its content."""


class PartitionProgress(NamedTuple):
    """A consumer's progress in a partition.

    Attributes:
        offset: The last processed offset, or -1.
        has_unreadable: Whether a record that could not be read is parked, or was given up. The version in it never
            comes.
    """

    offset: int
    has_unreadable: bool


class StreamProgress(NamedTuple):
    """A consumer's progress in a stream.

    Attributes:
        seen: The last processed version, or None if none was processed.
        held: Whether a parked record holds the stream.
        blocked: Whether the parked record is the next version, or an earlier one. Versions that are parked after a gap
            do not block the missing version.
    """

    seen: Seen | None
    held: bool
    blocked: bool


class OwnHead(NamedTuple):
    """The end of the service's own log.

    Attributes:
        position: The position of the last event, or 0.
        fenced: Why the store is fenced, or None if it is not.
    """

    position: int
    fenced: str | None


class Asked(NamedTuple):
    """What is asked about one consumer."""

    partitions: Collection[Partition] = ()
    streams: Collection[str] = ()


class Facts(NamedTuple):
    """What a batch is judged by.

    Attributes:
        partitions: Each consumer's progress in those of its partitions that have a checkpoint.
        streams: Each consumer's progress in each of its streams.
        known: What the service knows of versions. Those that it does not know are missing.
        head: The end of the service's own log.
    """

    partitions: Mapping[str, Mapping[Partition, PartitionProgress]]
    streams: Mapping[str, Mapping[str, StreamProgress]]
    known: dict[Version, Known]
    head: OwnHead


class ConsumerTables(Protocol):
    """What consumers store, read and written over one connection, or over a pool.

    On a connection with an open transaction, a call is part of it. Otherwise each call is a transaction of its own.
    """

    async def assign(self, consumer: str, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return the offset of each partition's checkpoint, and insert those that do not exist.

        A new checkpoint has the offset -1. One that another process inserts at the same time can be missing in the
        result.
        """
        ...

    async def facts(
        self,
        asked: Mapping[str, Asked],
        own: Collection[Version] = (),
        others: Collection[Version] = (),
        *,
        lock: Lock = "none",
    ) -> Facts:
        """Lock checkpoints, and then read, at one moment, what a batch is judged by.

        Args:
            asked: The partitions and streams of each consumer.
            own: Versions of the service's own streams, which its log has.
            others: Versions of other services' streams, which any consumer of the service has processed.
            lock: How to lock the checkpoints. While they are locked, the transaction of a former member of the group
                waits, and then finds them moved. With "skip", those that it has locked are missing in the result.
        """
        ...

    async def advance(self, done: Mapping[str, BatchPlan]) -> None:
        """Store what each consumer has reached, and the events of other services that are known now.

        What is known of a version already stays. The transaction does not wait for the disk: if the server crashes
        before it is written, the effects and the checkpoint are lost together.
        """
        ...

    async def park(self, consumer: str, records: Sequence[ParkedRecord]) -> None:
        """Store these records with all their bytes.

        Parking the same record again changes nothing.

        Raises:
            asyncpg.PostgresError: Another record is parked at the same offset.
        """
        ...

    async def claim(self, consumer: str, contents: Sequence[Content]) -> Mapping[bytes, bytes]:
        """Record contents of publishers' events, unless contents are recorded for their identities.

        Returns:
            The recorded content by identity. One that another process records at the same time can be missing.
        """
        ...

    async def unclaim(self, consumer: str, contents: Sequence[Content]) -> None:
        """Delete these recorded contents.

        Other contents that are recorded for their identities stay.
        """
        ...

    async def content(self, consumer: str, identity: bytes) -> bytes | None:
        """Return the content that is recorded for this identity."""
        ...

    async def answer(self, outcomes: Sequence[Outcome]) -> None:
        """Store what became of publishers' records.

        A record whose outcome of this status is stored already keeps that.
        """
        ...


class PostgresTables:
    """`ConsumerTables` in the schema `engine` of a service's database."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def assign(self, consumer: str, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        rows = await self._db.fetch(SQL["assign"], consumer, *_columns(partitions, 2))
        return {(row["topic"], row["partition"]): row["offset"] for row in rows}

    async def facts(
        self,
        asked: Mapping[str, Asked],
        own: Collection[Version] = (),
        others: Collection[Version] = (),
        *,
        lock: Lock = "none",
    ) -> Facts:
        checkpoints = [(consumer, *partition) for consumer, about in asked.items() for partition in about.partitions]
        streams = [(consumer, stream) for consumer, about in asked.items() for stream in about.streams]
        columns = *_columns(checkpoints, 3), *_columns(streams, 2), *_columns(own, 2), *_columns(others, 2)
        partitions: dict[str, dict[Partition, PartitionProgress]] = {consumer: {} for consumer in asked}
        progress: dict[str, dict[str, StreamProgress]] = {consumer: {} for consumer in asked}
        known: dict[Version, Known] = {}
        head = OwnHead(0, None)
        rows = await self._db.fetch(SQL["facts_without_waiting" if lock == "skip" else "facts"], lock, *columns)
        for kind, consumer, name, number, position, hash_, noted, record, unreadable, held, blocked in rows:
            if kind == "partition":
                partitions[consumer][name, number] = PartitionProgress(position, unreadable)
            elif kind == "stream":
                seen = None if number is None else Seen(number, hash_)
                progress[consumer][name] = StreamProgress(seen, held, blocked)
            elif kind == "head":
                head = OwnHead(position, noted)
            else:
                known[name, number] = Known(hash_, position, noted, record)
        return Facts(partitions, progress, known, head)

    async def advance(self, done: Mapping[str, BatchPlan]) -> None:
        seen = [(name, stream, *each) for name, plan in done.items() for stream, each in plan.seen.items()]
        offsets = [(name, *each, offset) for name, plan in done.items() for each, offset in plan.offsets.items()]
        known: dict[Version, Known] = {}
        for plan in done.values():
            known = dict(plan.known) | known  # the first one counts
        hashes = [(*version, known[version].hash, known[version].record) for version in sorted(known)]
        await self._db.execute(SQL["advance"], *_columns(seen, 5), *_columns(offsets, 4), *_columns(hashes, 4))

    async def park(self, consumer: str, records: Sequence[ParkedRecord]) -> None:
        raws = [parked.record.raw for parked in records]
        envelopes = [parked.record.envelope if parked.record.sequenced else None for parked in records]
        await self._db.execute(
            SQL["park"],
            consumer,
            [raw.topic for raw in raws],
            [raw.partition for raw in raws],
            [raw.offset for raw in raws],
            [envelope and envelope.stream for envelope in envelopes],
            [envelope and envelope.version for envelope in envelopes],
            [parked.reason for parked in records],
            [as_text(parked.detail)[:DETAIL_CHARACTERS] for parked in records],
            [parked.holds_stream for parked in records],
            [raw.key for raw in raws],
            [json.dumps(headers_json(raw.headers)) for raw in raws],
            [raw.value for raw in raws],
        )

    async def claim(self, consumer: str, contents: Sequence[Content]) -> Mapping[bytes, bytes]:
        rows = await self._db.fetch(SQL["claim"], consumer, *_columns(contents, 2))
        return {row["identity"]: row["content"] for row in rows}

    async def unclaim(self, consumer: str, contents: Sequence[Content]) -> None:
        await self._db.execute(SQL["unclaim"], consumer, *_columns(contents, 2))

    async def content(self, consumer: str, identity: bytes) -> bytes | None:
        content: bytes | None = await self._db.fetchval(SQL["content"], consumer, identity)
        return content

    async def answer(self, outcomes: Sequence[Outcome]) -> None:
        if outcomes:
            columns = [
                (*o.place, *o.names, o.status, o.rule, o.reason, o.remedy, json.dumps(o.because), json.dumps(o.events))
                for o in outcomes
            ]
            await self._db.execute(SQL["answer"], *_columns(columns, 12))


def _columns(rows: Collection[tuple[object, ...]], number: int) -> list[list[object]]:
    """Return the columns of these rows, also if there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(number)]
