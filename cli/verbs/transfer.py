"""`tenure export` and `tenure import`: events as CloudEvents in JSON, one a line."""

import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition

from cli import cloudevents
from cli.app import Planned, Result, change, verb
from cli.context import Context, service_named
from cli.event_search import SKEW, FoundEvent, first_position_at, head, stored
from cli.exit_codes import NOT_FOUND, REFUSED, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.options import Since, Until
from cli.output import Counter, Output, count
from shared.events.envelope import Unreadable
from shared.events.registry import EVENTS, INBOUND
from shared.events.upcasts import decode
from shared.sql import statements

SQL: Final = statements(__file__)

AT_ONCE: Final = 1_000
_READ_BACK_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFilter:
    """Criteria for the events of a store; an event has to meet all of them."""

    first: int = 1
    last: int | None = None
    types: Sequence[str] = ()
    stream: str | None = None
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def span(db: Any, event_filter: EventFilter) -> tuple[int, int]:
    """Return the first and the last position to read."""
    newest = await head(db)
    first, last = max(1, event_filter.first), newest if event_filter.last is None else min(newest, event_filter.last)
    if event_filter.since is not None:
        first = max(first, await first_position_at(db, event_filter.since - SKEW))
    if event_filter.until is not None:
        last = min(last, await first_position_at(db, event_filter.until + SKEW))
    return first, last


async def events(
    db: Any, service: str, event_filter: EventFilter, first: int, last: int
) -> AsyncIterator[list[FoundEvent]]:
    """Yield the selected events in order; each batch covers AT_ONCE positions and may be empty."""
    for low in range(first, last + 1, AT_ONCE):
        rows = await db.fetch(
            SQL["chosen"],
            low,
            min(last, low + AT_ONCE - 1),
            list(event_filter.types),
            event_filter.stream,
            event_filter.tenant,
            event_filter.since,
            event_filter.until,
        )
        yield [FoundEvent(service, *stored(service, row)) for row in rows]


def known_types(names: Sequence[str] | None) -> Sequence[str]:
    if unknown := [name for name in names or () if name not in EVENTS]:
        raise OperatorError(f"There is no event type {unknown[0]}.", NOT_FOUND)
    return names or ()


@contextmanager
def _to(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with Path(file).open("xb") as opened:
            yield opened
    except FileExistsError:
        raise OperatorError(f"{file} exists already: name another file, or remove it.", REFUSED) from None
    except OSError as error:
        raise OperatorError(f"{file} can't be written: {error.strerror}.", REFUSED) from error


@verb(
    "export",
    json_help="With --out, print a summary in JSON at the end.",
    not_served="It writes a file on the machine where it runs.",
)
async def export_events(
    context: Context,
    output: Output,
    service: Annotated[str, typer.Argument(help="The service whose events to write.")],
    out: Annotated[str, typer.Option("-o", "--out", help="A new file; - for standard output.")] = "-",
    first: Annotated[int, typer.Option("--from", help="Only from this position on.")] = 1,
    last: Annotated[int | None, typer.Option("--to", help="Only up to this position.")] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; may be repeated.")
    ] = None,
    stream: Annotated[str | None, typer.Option(help="Only events of this stream.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only events of this organisation.")] = None,
    since: Since = None,
    until: Until = None,
) -> Result:
    """Write a store's events as CloudEvents in JSON, one a line.

    Personal fields stay sealed."""
    event_filter = EventFilter(
        first=first, last=last, types=known_types(type_), stream=stream, tenant=tenant, since=since, until=until
    )
    db = await context.db(service_named(service))
    low, high = await span(db, event_filter)
    written = 0
    with _to(out) as file, output.progress(f"export {service}", max(0, high - low + 1)) as counter:
        async for batch in events(db, service, event_filter, low, high):
            file.writelines(cloudevents.to_line(found) + b"\n" for found in batch)
            written += len(batch)
            counter(min(AT_ONCE, high - low + 1))
    looked = max(0, high - low + 1)
    output.note(f"{count(written, 'event')} written, of {looked:,} read, positions {low:,} to {high:,}.")
    if out == "-":
        return Result(None)
    return Result({"service": service, "written": written, "looked_at": looked, "from": low, "to": high, "file": out})


# ── import ─────────────────────────────────────────────────────────────────────────────────────────────


def _lines(file: str) -> list[tuple[int, bytes]]:
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise OperatorError(f"{file} can't be read: {error.strerror}.", NOT_FOUND) from error
    return [(number, each) for number, each in enumerate(text.splitlines(), start=1) if each.strip()]


def checked(lines: Sequence[tuple[int, bytes]]) -> tuple[list[cloudevents.KafkaRecord], list[str]]:
    """Return the valid lines as records, and the errors of the others.

    An event of a known type has to match its model.
    """
    good, bad = [], []
    for number, text in lines:
        try:
            each = cloudevents.parse_line(text)
            decode(each.envelope, each.value)
        except Unreadable as problem:
            bad.append(f"line {number}: {problem}")
        else:
            good.append(each)
    return good, bad


@change(
    "import",
    if_cancelled="What was written stays. Another run writes all of it again, and repeated events have no effect.",
    not_served="It reads a file of the machine where it runs.",
)
async def import_events(
    context: Context,
    file: Annotated[str, typer.Argument(help="A file of CloudEvents in JSON, one a line; - for standard input.")],
) -> Planned:
    """Write a publisher's events to the inbound topic.

    If a line of the file is invalid, none is written. A repeated event has no further effect."""
    lines = _lines(file)
    good, bad = checked(lines)
    if bad:
        examples = "; ".join(bad[:3])
        raise OperatorError(
            f"{count(len(bad), 'line')} of {len(lines):,} can't be imported, so nothing is imported. {examples}.",
            REFUSED,
        )
    by_type: dict[str, int] = {}
    for each in good:
        by_type[each.envelope.type] = by_type.get(each.envelope.type, 0) + 1
    sources = sorted({each.envelope.source for each in good})
    summary = [f"{INBOUND} would get {count(number, name + ' event')}." for name, number in sorted(by_type.items())]
    summary += [f"Sources: {', '.join(sources[:5])}. {count(len(lines), 'line')} read."] if sources else []
    arguments = [f"topic={INBOUND}", f"events={len(good)}", *(f"source={source}" for source in sources[:20])]
    data = {"types": by_type, "sources": sources, "looked_at": len(lines)}

    async def apply(operation: Operation) -> Outcome:
        return await send(context, INBOUND, in_batches(good), operation.counter)

    return ChangePlan(
        service="identity",
        arguments=arguments,
        total=len(good),
        thing="event",
        summary=summary,
        data=data,
        apply=apply,
    )


async def in_batches(records: Sequence[cloudevents.KafkaRecord]) -> AsyncIterator[Sequence[cloudevents.KafkaRecord]]:
    for low in range(0, len(records), AT_ONCE):
        yield records[low : low + AT_ONCE]


async def send(
    context: Context, topic: str, batches: AsyncIterator[Sequence[cloudevents.KafkaRecord]], counter: Counter
) -> Outcome:
    """Send the records in order, then read them back from their offsets and compare them."""
    if topic not in await context.partitions():
        raise OperatorError(f"There is no topic {topic}, and this command does not create topics.", NOT_FOUND)
    writer, reader = await context.producer(), await context.kafka()
    spans: dict[int, tuple[int, int]] = {}
    sent = other = 0
    async for batch in batches:
        sends = [await writer.send(topic, each.value, key=each.key or None, headers=each.headers) for each in batch]
        placed = {}
        for each, promise in zip(batch, sends, strict=True):
            at = await promise
            placed[at.partition, at.offset] = each
            first, last = spans.get(at.partition, (at.offset, at.offset))
            spans[at.partition] = min(first, at.offset), max(last, at.offset)
        other += await _differing(reader, topic, placed)
        sent += len(batch)
        counter(len(batch))
    where = ", ".join(f"{n}: {first} to {last}" for n, (first, last) in sorted(spans.items()))
    summary = [
        f"{count(sent, 'event')} acknowledged by Kafka.",
        f"Read back from {topic}, partition and offsets {where}: "
        + (f"{other:,} of them are NOT as they were sent." if other else "all identical, byte for byte."),
    ]
    return Outcome(not other, summary, {"sent": sent, "not_there": other, "offsets": dict(sorted(spans.items()))})


async def _differing(
    reader: AIOKafkaConsumer, topic: str, placed: Mapping[tuple[int, int], cloudevents.KafkaRecord]
) -> int:
    """Count the records that are not at their offsets with the same key, headers and value."""
    waiting = dict(placed)
    partitions = {TopicPartition(topic, n) for n, _ in waiting}
    reader.assign(list(partitions))
    for at in partitions:
        reader.seek(at, min(offset for n, offset in waiting if n == at.partition))
    deadline = time.monotonic() + _READ_BACK_TIMEOUT_S
    wrong = 0
    while waiting and time.monotonic() < deadline:
        for records in (await reader.getmany(timeout_ms=500)).values():
            for record in records:
                each = waiting.pop((record.partition, record.offset), None)
                if each is not None:
                    read = (record.key or b"", [*record.headers], record.value)
                    wrong += read != (each.key, [*each.headers], each.value)
    return wrong + len(waiting)
