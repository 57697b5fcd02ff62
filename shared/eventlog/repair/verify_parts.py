"""The parts of a verification: each is read and checked by itself, in any process.

A part of a store is a range of positions between the ends of two batches; a part of a topic is a range of offsets of
one partition. The events and records of a part are read in batches, so that memory does not grow with the log.
"""

from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple, Self

import asyncpg

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import Raw, digest_of
from shared.eventlog.repair.ahead import ahead
from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.collecting import rare_collections
from shared.eventlog.repair.findings import Findings
from shared.eventlog.repair.store_check import Point, StoreCheck
from shared.eventlog.repair.topic import TopicReader
from shared.eventlog.repair.topic_check import InLog, Late, TopicCheck
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Head
from shared.events.envelope import StoredEvent
from shared.events.registry import topic_of
from shared.sql import statements

SQL: Final = statements(__file__)
AT_ONCE: Final = 5_000
HEADS_AT_MOST: Final = 100_000
"""How many streams' heads are remembered in a part. Those of others are read again."""


class StorePart(NamedTuple):
    """A range of a store's positions: those after `begin`, up to `end`.

    Attributes:
        begin: the end of a batch, and the chain that the store noted there.
        head: the store's head, if this is the last part.
        marks: the anchors in the part; in the last part, those beyond the store as well.
    """

    begin: Point
    end: int
    head: Point | None
    marks: Sequence[Anchor]


class CheckedStore(NamedTuple):
    """The result of a part of a store.

    Attributes:
        end: the last position and the chain there, as computed from the part's events.
        commands: the ids of commands among the findings.
    """

    findings: Findings
    end: Point
    events: int
    batches: int
    commands: Sequence[str]


class TopicPart(NamedTuple):
    """A range of a partition's offsets: from `begin` to before `end`.

    Attributes:
        last: the highest position among the partition's events before.
    """

    partition: int
    begin: int
    end: int
    last: int


class CheckedTopic(NamedTuple):
    """The result of a part of a topic.

    Attributes:
        next: the offset at which the next part begins.
        digest: of the last record before it.
        last: the highest position among the partition's events up to there.
    """

    findings: Findings
    next: int
    digest: bytes
    last: int
    present: "array[int]"
    late: Sequence[Late]
    records: int


class _Events(NamedTuple):
    """Events of a part, heads of streams before them, and whether to forget all others."""

    events: Sequence[StoredEvent]
    heads: Mapping[str, Head]
    forget: bool


class PartChecker:
    """Checker of parts, one at a time. It connects when a part needs it."""

    def __init__(self, service: str, dsn: str, access: KafkaAccess) -> None:
        self._service, self._dsn, self._access = service, dsn, access
        self._store = PostgresStore("", service)
        self._stack = AsyncExitStack()
        self._db: Any = None
        self._reader: TopicReader | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def store(self, part: StorePart) -> CheckedStore:
        """Check a part of the store.

        Raises:
            OSError, asyncpg.PostgresError: PostgreSQL can't be reached.
        """
        findings = Findings(self._service)
        check, number = StoreCheck(findings, part.marks, part.begin), 0
        with rare_collections():
            db = await self._connected()
            batches = await db.fetch(SQL["batches"], part.begin.position, part.end)
            due = 0
            async for events, heads, forget in ahead(self._events(db, part)):
                check.know(heads, forget=forget)
                for event in events:
                    while due < len(batches) and batches[due]["last_position"] < (event.envelope.position or 0):
                        check.batch(*batches[due])
                        due += 1
                    check.event(event)
                number += len(events)
            for batch in batches[due:]:
                check.batch(*batch)
            commands = await db.fetch(SQL["commands"], part.begin.position, part.end)
        if part.head is None:
            check.part(part.end)
        else:
            check.head(*part.head)
        for row in commands:
            findings.add(*other_command(row))
        return CheckedStore(findings, check.end, number, len(batches), [row["id"] for row in commands])

    async def _events(self, db: Any, part: StorePart) -> AsyncIterator[_Events]:
        """Yield the part's events with the heads that they continue, of streams that are new."""
        known: set[str] = set()
        async for events in self._store.events_between(db, part.begin.position, part.end, AT_ONCE):
            forget = len(known) > HEADS_AT_MOST
            if forget:
                known.clear()
            first: dict[str, int] = {}
            for event in events:
                if event.envelope.stream not in known:
                    first.setdefault(event.envelope.stream, event.envelope.version or 0)
            known |= first.keys()
            yield _Events(events, await _heads(db, first, (events[0].envelope.position or 1) - 1), forget)

    async def topic(self, part: TopicPart) -> CheckedTopic:
        """Check a part of the topic.

        Raises:
            KafkaError: Kafka can't be reached.
            OSError, asyncpg.PostgresError: PostgreSQL can't be reached.
        """
        reader = await self._reading()
        findings, records, digest, at = Findings(self._service), 0, b"", {part.partition: part.begin}
        check = TopicCheck(findings, self._service, len(reader.ends), part.last)

        async def batches() -> AsyncIterator[list[Raw]]:
            while at[part.partition] < part.end:
                raws = (await reader.read([part.partition], at)).get(part.partition, [])
                yield [raw for raw in raws if raw.offset < part.end]

        with rare_collections():
            db = await self._connected()
            async for raws in ahead(batches()):
                read = check.read(raws)
                positions = sorted({each.event.envelope.position or 0 for each in read})
                rows = await db.fetch(SQL["at_positions"], positions)
                check.compare(read, {row["position"]: InLog(row["hash"], row["command_id"]) for row in rows})
                records += len(raws)
                digest = digest_of(raws[-1]) if raws else digest
        return CheckedTopic(findings, part.end, digest, check.last, check.present, check.late, records)

    async def _connected(self) -> Any:
        if self._db is None:
            self._db = await asyncpg.connect(self._dsn)
            self._stack.push_async_callback(self._db.close)
        return self._db

    async def _reading(self) -> TopicReader:
        if self._reader is None:
            self._reader = await self._stack.enter_async_context(TopicReader(topic_of(self._service), self._access))
        return self._reader


async def _heads(db: Any, streams: Mapping[str, int], before: int) -> dict[str, Head]:
    """Read the heads of streams at a position.

    A stream's head is the version before its next one, if that is there and the next one is not. Both are found by key,
    whatever the length of the stream. Only of other streams the head itself is searched.

    Args:
        streams: the streams, each with the version that comes next.
    """
    if not streams:
        return {}
    rows = await db.fetch(SQL["continued"], list(streams), list(streams.values()), before)
    heads = {row["stream"]: Head(row["version"] - 1, row["hash"]) for row in rows if row["hash"] is not None}
    others = [stream for stream in streams if stream not in heads]
    if others:
        found = await db.fetch(SQL["heads"], others, before)
        heads |= {row["stream"]: Head(row["version"], row["hash"]) for row in found}
    return heads


def other_command(row: Any) -> tuple[str, str]:
    """Return the location and the text of a finding, for a row of `commands` or of `unmade`."""
    command = f"store, command {row['id']}"
    made = _versions(row["stream"], row["first"], row["count"])
    kept = _versions(row["kept_stream"], row["kept_first"], row["kept_count"])
    if row["kept_count"] is None:
        return f"store, position {row['position']} ({made})", f"the store does not know its command, {row['id']}"
    if row["count"] is None:
        return command, f"it is recorded as having made {kept}, but no event names it"
    return command, f"it is recorded as having made {kept}, but {made} name it, from position {row['position']} on"


def _versions(stream: str | None, first: int | None, count: int | None) -> str:
    if not count:
        return "nothing"
    begin = (first or 0) + 1
    return f"{stream} version {begin}" + (f" to {begin + count - 1}" if count > 1 else "")
