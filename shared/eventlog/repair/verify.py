"""Verification of a log: the hashes of its store, topic and anchors are compared.

`StoreCheck`, `TopicCheck` and, if there is no store, `LoneTopicCheck` contain all the checks and are pure; the readers
are below them. What each check detects:

- A stream's chain: a changed, removed or swapped event.
- Dense positions: a removed event.
- The head's chain: two swapped events, and a cut tail.
- The topic compared with the store: events that are missing, added or rewritten in either.
- Anchors: a store or a topic that was cut or rewritten as a whole, with its chains.

Command ids are not hashed: the topic's are compared with the store's, and the store's with the commands that it knows.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import Raw
from shared.eventlog.deliver.relay import partition_of
from shared.eventlog.repair import anchors
from shared.eventlog.repair.ahead import ahead
from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.chains import reported_event
from shared.eventlog.repair.collecting import rare_collections
from shared.eventlog.repair.topic import ReportProgress, TopicReader, silent
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.snapshots import altered
from shared.eventlog.write.store import Head
from shared.events.envelope import GENESIS, StoredEvent, chained, is_relayed
from shared.events.registry import topic_of
from shared.sql import statements

SQL: Final = statements(__file__)

AT_ONCE: Final = 5_000
SHOWN: Final = 1_000
"""How many findings are kept in words; all are counted."""
_HASH: Final = 32
_COMMAND: Final = 8
_NOTE: Final = _HASH + _COMMAND
"""The bytes kept for an event: its hash, and a digest of its command's id, which the hash does not cover."""
_SETTLES_S: Final = 1.0
_SETTLES_TIMES: Final = 5


class Finding(NamedTuple):
    """A fault: its location and what is wrong there."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(slots=True)
class Findings:
    """The findings of one verification: all are counted, the first are kept in words."""

    service: str
    first: list[Finding] = field(default_factory=list)
    number: int = 0

    def add(self, place: str, what: str) -> None:
        self.number += 1
        if len(self.first) < SHOWN:
            self.first.append(Finding(f"{self.service}, {place}", what))


def note_of(event: StoredEvent) -> bytes:
    return event.envelope.hash + sha256(event.envelope.command_id.encode()).digest()[:_COMMAND]


class StoreCheck:
    """Check of a store's events, in the order of their positions, its batches and its head."""

    def __init__(self, findings: Findings, marks: Iterable[Anchor] = ()) -> None:
        self._findings = findings
        self._heads: dict[str, Head] = {}
        self._marks = sorted(marks, key=lambda mark: mark.position)
        self._mark = 0
        self.notes = bytearray()
        """For each position from 1, the note that the topic is compared with."""
        self.position = 0
        self.chain = GENESIS
        self._batch_from = 0
        self._batches_fit = True

    def event(self, event: StoredEvent) -> None:
        envelope = event.envelope
        where = f"store, position {envelope.position} ({envelope.stream} version {envelope.version})"
        if envelope.position != self.position + 1:
            self._findings.add(where, f"position {self.position + 1} was expected here")
        # Later events are checked by their own positions, so that one gap is one finding.
        lost = max(0, (envelope.position or 0) - self.position - 1)
        self.notes += bytes(_NOTE) * lost + note_of(event)
        self.position += lost + 1
        head = self._heads.get(envelope.stream, Head())
        if envelope.version != head.version + 1:
            self._findings.add(where, f"the version before it in its stream is {head.version}")
        elif envelope.prevhash != head.hash:
            self._findings.add(where, "it does not continue the event before it in its stream")
        if chained(envelope, event.data) != envelope.hash:
            self._findings.add(where, "it was altered: its hash does not match")
        self._heads[envelope.stream] = Head(envelope.version or 0, envelope.hash)
        self.chain = sha256(self.chain + envelope.hash).digest()
        while self._mark < len(self._marks) and self._marks[self._mark].position <= self.position:
            self._anchored(self._marks[self._mark])
            self._mark += 1

    def _anchored(self, mark: Anchor) -> None:
        if mark.position == self.position and mark.chain != self.chain:
            self._findings.add(
                f"store, positions 1 to {mark.position}",
                f"the chain differs from the anchor of {mark.time}: events there were rewritten",
            )

    def batch(self, last: int, chain: bytes) -> None:
        """Check the end of a batch. Call it right after the batch's last event."""
        if self._batches_fit and (last != self.position or chain != self.chain):
            self._findings.add(
                f"store, positions {self._batch_from + 1} to {last}",
                "the chain does not match: events there were altered, removed or swapped",
            )
            self._batches_fit = False  # no later chain can match
        self._batch_from = last

    def head(self, position: int, chain: bytes) -> None:
        """Check the head, after all events and batches."""
        if position != self.position:
            self._findings.add("store, head", f"it is at {position}, the last event is at {self.position}")
        elif self._batch_from != position:
            self._findings.add("store, head", f"it is at {position}, the last batch ends at {self._batch_from}")
        elif self._batches_fit and chain != self.chain:
            self._findings.add("store, head", "its chain does not match the last batch's")
        beyond = self._marks[self._mark :]
        if beyond:
            self._findings.add(
                f"store, after position {self.position}",
                f"the tail was cut: an anchor of {beyond[-1].time} shows that position {beyond[-1].position} existed",
            )


class TopicCheck:
    """Check of a topic's records, each partition's in order, against the store's notes."""

    def __init__(self, findings: Findings, service: str, partitions: int, notes: bytearray) -> None:
        self._findings, self._service, self._partitions = findings, service, partitions
        self._notes = notes
        self._present = bytearray(len(notes) // _NOTE + 1)
        self._last: dict[int, int] = {}
        self._heads: dict[str, Head] = {}
        self.top = 0

    def record(self, raw: Raw) -> None:
        found = reported_event(raw, self._service, self._partitions, self._findings.add)
        if found is None:
            return
        where, event, what = found
        envelope, position = event.envelope, event.envelope.position or 0
        stored = bytes(self._notes[(position - 1) * _NOTE : position * _NOTE])
        if stored[:_HASH] != envelope.hash:
            self._findings.add(where, f"{what} is not the event that the store has there")
            return
        if stored != note_of(event):
            self._findings.add(where, f"{what} names another command than the store's event: {envelope.command_id!r}")
        if not is_relayed(raw.headers, envelope):
            self._findings.add(where, f"{what} has headers that differ from its attributes")
        if not self._present[position]:
            self._first(where, what, event)
        self._present[position] = 1
        self.top = max(self.top, position)

    def _first(self, where: str, what: str, event: StoredEvent) -> None:
        """Check the first record of an event: it must be in order in its partition and stream."""
        envelope, partition = event.envelope, partition_of(event.envelope.stream, self._partitions)
        last = self._last.get(partition, 0)
        if (envelope.position or 0) < last:
            self._findings.add(where, f"{what} comes after position {last}")
        self._last[partition] = max(last, envelope.position or 0)
        head = self._heads.get(envelope.stream, Head())
        if (envelope.version, envelope.prevhash) != (head.version + 1, head.hash):
            self._findings.add(where, f"{what} does not continue version {head.version}, the one before it here")
        self._heads[envelope.stream] = Head(envelope.version or 0, envelope.hash)

    def complete(self, relayed: int, marks: Iterable[Anchor] = ()) -> None:
        """Check at the end that no event up to `relayed` and the last anchor is missing."""
        topic = topic_of(self._service)
        marked = max((mark.position for mark in marks), default=0)
        expected = max(relayed, marked, self.top)
        self._present += bytes(max(0, expected + 1 - len(self._present)))
        at = self._present.find(0, 1, expected + 1)
        while at != -1:
            end = self._present.find(1, at)
            end = expected + 1 if end == -1 or end > expected else end
            what = f"position {at} is missing" if end == at + 1 else f"positions {at} to {end - 1} are missing"
            tail = ": the tail was cut" if end == expected + 1 else ""
            self._findings.add(topic, f"{what}, though they were published{tail}")
            at = self._present.find(0, end, expected + 1)


class LoneTopicCheck:
    """Check of a topic's records, each partition's in order, without a store.

    Each record is checked by its own hash and headers, its stream's chain and its partition; repeats are compared with
    the first record, and the whole with the anchors.

    `records` is the number of records. A sound topic has no higher position, so notes up to it are in a dense array.
    Notes of higher positions are in a dictionary, so that a forged record with a huge position costs no memory.
    """

    def __init__(self, findings: Findings, service: str, partitions: int, records: int) -> None:
        self._findings, self._service, self._partitions = findings, service, partitions
        self._dense = bytearray(_NOTE * (records + 1))
        self._sparse: dict[int, bytes] = {}
        self._size = records
        self._last: dict[int, int] = {}
        self._heads: dict[str, Head] = {}
        self.events = self.repeats = self.top = 0
        self.chain = GENESIS

    def record(self, raw: Raw) -> None:
        found = reported_event(raw, self._service, self._partitions, self._findings.add)
        if found is None:
            return
        where, event, what = found
        envelope, position = event.envelope, event.envelope.position or 0
        if not is_relayed(raw.headers, envelope):
            self._findings.add(where, f"{what} has headers that differ from its attributes")
        note, first = note_of(event), self._noted(position)
        if first is None:
            if self._first(where, what, raw.partition, event) or position <= self._size:
                self._note(position, note)
        elif first == note:
            self.repeats += 1
        else:
            differs = "by another event" if first[:_HASH] != envelope.hash else "for another command"
            self._findings.add(where, f"{what} is no repeat: this position was taken before, {differs}")

    def _noted(self, position: int) -> bytes | None:
        if position > self._size:
            return self._sparse.get(position)
        note = bytes(self._dense[position * _NOTE : (position + 1) * _NOTE])
        return note if any(note) else None

    def _note(self, position: int, note: bytes) -> None:
        if position > self._size:
            self._sparse[position] = note
        else:
            self._dense[position * _NOTE : (position + 1) * _NOTE] = note
        self.events += 1
        self.top = max(self.top, position)

    def _first(self, where: str, what: str, partition: int, event: StoredEvent) -> bool:
        """Check the first record of a position: it must be in order in its partition and stream.

        Returns whether it continues its stream. A record that does not, and has a higher position than the topic has
        records, is no event.
        """
        envelope, last = event.envelope, self._last.get(partition, 0)
        head, version = self._heads.get(envelope.stream, Head()), envelope.version or 0
        follows = (version, envelope.prevhash) == (head.version + 1, head.hash)
        if (envelope.position or 0) < last:
            self._findings.add(where, f"{what} comes after position {last}")
        if follows or (envelope.position or 0) <= self._size:
            # Not the maximum, so that one wrong position is one finding.
            self._last[partition] = envelope.position or 0
        if version > head.version + 1:
            lost = f"version {head.version + 1}" + (f" to {version - 1}" if version > head.version + 2 else "")
            self._findings.add(where, f"{what} comes after version {head.version}: {lost} of its stream is missing")
        elif version <= head.version:
            self._findings.add(where, f"{what} conflicts with a version {version} of its stream at another position")
        elif not follows:
            self._findings.add(where, f"{what} does not continue version {head.version}, the one before it here")
        if version > head.version and (follows or (envelope.position or 0) <= self._size):
            self._heads[envelope.stream] = Head(version, envelope.hash)
        return follows

    def missing(self) -> list[tuple[int, int]]:
        """Return the ranges of positions, from 1 to the highest, without a record."""
        runs, expected = [], 1
        for position in self._positions():
            if position > expected:
                runs.append((expected, position - 1))
            expected = position + 1
        return runs

    def _positions(self) -> Iterator[int]:
        yield from (n for n in range(1, min(self.top, self._size) + 1) if self._noted(n) is not None)
        yield from sorted(self._sparse)

    def complete(self, marks: Iterable[Anchor] = ()) -> None:
        """Check at the end that no position is missing and that every anchor matches."""
        topic, gaps = topic_of(self._service), self.missing()
        for first, last in gaps:
            what = f"position {first} is missing" if first == last else f"positions {first} to {last} are missing"
            self._findings.add(topic, f"{what}, though later ones are there")
        whole = gaps[0][0] - 1 if gaps else self.top  # the chain can't be computed beyond the first gap
        by_position = sorted(set(marks), key=lambda mark: mark.position)  # a set, because topic and file have the same
        due, at = 0, 0
        for at in range(1, whole + 1):
            self.chain = sha256(self.chain + (self._noted(at) or b"")[:_HASH]).digest()
            while due < len(by_position) and by_position[due].position <= at:
                self._anchored(topic, by_position[due], at)
                due += 1
        if by_position and by_position[-1].position > self.top:
            mark = by_position[-1]
            self._findings.add(
                topic,
                f"the tail was cut: an anchor of {mark.time} shows that position {mark.position} existed, the last "
                f"here is {self.top}",
            )

    def _anchored(self, topic: str, mark: Anchor, at: int) -> None:
        if mark.position == at and mark.chain != self.chain:
            self._findings.add(
                f"{topic}, positions 1 to {at}",
                f"the chain differs from the anchor of {mark.time}: events there were rewritten",
            )


@dataclass(kw_only=True, slots=True)
class Report:
    """The result of a verification."""

    service: str
    findings: Findings
    events: int = 0
    batches: int = 0
    records: int = 0
    repeats: int = 0
    """The number of repeated records, which a restarted relay leaves. Counted only without a store."""
    anchors: int = 0
    head: int = 0
    chain: bytes = GENESIS

    @property
    def sound(self) -> bool:
        return self.findings.number == 0


async def verify(
    service: str,
    dsn: str,
    access: KafkaAccess,
    *,
    streams: Sequence[Stream[Any, Any, Any]] = (),
    anchor_folder: Path | None = None,
    topic: bool = True,
    progress: ReportProgress = silent,
) -> Report:
    """Verify a service's store, its topic and its anchors, and change nothing.

    The service may run. Events that are added meanwhile cause no findings, because of the order of the reads: what is
    anchored or relayed is in the topic by the time that its ends are read, and what is in the topic then is in the
    store afterwards.

    Args:
        streams: the streams whose snapshots are compared with their events.
        topic: whether to verify the topic.

    Raises:
        KafkaError: Kafka can't be reached, and `topic` is set.
        OSError, asyncpg.PostgresError: PostgreSQL can't be reached.
    """
    report = Report(service=service, findings=Findings(service))
    marks, invalid = anchors.from_file(anchor_folder, service)
    if topic:
        more_marks, more_invalid = await anchors.from_topic(access, service)
        marks, invalid = marks + more_marks, invalid + more_invalid
    report.anchors = len(marks)
    for line in invalid:
        report.findings.add("anchors", line)
    check = StoreCheck(report.findings, marks)
    async with AsyncExitStack() as stack:
        stack.enter_context(rare_collections())
        db = await asyncpg.connect(dsn)
        stack.push_async_callback(db.close)
        relayed: int = await db.fetchval(SQL["relayed"], f"relay:{topic_of(service)}")
        reader = await stack.enter_async_context(TopicReader(topic_of(service), access)) if topic else None
        await _check_store(report, check, db, streams, progress)
        if reader is not None:
            topic_check = TopicCheck(report.findings, service, len(reader.ends), check.notes)
            await _read_on(report, topic_check, reader, dict(reader.starts), progress)
            topic_check.complete(relayed, marks)
    return report


async def _check_store(
    report: Report, check: StoreCheck, db: Any, streams: Sequence[Stream[Any, Any, Any]], progress: ReportProgress
) -> None:
    """Check the store as of one snapshot, in batches."""
    store = PostgresStore("", report.service)
    async with db.transaction(isolation="repeatable_read", readonly=True):
        head = await db.fetchrow(SQL["head"])
        batches = await db.fetch(SQL["batches"])
        due = 0
        async for events in ahead(store.all_events(db, AT_ONCE)):
            for event in events:
                while due < len(batches) and batches[due]["last_position"] < (event.envelope.position or 0):
                    check.batch(*batches[due])
                    due += 1
                check.event(event)
            progress("store", check.position, head["position"])
            report.events += len(events)
        for batch in batches[due:]:
            check.batch(*batch)
        check.head(head["position"], head["chain"])
        async for row in db.cursor(SQL["commands"], prefetch=AT_ONCE):
            report.findings.add(*_other_command(row))
        async for place, what in altered(db, lambda name: store.of_streams(db, [name]), streams):
            report.findings.add(place, what)
    report.batches, report.head, report.chain = len(batches), head["position"], head["chain"]


def _other_command(row: Any) -> tuple[str, str]:
    """Return the location and the text of a finding, for a row of `commands`."""
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


async def verify_topic(
    service: str, access: KafkaAccess, *, anchor_folder: Path | None = None, progress: ReportProgress = silent
) -> Report:
    """Verify a service's topic and its anchors without its store. It changes nothing.

    It can't detect events that were never published, or whether the store holds the same events.

    A relay sends to all partitions concurrently, so a position may be visible briefly before the preceding one in
    another partition. Missing positions are therefore read again before they become findings.

    Raises:
        KafkaError: Kafka can't be reached.
    """
    report = Report(service=service, findings=Findings(service))
    marks, invalid = anchors.from_file(anchor_folder, service)
    more_marks, more_invalid = await anchors.from_topic(access, service)
    marks += more_marks
    report.anchors = len(marks)
    for line in invalid + more_invalid:
        report.findings.add("anchors", line)
    async with TopicReader(topic_of(service), access) as reader:
        check = LoneTopicCheck(report.findings, service, len(reader.ends), reader.records)
        at = dict(reader.starts)
        await _read_on(report, check, reader, at, progress)
    for _ in range(_SETTLES_TIMES):
        if not check.missing():
            break
        await asyncio.sleep(_SETTLES_S)
        async with TopicReader(topic_of(service), access) as reader:
            if all(at[n] >= end for n, end in reader.ends.items()):
                break
            await _read_on(report, check, reader, at, progress)
    check.complete(marks)
    report.events, report.repeats, report.head, report.chain = check.events, check.repeats, check.top, check.chain
    return report


async def _read_on(
    report: Report,
    check: TopicCheck | LoneTopicCheck,
    reader: TopicReader,
    at: dict[int, int],
    progress: ReportProgress,
) -> None:
    async def batches() -> AsyncIterator[list[Raw]]:
        while read := await reader.read(at, at):
            yield [raw for raws in read.values() for raw in raws]

    with rare_collections():
        async for raws in ahead(batches()):
            for raw in raws:
                check.record(raw)
            report.records += len(raws)
            progress("topic", report.records, max(reader.records, report.records))
