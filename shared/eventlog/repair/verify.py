"""Verification of a log: the hashes of its store, topic and anchors are compared.

`StoreCheck`, `TopicCheck`, `Presence` and, if there is no store, `LoneTopicCheck` contain all the checks and are pure.
`verify_parts` reads what they check, in parts; `verify_workers` does so in several processes; `verifying` has the whole
course, and `verified` keeps it. What each check detects:

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
from shared.eventlog.repair.lone_topic import LoneTopicCheck
from shared.eventlog.repair.topic import ReportProgress, TopicReader, silent
from shared.eventlog.repair.verified import Sound, kept
from shared.eventlog.repair.verify_workers import workers as started
from shared.eventlog.repair.verifying import Verification
from shared.events.envelope import GENESIS
from shared.events.registry import topic_of
from shared.sql import statements

SQL: Final = statements(__file__)
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
    since: int = 0
    """The position up to which the store was not read, as it was sound before."""
    sound_before: Sound | None = None
    """What is known of the part that was not read."""
    continued: int = 0
    """The position from which a verification that was stopped went on."""
    began: str = ""
    """When it began, before it was stopped."""
    disregarded: int = 0
    """A position of which something was kept that the store contradicts, so that it was disregarded."""

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
    workers: int = 1,
    keep: bool = False,
    since_last: bool = False,
    anew: bool = False,
) -> Report:
    """Verify a service's store, its topic and its anchors, and change nothing in them.

    The service may run. Events that are added meanwhile cause no findings, because of the order of the reads: what is
    anchored or relayed is in the topic by the time that its ends are read, and what is in the topic then is in the
    store afterwards.

    Args:
        streams: the streams whose snapshots are compared with their events.
        topic: whether to verify the topic.
        workers: the highest number of processes that check; with one, this process does.
        keep: whether to keep, beside the anchors, how far it has come and up to where the log is sound. A verification
            that was stopped is then continued.
        since_last: whether to check only what came after the last sound verification. If nothing that can be relied on
            is known of it, everything is checked.
        anew: whether to forget a verification that was stopped, and begin again.

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
    async with AsyncExitStack() as stack:
        notes = stack.enter_context(kept(anchor_folder if keep else None, service))
        db = await asyncpg.connect(dsn)
        stack.push_async_callback(db.close)
        relayed: int = await db.fetchval(SQL["relayed"], f"relay:{topic_of(service)}")
        verification = Verification(service, db, notes, marks, relayed, progress)
        if topic:
            async with TopicReader(topic_of(service), access) as reader:
                await verification.begin(reader, since_last=since_last, anew=anew)
        else:
            await verification.begin(None, since_last=since_last, anew=anew)
        number = verification.workers(workers)
        checkers = await stack.enter_async_context(started(number, service, dsn, access))
        await verification.check_store(checkers, streams)
        if topic:
            await verification.check_topic(checkers)
        report.findings.include(verification.run.findings)
        verification.end(sound=report.sound)
    run = verification.run
    report.events, report.batches, report.records = run.events, run.batches, run.records
    report.head, report.chain = verification.head
    report.since, report.sound_before = run.since, verification.before
    report.continued, report.began, report.disregarded = verification.continued, run.began, verification.disregarded
    return report


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
    check: LoneTopicCheck,
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
