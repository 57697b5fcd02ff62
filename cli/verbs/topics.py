"""`tenure topics` and `tenure tail`: what Kafka holds, and what comes by."""

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
from cli.context import EVENT_TOPICS, TOPICS, Context
from cli.exit_codes import NOT_FOUND, OperatorError
from cli.options import Since, Until
from cli.output import Output, count, when
from shared.events.envelope import Envelope, Unreadable, from_headers, stamp
from shared.events.registry import topic_of, topics_read
from shared.services import SERVICES


@verb("topics", fails_when="one is missing")
async def list_topics(context: Context, output: Output) -> Result:
    """List the topics of the contract: partitions, records, the newest."""
    kafka, there = await context.kafka(), await context.partitions()
    rows, found, missing = [], [], []
    for topic in topics_read(TOPICS, there):
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
        output.line(f"{topic} is missing: `python -m deploy.topics` makes it.")
    return Result({"topics": found, "missing": missing}, ok=not missing)


async def _newest(kafka: AIOKafkaConsumer, begins: Any, ends: Any) -> datetime | None:
    """When the last record of these partitions came."""
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
    """Which events are shown: all that say yes to everything given."""

    types: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, envelope: Envelope) -> bool:
        return (
            (not self.types or envelope.type in self.types)
            and (not self.streams or envelope.stream in self.streams)
            and (self.tenant is None or envelope.tenant == self.tenant)
            and (self.since is None or envelope.time >= self.since)
            and (self.until is None or envelope.time <= self.until)
        )


def named(names: Sequence[str], existing: Iterable[str] = ()) -> list[str]:
    """Topics by name, or by the service that publishes them. All that hold events when none is named; of publishers'
    own topics those that exist."""
    found = [topic_of(name) if name in SERVICES else name for name in names]
    unknown = [name for name in found if name not in topics_read(TOPICS, existing)]
    if unknown:
        raise OperatorError(f"There is no topic {unknown[0]}: `tenure topics` lists them.", NOT_FOUND)
    return found or topics_read(EVENT_TOPICS, existing)


def read(record: ConsumerRecord) -> Envelope | str:
    """A record's envelope, or why it has none."""
    try:
        return from_headers(record.headers, record.key)
    except Unreadable as problem:
        return str(problem)


def as_data(record: ConsumerRecord, envelope: Envelope | str) -> dict[str, Any]:
    at = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    if isinstance(envelope, str):
        return {**at, "unreadable": envelope}
    try:
        data: Any = orjson.loads(record.value or b"null")
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
        output.line(
            f"{envelope.time.astimezone(UTC):%H:%M:%S.%f}"[:12] + f" {envelope.type} {envelope.stream}{version}"
        )
        if data:
            output.line(f"    {envelope.id} by {envelope.actor or envelope.source}")
            output.line(f"    {(record.value or b'').decode(errors='replace')}")


@verb("tail")
async def show_events(
    context: Context,
    output: Output,
    topic: Annotated[
        list[str] | None, typer.Argument(help="Topics, or services for their own; all by default.")
    ] = None,
    type_: Annotated[list[str] | None, typer.Option("--type", help="Only these types.")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="Only these streams.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this organisation's.")] = None,
    since: Since = None,
    until: Until = None,
    last: Annotated[int, typer.Option("-n", "--last", help="Without --since: begin about so many records back.")] = 10,
    follow: Annotated[bool, typer.Option(help="Go on with what comes, until Ctrl-C.")] = True,
    data: Annotated[bool, typer.Option("--data", help="Show the events' data, too.")] = False,
) -> Result:
    """Show events as they come by, live. --json writes one a line."""
    wanted = Filter(
        types=frozenset(type_ or ()), streams=frozenset(stream or ()), tenant=tenant, since=since, until=until
    )

    kafka, there = await context.kafka(), await context.partitions()
    places = [TopicPartition(t, n) for t in named(topic or (), there) for n in there.get(t, ())]
    if not places:
        raise OperatorError("None of these topics is there: `tenure topics` says which are.", NOT_FOUND)
    kafka.assign(places)
    ends = await _begin(kafka, places, since, last)
    tally = Tally()
    try:
        await _follow(kafka, output, wanted, None if follow and until is None else ends, data, tally)
    except asyncio.CancelledError:  # Ctrl-C is how one stops looking
        pass
    finally:
        output.note(
            f"Looked at {count(tally.looked, 'record')} of {count(len(places), 'partition')}, showed {tally.shown:,}."
        )
    return Result(None)


@dataclass(slots=True)
class Tally:
    """How much was looked at, and how much of it was shown."""

    looked: int = 0
    shown: int = 0


async def _begin(
    kafka: AIOKafkaConsumer, places: Sequence[TopicPartition], since: datetime | None, last: int
) -> dict[TopicPartition, int]:
    """Seeks to where to begin; returns the ends as they are now."""
    begins, ends = await kafka.beginning_offsets(places), await kafka.end_offsets(places)
    firsts = dict(begins)
    if since is not None:
        found = await kafka.offsets_for_times(dict.fromkeys(places, int(since.timestamp() * 1000)))
        firsts = {p: ends[p] if found.get(p) is None else found[p].offset for p in places}
    else:
        each = -(-last // len(places))
        firsts = {p: max(begins[p], ends[p] - each) for p in places}
    for partition, offset in firsts.items():
        kafka.seek(partition, offset)
    return {p: end for p, end in ends.items() if firsts[p] < end}


async def _follow(
    kafka: AIOKafkaConsumer,
    output: Output,
    wanted: Filter,
    ends: dict[TopicPartition, int] | None,
    data: bool,
    tally: Tally,
) -> None:
    """Shows what is wanted; up to these ends where there are any."""
    left = None if ends is None else dict(ends)
    while left is None or left:
        batches = await kafka.getmany(timeout_ms=300)
        records = [record for batch in batches.values() for record in batch]
        for record in sorted(records, key=lambda r: (r.timestamp, r.topic, r.partition, r.offset)):
            partition = TopicPartition(record.topic, record.partition)
            if left is not None and (partition not in left or record.offset >= left[partition]):
                continue
            tally.looked += 1
            envelope = read(record)
            if (wanted == Filter()) if isinstance(envelope, str) else wanted.takes(envelope):
                tally.shown += 1
                show_record(output, record, envelope, data)
        if left is not None:
            positions = [(p, await kafka.position(p)) for p in list(left)]
            for partition, position in positions:
                if position >= left[partition]:
                    del left[partition]
