"""`tenure topics` and `tenure tail`: the topics in Kafka, and their records."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from cli.app import Result, verb
from cli.context import EVENT_TOPICS, Context, topics_of_the_system
from cli.exit_codes import NOT_FOUND, OperatorError
from cli.inbound import arrived
from cli.options import Since, Until
from cli.output import Output, count, sandbox_mark, when
from cli.sentences import say
from shared.events.envelope import Envelope, Unreadable, from_headers, stamp
from shared.events.registry import is_inbound, topic_of, topics_read
from shared.events.structured import in_binary_mode
from shared.services import SERVICES


@verb("topics", fails_when="a topic is missing")
async def list_topics(context: Context, output: Output) -> Result:
    """List the topics of the system with partitions, records and newest record."""
    kafka, there = await context.kafka(), await context.partitions()
    rows, found, missing = [], [], []
    for topic in topics_of_the_system(there):
        numbers = [TopicPartition(topic, n) for n in there.get(topic, ())]
        if not numbers:
            missing.append(topic)
            continue
        begins, ends = await kafka.beginning_offsets(numbers), await kafka.end_offsets(numbers)
        held, newest = sum(ends[p] - begins[p] for p in numbers), await _newest(kafka, begins, ends)
        rows.append((topic, len(numbers), f"{held:,}", "" if newest is None else when(newest)))
        found.append({"topic": topic, "partitions": len(numbers), "records": held, "newest": newest})
    output.table(("topic", ">partitions", ">records", "newest"), rows)
    for topic in missing:
        output.line(say("%(topic)s is missing: run `python -m deploy.topics` to create it.", topic=topic))
    return Result({"topics": found, "missing": missing}, ok=not missing)


async def _newest(kafka: AIOKafkaConsumer, begins: Any, ends: Any) -> datetime | None:
    """Return the time of the newest record of these partitions."""
    waiting = [p for p in ends if ends[p] > begins[p]]
    if not waiting:
        return None
    kafka.assign(waiting)
    for partition in waiting:
        kafka.seek(partition, ends[partition] - 1)
    latest, deadline = 0.0, time.monotonic() + 3
    while waiting and time.monotonic() < deadline:
        for partition, records in (await kafka.getmany(*waiting, timeout_ms=300)).items():
            if records:
                latest = max(latest, records[-1].timestamp / 1000)
                waiting.remove(partition)
    return datetime.fromtimestamp(latest, UTC) if latest else None


# ── tail ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """Criteria for the events to show; an event has to meet all of them."""

    types: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, envelope: Envelope) -> bool:
        return (
            (not self.types or envelope.type in self.types)
            and (not self.streams or envelope.stream in self.streams)
            and (self.tenant is None or envelope.tenant == self.tenant)
            and (self.since is None or envelope.time >= self.since)
            and (self.until is None or envelope.time <= self.until)
        )


def topics_named(names: Sequence[str], existing: Iterable[str] = ()) -> list[str]:
    """Return the topics of these names, which are topics or the services that publish them.

    Without names, all topics with events are returned, of the publishers' own topics those in `existing`.

    Raises:
        OperatorError: There is no such topic.
    """
    found = [topic_of(name) if name in SERVICES else name for name in names]
    unknown = [name for name in found if name not in topics_of_the_system(existing)]
    if unknown:
        raise OperatorError(f"There is no topic {unknown[0]}; `tenure topics` lists the topics.", NOT_FOUND)
    return found or topics_read(EVENT_TOPICS, existing)


def read(record: ConsumerRecord) -> Envelope | str:
    """Return a record's envelope, or why it can't be read."""
    try:
        headers, _ = in_binary_mode(record.headers, record.value)
        return from_headers(headers, record.key, arrived(record) if is_inbound(record.topic) else None)
    except Unreadable as problem:
        return str(problem)


def as_data(record: ConsumerRecord, envelope: Envelope | str) -> dict[str, Any]:
    at = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    if isinstance(envelope, str):
        return {**at, "unreadable": envelope}
    try:
        data: Any = orjson.loads(in_binary_mode(record.headers, record.value)[1] or b"null")
    except ValueError:
        data = (record.value or b"").decode(errors="replace")
    event = {
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "stream": envelope.stream,
        "version": envelope.version,
        "position": envelope.position,
        "time": stamp(envelope.time),
        "actor": envelope.actor,
        "tenant": envelope.tenant,
        "sandbox": envelope.sandbox or None,
        "correlation": envelope.correlation_id,
        "causation": envelope.causation_id,
    }
    return {**at, **{name: value for name, value in event.items() if value not in ("", None)}, "data": data}


def show_record(output: Output, record: ConsumerRecord, envelope: Envelope | str, data: bool) -> None:
    if output.json:
        output.record(as_data(record, envelope))
    elif isinstance(envelope, str):
        output.line(f"{record.topic}/{record.partition}/{record.offset} can't be read: {envelope}")
    else:
        version = "" if envelope.version is None else f"@{envelope.version}"
        at = f"{envelope.time.astimezone(UTC):%H:%M:%S.%f}"[:12]
        output.line(f"{at} {envelope.type} {envelope.stream}{version}{sandbox_mark(envelope)}")
        if data:
            output.line(f"    {envelope.id} by {envelope.actor or envelope.source}")
            output.line(f"    {(record.value or b'').decode(errors='replace')}")


@verb(
    "tail", not_served="It follows the topics without end: GET /live/{topic} and GET /feed/{topic} of the console do."
)
async def show_events(
    context: Context,
    output: Output,
    topic: Annotated[
        list[str] | None, typer.Argument(help="Topics, or the services that publish them. Default: all of events.")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; may be repeated.")
    ] = None,
    stream: Annotated[list[str] | None, typer.Option(help="Only events of this stream; may be repeated.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only events of this organisation.")] = None,
    since: Since = None,
    until: Until = None,
    last: Annotated[
        int, typer.Option("-n", "--last", metavar="N", help="Without --since: begin with about the last N records.")
    ] = 10,
    follow: Annotated[bool, typer.Option(help="Continue with new records until Ctrl-C.")] = True,
    data: Annotated[bool, typer.Option("--data", help="Also show the events' data.")] = False,
) -> Result:
    """Show events from Kafka as they arrive.

    With --json, each event is one line."""
    event_filter = Filter(
        types=frozenset(type_ or ()), streams=frozenset(stream or ()), tenant=tenant, since=since, until=until
    )

    kafka, there = await context.kafka(), await context.partitions()
    partitions = [TopicPartition(t, n) for t in topics_named(topic or (), there) for n in there.get(t, ())]
    if not partitions:
        raise OperatorError("None of these topics exists; `tenure topics` lists the topics.", NOT_FOUND)
    kafka.assign(partitions)
    ends = await _begin(kafka, partitions, since, last)
    tally = Tally()
    try:
        await _follow(kafka, output, event_filter, None if follow and until is None else ends, data, tally)
    except asyncio.CancelledError:  # Ctrl-C ends the verb as intended
        pass
    finally:
        output.note(
            f"{tally.shown:,} shown, of {count(tally.read, 'record')} read in {count(len(partitions), 'partition')}."
        )
    return Result(None)


@dataclass(slots=True)
class Tally:
    """The numbers of records read and shown."""

    read: int = 0
    shown: int = 0


async def _begin(
    kafka: AIOKafkaConsumer, partitions: Sequence[TopicPartition], since: datetime | None, last: int
) -> dict[TopicPartition, int]:
    """Seek to the first records to show, and return the current end offsets."""
    begins, ends = await kafka.beginning_offsets(partitions), await kafka.end_offsets(partitions)
    firsts = dict(begins)
    if since is not None:
        found = await kafka.offsets_for_times(dict.fromkeys(partitions, int(since.timestamp() * 1000)))
        firsts = {p: ends[p] if found.get(p) is None else found[p].offset for p in partitions}
    else:
        each = -(-last // len(partitions))
        firsts = {p: max(begins[p], ends[p] - each) for p in partitions}
    for partition, offset in firsts.items():
        kafka.seek(partition, offset)
    return {p: end for p, end in ends.items() if firsts[p] < end}


async def _follow(
    kafka: AIOKafkaConsumer,
    output: Output,
    event_filter: Filter,
    ends: dict[TopicPartition, int] | None,
    data: bool,
    tally: Tally,
) -> None:
    """Show the records that match; without end if `ends` is None."""
    left = None if ends is None else dict(ends)
    while left is None or left:
        batches = await kafka.getmany(timeout_ms=300)
        records = [record for batch in batches.values() for record in batch]
        for record in sorted(records, key=lambda r: (r.timestamp, r.topic, r.partition, r.offset)):
            partition = TopicPartition(record.topic, record.partition)
            if left is not None and (partition not in left or record.offset >= left[partition]):
                continue
            tally.read += 1
            envelope = read(record)
            if (event_filter == Filter()) if isinstance(envelope, str) else event_filter.matches(envelope):
                tally.shown += 1
                show_record(output, record, envelope, data)
        if left is not None:
            positions = [(p, await kafka.position(p)) for p in list(left)]
            for partition, position in positions:
                if position >= left[partition]:
                    del left[partition]
