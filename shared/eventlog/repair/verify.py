"""Verification of a log: the hashes of its store, topic and anchors are compared.

`StoreCheck`, `TopicCheck` and, if there is no store, `LoneTopicCheck` contain all the checks and are pure; the readers
are below. What each check detects:

- A stream's chain: a changed, removed or swapped event.
- Dense positions: a removed event.
- The head's chain: two swapped events, and a cut tail.
- The topic compared with the store: events that are missing, added or rewritten in either.
- Anchors: a store or a topic that was cut or rewritten as a whole, with its chains.

Command ids are not hashed: the topic's are compared with the store's, and the store's with the commands that it knows.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.received import Raw
from shared.eventlog.repair import anchors
from shared.eventlog.repair.ahead import ahead
from shared.eventlog.repair.collecting import rare_collections
from shared.eventlog.repair.findings import Findings
from shared.eventlog.repair.store_check import StoreCheck
from shared.eventlog.repair.topic import ReportProgress, TopicReader, silent
from shared.eventlog.repair.topic_check import LoneTopicCheck, TopicCheck
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.snapshots import altered
from shared.events.envelope import GENESIS
from shared.events.registry import topic_of
from shared.sql import statements

SQL: Final = statements(__file__)

AT_ONCE: Final = 5_000
_SETTLES_S: Final = 1.0
_SETTLES_TIMES: Final = 5


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
