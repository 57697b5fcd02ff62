"""`tenure export` and `tenure import`: events as CloudEvents, a JSON line each."""

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
from cli.context import Context
from cli.event_search import SKEW, Found, first_at, head, stored
from cli.exit_codes import NOT_FOUND, REFUSED, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.options import Since, Until
from cli.output import Counter, Output, count
from shared.events.envelope import Unreadable
from shared.events.registry import EVENTS, INBOUND
from shared.events.upcasts import decode
from shared.services import SERVICES
from shared.sql import statements

SQL: Final = statements(__file__)

AT_ONCE: Final = 1_000
_READ_AGAIN_S: Final = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Which events of a store: those that every part that is given takes."""

    first: int = 1
    last: int | None = None
    types: Sequence[str] = ()
    stream: str | None = None
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def span(db: Any, chosen: Chosen) -> tuple[int, int]:
    """The first and the last position to look at."""
    newest = await head(db)
    first, last = max(1, chosen.first), newest if chosen.last is None else min(newest, chosen.last)
    if chosen.since is not None:
        first = max(first, await first_at(db, chosen.since - SKEW))
    if chosen.until is not None:
        last = min(last, await first_at(db, chosen.until + SKEW))
    return first, last


async def events(db: Any, service: str, chosen: Chosen, first: int, last: int) -> AsyncIterator[list[Found]]:
    """The chosen events, in order, in batches of so many positions; a batch may be empty."""
    for low in range(first, last + 1, AT_ONCE):
        rows = await db.fetch(
            SQL["chosen"],
            low,
            min(last, low + AT_ONCE - 1),
            list(chosen.types),
            chosen.stream,
            chosen.tenant,
            chosen.since,
            chosen.until,
        )
        yield [Found(service, *stored(service, row)) for row in rows]


def service_named(name: str) -> str:
    if name not in SERVICES:
        raise OperatorError(f"There is no service {name}: they are {', '.join(SERVICES)}.", NOT_FOUND)
    return name


def known_types(names: Sequence[str] | None) -> Sequence[str]:
    if unknown := [name for name in names or () if name not in EVENTS]:
        raise OperatorError(f"No event of the contract has the type {unknown[0]}.", NOT_FOUND)
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
        raise OperatorError(f"{file} is there already: name another file, or remove it.", REFUSED) from None
    except OSError as error:
        raise OperatorError(f"{file} can't be written: {error.strerror}.", REFUSED) from error


@verb("export", json_help="Say at the end how much it was, in JSON, where the events go to a file.")
async def export_events(
    context: Context,
    output: Output,
    service: Annotated[str, typer.Argument(help="Whose events.")],
    out: Annotated[str, typer.Option("-o", "--out", help="A new file; - is standard output.")] = "-",
    first: Annotated[int, typer.Option("--from", help="From this position.")] = 1,
    last: Annotated[int | None, typer.Option("--to", help="Up to this position.")] = None,
    type_: Annotated[list[str] | None, typer.Option("--type", help="Only these types.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this organisation's.")] = None,
    since: Since = None,
    until: Until = None,
) -> Result:
    """Write a store's events as CloudEvents in JSON, one a line. Personal fields stay sealed."""
    chosen = Chosen(
        first=first, last=last, types=known_types(type_), stream=stream, tenant=tenant, since=since, until=until
    )
    db = await context.db(service_named(service))
    low, high = await span(db, chosen)
    written = 0
    with _to(out) as file, output.progress(f"export {service}", max(0, high - low + 1)) as counter:
        async for batch in events(db, service, chosen, low, high):
            file.writelines(cloudevents.line(found) + b"\n" for found in batch)
            written += len(batch)
            counter(min(AT_ONCE, high - low + 1))
    looked = max(0, high - low + 1)
    output.note(f"{count(written, 'event')} written; looked at {looked:,}, positions {low:,} to {high:,}.")
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


def checked(lines: Sequence[tuple[int, bytes]]) -> tuple[list[cloudevents.Foreign], list[str]]:
    """The lines as records, and what is wrong with the others. A type of the contract has to read as one."""
    good, bad = [], []
    for number, text in lines:
        try:
            each = cloudevents.foreign(text)
            decode(each.envelope, each.value)
        except Unreadable as problem:
            bad.append(f"line {number}: {problem}")
        else:
            good.append(each)
    return good, bad


@change("import")
async def import_events(
    context: Context,
    file: Annotated[str, typer.Argument(help="A file of CloudEvents in JSON, one a line; - is standard input.")],
) -> Planned:
    """Put a publisher's events on the inbound topic, all or none of a file.

    The same event twice has one effect."""
    lines = _lines(file)
    good, bad = checked(lines)
    if bad:
        some = "; ".join(bad[:3])
        raise OperatorError(
            f"{count(len(bad), 'line')} of {len(lines):,} can't be imported, so none is. {some}.", REFUSED
        )
    by_type: dict[str, int] = {}
    for each in good:
        by_type[each.envelope.type] = by_type.get(each.envelope.type, 0) + 1
    sources = sorted({each.envelope.source for each in good})
    says = [f"{INBOUND} would get {count(number, name + ' event')}." for name, number in sorted(by_type.items())]
    says += [f"Sources: {', '.join(sources[:5])}. Looked at {count(len(lines), 'line')}."] if sources else []
    arguments = [f"topic={INBOUND}", f"events={len(good)}", *(f"source={source}" for source in sources[:20])]
    data = {"types": by_type, "sources": sources, "looked_at": len(lines)}

    async def apply(operation: Operation) -> Outcome:
        return await send(context, INBOUND, in_batches(good), operation.counter)

    return ChangePlan(
        service="identity",
        arguments=arguments,
        total=len(good),
        thing="event",
        says=says,
        data=data,
        apply=apply,
    )


async def in_batches(records: Sequence[cloudevents.Foreign]) -> AsyncIterator[Sequence[cloudevents.Foreign]]:
    for low in range(0, len(records), AT_ONCE):
        yield records[low : low + AT_ONCE]


async def send(
    context: Context, topic: str, batches: AsyncIterator[Sequence[cloudevents.Foreign]], counter: Counter
) -> Outcome:
    """Sends them in order, each key's to one partition, and reads them again from where Kafka says that they lie."""
    if topic not in await context.partitions():
        raise OperatorError(f"There is no topic {topic}, and none is made here.", NOT_FOUND)
    writer, reader = await context.producer(), await context.kafka()
    spans: dict[int, tuple[int, int]] = {}
    sent = other = 0
    async for batch in batches:
        told = [await writer.send(topic, each.value, key=each.key or None, headers=each.headers) for each in batch]
        placed = {}
        for each, promise in zip(batch, told, strict=True):
            at = await promise
            placed[at.partition, at.offset] = each
            first, last = spans.get(at.partition, (at.offset, at.offset))
            spans[at.partition] = min(first, at.offset), max(last, at.offset)
        other += await _differing(reader, topic, placed)
        sent += len(batch)
        counter(len(batch))
    where = ", ".join(f"{n}: {first} to {last}" for n, (first, last) in sorted(spans.items()))
    says = [
        f"{count(sent, 'event')} acknowledged by Kafka.",
        f"Read again from {topic}, partition and offsets {where}: "
        + (f"{other:,} of them are NOT there as they were sent." if other else "all there, byte for byte."),
    ]
    return Outcome(not other, says, {"sent": sent, "not_there": other, "offsets": dict(sorted(spans.items()))})


async def _differing(
    reader: AIOKafkaConsumer, topic: str, placed: Mapping[tuple[int, int], cloudevents.Foreign]
) -> int:
    """How many of the records do not lie where they were placed, with the same key, headers and value."""
    waiting = dict(placed)
    partitions = {TopicPartition(topic, n) for n, _ in waiting}
    reader.assign(list(partitions))
    for at in partitions:
        reader.seek(at, min(offset for n, offset in waiting if n == at.partition))
    deadline = time.monotonic() + _READ_AGAIN_S
    wrong = 0
    while waiting and time.monotonic() < deadline:
        for records in (await reader.getmany(timeout_ms=500)).values():
            for record in records:
                each = waiting.pop((record.partition, record.offset), None)
                if each is not None:
                    there = (record.key or b"", [*record.headers], record.value)
                    wrong += there != (each.key, [*each.headers], each.value)
    return wrong + len(waiting)
