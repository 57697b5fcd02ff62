"""Whether a log is what it was: every hash of the store and of the topic, one against the other and against anchors.

`StoreCheck`, `TopicCheck` and, without a store, `LoneTopicCheck` are the whole judgement and pure; below them are the
readers. What each link shows: a
stream's chain a changed, removed or swapped event; dense positions a removed one; the head's chain two that changed
places, and a cut tail; the topic against the store what is missing, added or rewritten in either; anchors a store or a
topic that was cut or rewritten whole, with its chains. Command ids are not hashed: the topic's are held against the
store's, and the store's against the commands that it knows.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.plan import Raw
from shared.eventlog.deliver.relay import partition_of
from shared.eventlog.repair import anchors
from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.chains import location, own_event
from shared.eventlog.repair.topic import ReportProgress, TopicReader, silent
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.snapshots import altered
from shared.eventlog.write.store import Head
from shared.events.envelope import GENESIS, StoredEvent, Unreadable, chained, to_headers
from shared.events.registry import topic_of
from shared.sql import statements

SQL: Final = statements(__file__)

AT_ONCE: Final = 5_000
SHOWN: Final = 1_000
"""So many findings are kept in words; all are counted."""
_HASH: Final = 32
_COMMAND: Final = 8
_NOTE: Final = _HASH + _COMMAND
"""What is kept of an event: its hash, and a print of its command's id, which is not hashed."""
_SETTLES_S: Final = 1.0
_SETTLES_TIMES: Final = 5


class Finding(NamedTuple):
    """Something that is not as it was. `place` says where, `what` what is wrong there."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(slots=True)
class Findings:
    """What was found, the first of it in words."""

    service: str
    first: list[Finding] = field(default_factory=list)
    number: int = 0

    def add(self, place_: str, what: str) -> None:
        self.number += 1
        if len(self.first) < SHOWN:
            self.first.append(Finding(f"{self.service}, {place_}", what))


def note_of(event: StoredEvent) -> bytes:
    return event.envelope.hash + sha256(event.envelope.command_id.encode()).digest()[:_COMMAND]


class StoreCheck:
    """A store's events, given in the order of their positions, then its batches and its head."""

    def __init__(self, findings: Findings, marks: Iterable[Anchor] = ()) -> None:
        self._findings = findings
        self._heads: dict[str, Head] = {}
        self._marks = sorted(marks, key=lambda mark: mark.position)
        self._mark = 0
        self.notes = bytearray()
        """Of each position from 1 on, what the topic is compared with."""
        self.position = 0
        self.chain = GENESIS
        self._batch_from = 0
        self._batches_fit = True

    def event(self, event: StoredEvent) -> None:
        envelope = event.envelope
        where = f"store, position {envelope.position} ({envelope.stream} version {envelope.version})"
        if envelope.position != self.position + 1:
            self._findings.add(where, f"position {self.position + 1} should stand here")
        # The others are judged by their own positions, so that one hole is one finding.
        lost = max(0, (envelope.position or 0) - self.position - 1)
        self.notes += bytes(_NOTE) * lost + note_of(event)
        self.position += lost + 1
        head = self._heads.get(envelope.stream, Head())
        if envelope.version != head.version + 1:
            self._findings.add(where, f"its stream was at version {head.version} before")
        elif envelope.prevhash != head.hash:
            self._findings.add(where, "it does not continue the event before it in its stream")
        if chained(envelope, event.data) != envelope.hash:
            self._findings.add(where, "it was altered: its hash does not fit")
        self._heads[envelope.stream] = Head(envelope.version or 0, envelope.hash)
        self.chain = sha256(self.chain + envelope.hash).digest()
        while self._mark < len(self._marks) and self._marks[self._mark].position <= self.position:
            self._anchored(self._marks[self._mark])
            self._mark += 1

    def _anchored(self, mark: Anchor) -> None:
        if mark.position == self.position and mark.chain != self.chain:
            self._findings.add(
                f"store, positions 1 to {mark.position}",
                f"the chain is not the one that an anchor of {mark.time} says: something there was rewritten",
            )

    def batch(self, last: int, chain: bytes) -> None:
        """A batch's end; to be given as soon as its last event was."""
        if self._batches_fit and (last != self.position or chain != self.chain):
            self._findings.add(
                f"store, positions {self._batch_from + 1} to {last}",
                "the chain does not fit: events there were altered, removed or have changed places",
            )
            self._batches_fit = False  # whatever comes after it can't fit either
        self._batch_from = last

    def head(self, position: int, chain: bytes) -> None:
        """The head, last of all."""
        if position != self.position:
            self._findings.add("store, head", f"it stands at {position}, the last event at {self.position}")
        elif self._batch_from != position:
            self._findings.add("store, head", f"it stands at {position}, the last batch ends at {self._batch_from}")
        elif self._batches_fit and chain != self.chain:
            self._findings.add("store, head", "its chain does not fit the last batch's")
        beyond = self._marks[self._mark :]
        if beyond:
            self._findings.add(
                f"store, after position {self.position}",
                f"the tail was cut: an anchor of {beyond[-1].time} says that position {beyond[-1].position} existed",
            )


class TopicCheck:
    """A topic's records, each partition's in its order, against the store's notes, one for each position."""

    def __init__(self, findings: Findings, service: str, partitions: int, notes: bytearray) -> None:
        self._findings, self._service, self._partitions = findings, service, partitions
        self._notes = notes
        self._there = bytearray(len(notes) // _NOTE + 1)
        self._last: dict[int, int] = {}
        self._heads: dict[str, Head] = {}
        self.top = 0

    def record(self, raw: Raw) -> None:
        where = location(raw)
        try:
            event = own_event(raw, self._service)
        except Unreadable as why:
            self._findings.add(where, str(why))
            return
        envelope, position = event.envelope, event.envelope.position or 0
        what = f"position {position} ({envelope.stream} version {envelope.version})"
        if partition_of(envelope.stream, self._partitions) != raw.partition:
            self._findings.add(where, f"{what} belongs into another partition")
        stored = bytes(self._notes[(position - 1) * _NOTE : position * _NOTE])
        if stored[:_HASH] != envelope.hash:
            self._findings.add(where, f"{what} is not what the store has there")
            return
        if stored != note_of(event):
            self._findings.add(where, f"{what} names another command than the store's event: {envelope.command_id!r}")
        if [*raw.headers] != to_headers(envelope):
            self._findings.add(where, f"{what} has other headers than its attributes make")
        if not self._there[position]:
            self._first(where, what, event)
        self._there[position] = 1
        self.top = max(self.top, position)

    def _first(self, where: str, what: str, event: StoredEvent) -> None:
        """The first record of an event: within its partition and its stream it comes in order."""
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
        """At the end: everything up to `relayed`, and up to the last anchor, is there."""
        topic = topic_of(self._service)
        marked = max((mark.position for mark in marks), default=0)
        expected = max(relayed, marked, self.top)
        self._there += bytes(max(0, expected + 1 - len(self._there)))
        at = self._there.find(0, 1, expected + 1)
        while at != -1:
            end = self._there.find(1, at)
            end = expected + 1 if end == -1 or end > expected else end
            what = f"position {at} is missing" if end == at + 1 else f"positions {at} to {end - 1} are missing"
            tail = ": the tail was cut" if end == expected + 1 else ""
            self._findings.add(topic, f"{what}, though they were published{tail}")
            at = self._there.find(0, end, expected + 1)


class LoneTopicCheck:
    """A topic's records, each partition's in its order, where there is no store to judge them by: each by its own hash
    and headers, its stream's chain and its partition, repeats against the first of them, the whole against anchors.

    `records` is how many there are. A sound topic has no position above that, so the notes of positions up to there are
    dense; those above are kept one by one, so that a record that claims a huge one costs nothing."""

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
        where = location(raw)
        try:
            event = own_event(raw, self._service)
        except Unreadable as why:
            self._findings.add(where, str(why))
            return
        envelope, position = event.envelope, event.envelope.position or 0
        what = f"position {position} ({envelope.stream} version {envelope.version})"
        if partition_of(envelope.stream, self._partitions) != raw.partition:
            self._findings.add(where, f"{what} belongs into another partition")
        if [*raw.headers] != to_headers(envelope):
            self._findings.add(where, f"{what} has other headers than its attributes make")
        note, before = note_of(event), self._noted(position)
        if before is None:
            if self._first(where, what, raw.partition, event) or position <= self._size:
                self._note(position, note)
        elif before == note:
            self.repeats += 1
        else:
            differs = "by another event" if before[:_HASH] != envelope.hash else "for another command"
            self._findings.add(where, f"{what} is no repeat: this position was taken before, {differs}")

    def _noted(self, position: int) -> bytes | None:
        if position > self._size:
            return self._sparse.get(position)
        found = bytes(self._dense[position * _NOTE : (position + 1) * _NOTE])
        return found if any(found) else None

    def _note(self, position: int, note: bytes) -> None:
        if position > self._size:
            self._sparse[position] = note
        else:
            self._dense[position * _NOTE : (position + 1) * _NOTE] = note
        self.events += 1
        self.top = max(self.top, position)

    def _first(self, where: str, what: str, partition: int, event: StoredEvent) -> bool:
        """Judge the first record of a position: within its partition and its stream it comes in order, without a gap.
        Answers whether it continues its stream. One that does not, and has a higher position than there are records, is
        no event: the topic does not reach that far."""
        envelope, last = event.envelope, self._last.get(partition, 0)
        head, version = self._heads.get(envelope.stream, Head()), envelope.version or 0
        follows = (version, envelope.prevhash) == (head.version + 1, head.hash)
        if (envelope.position or 0) < last:
            self._findings.add(where, f"{what} comes after position {last}")
        if follows or (envelope.position or 0) <= self._size:
            self._last[partition] = envelope.position or 0  # not the highest: one wrong position is one finding
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
        """The runs of positions, from 1 to the highest, of which there is no record."""
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
        """At the end: no position is missing, and every anchor fits."""
        topic, gaps = topic_of(self._service), self.missing()
        for first, last in gaps:
            what = f"position {first} is missing" if first == last else f"positions {first} to {last} are missing"
            self._findings.add(topic, f"{what}, though later ones are there")
        whole = gaps[0][0] - 1 if gaps else self.top  # a chain reaches no further than to the first gap
        by_position = sorted(set(marks), key=lambda mark: mark.position)  # topic and file hold the same ones
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
                f"the tail was cut: an anchor of {mark.time} says that position {mark.position} existed, the last here "
                f"is {self.top}",
            )

    def _anchored(self, topic: str, mark: Anchor, at: int) -> None:
        if mark.position == at and mark.chain != self.chain:
            self._findings.add(
                f"{topic}, positions 1 to {at}",
                f"the chain is not the one that an anchor of {mark.time} says: something there was rewritten",
            )


@dataclass(kw_only=True, slots=True)
class Report:
    """What `verify` looked at, and what it found."""

    service: str
    findings: Findings
    events: int = 0
    batches: int = 0
    records: int = 0
    repeats: int = 0
    """Records that were there before, byte for byte: a relay that starts again leaves some. Counted without a store."""
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
    """Judges a service's store, its topic and its anchors, while it runs or not; changes nothing. Snapshots are held
    against the events of these `streams`. Raises the driver's error when the database can't be reached, KafkaError when
    Kafka can't and `topic` is asked for.

    The order of the looks keeps what is added meanwhile from being taken for a fault: whatever is anchored or relayed
    is in the topic by the time that its ends are taken, and whatever is in the topic then is in the store afterwards.
    """
    report = Report(service=service, findings=Findings(service))
    marks, strange = anchors.from_file(anchor_folder, service)
    if topic:
        more, stranger = await anchors.from_topic(access, service)
        marks, strange = marks + more, strange + stranger
    report.anchors = len(marks)
    for line in strange:
        report.findings.add("anchors", line)
    check = StoreCheck(report.findings, marks)
    async with AsyncExitStack() as stack:
        db = await asyncpg.connect(dsn)
        stack.push_async_callback(db.close)
        relayed: int = await db.fetchval(SQL["relayed"], f"relay:{topic_of(service)}")
        reader = await stack.enter_async_context(TopicReader(topic_of(service), access)) if topic else None
        await _check_store(report, check, db, streams, progress)
        if reader is not None:
            judged = TopicCheck(report.findings, service, len(reader.ends), check.notes)
            await _read_on(report, judged, reader, dict(reader.starts), progress)
            judged.complete(relayed, marks)
    return report


async def _check_store(
    report: Report, check: StoreCheck, db: Any, streams: Sequence[Stream[Any, Any, Any]], progress: ReportProgress
) -> None:
    """Reads it as of one moment, in batches."""
    store = PostgresStore("", report.service)
    async with db.transaction(isolation="repeatable_read", readonly=True):
        head = await db.fetchrow(SQL["head"])
        batches = await db.fetch(SQL["batches"])
        due = 0
        async for events in store.all_events(db, AT_ONCE):
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
        async for place_, what in altered(db, lambda name: store.of_streams(db, [name]), streams):
            report.findings.add(place_, what)
    report.batches, report.head, report.chain = len(batches), head["position"], head["chain"]


def _other_command(row: Any) -> tuple[str, str]:
    """The place and the words of a row of `commands`."""
    command = f"store, command {row['id']}"
    made = _versions(row["stream"], row["first"], row["count"])
    kept = _versions(row["kept_stream"], row["kept_first"], row["kept_count"])
    if row["kept_count"] is None:
        return f"store, position {row['position']} ({made})", f"the store does not know its command, {row['id']}"
    if row["count"] is None:
        return command, f"it is said to have made {kept}, and no event names it"
    return command, f"it is said to have made {kept}, and {made} name it, from position {row['position']} on"


def _versions(stream: str | None, first: int | None, count: int | None) -> str:
    if not count:
        return "nothing"
    begin = (first or 0) + 1
    return f"{stream} version {begin}" + (f" to {begin + count - 1}" if count > 1 else "")


async def verify_topic(
    service: str, access: KafkaAccess, *, anchor_folder: Path | None = None, progress: ReportProgress = silent
) -> Report:
    """Judges a service's topic and its anchors without its store; changes nothing. Raises KafkaError when Kafka can't
    be reached. What was never published, and whether the store holds the same, it can't know.

    A relay sends to all partitions at once, so that a look may find a position and, for a moment, not the one before it
    in another partition: what is missing is looked for again before it is a finding."""
    report = Report(service=service, findings=Findings(service))
    marks, strange = anchors.from_file(anchor_folder, service)
    more, stranger = await anchors.from_topic(access, service)
    marks += more
    report.anchors = len(marks)
    for line in strange + stranger:
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
    while batches := await reader.read(at, at):
        for raw in (raw for raws in batches.values() for raw in raws):
            check.record(raw)
            report.records += 1
        progress("topic", report.records, max(reader.records, report.records))
