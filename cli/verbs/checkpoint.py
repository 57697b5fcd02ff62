"""`tenure checkpoint`: how far consumers are; moved by hand where a record or a stream stands in their way."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import typer
from aiokafka import TopicPartition

from cli.app import Planned, Result, change, group, verb
from cli.context import Context, consumers
from cli.exit_codes import NOT_FOUND, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.output import Output, count, when
from shared.eventlog.deliver.plan import Raw
from shared.eventlog.deliver.records import raw_of
from shared.eventlog.repair import checkpoints as engine
from shared.eventlog.repair.checkpoints import Checkpoint
from shared.events.registry import topic_of
from shared.services import SERVICES

group("checkpoint", "How far each consumer is, and how it is moved by hand.")

Name: TypeAlias = Annotated[str, typer.Argument(help="The consumer, as status names it.")]
Topic: TypeAlias = Annotated[str, typer.Argument(help="The topic, or the service that publishes it.")]
Number: TypeAlias = Annotated[int, typer.Argument(help="The partition.")]


def _service(consumer: str) -> str:
    service, _, own = consumer.partition(".")
    if service not in SERVICES or own not in consumers(service):
        raise OperatorError(f"There is no consumer {consumer}: `tenure status` lists them.", NOT_FOUND)
    return service


async def _one(context: Context, consumer: str, topic: str, partition: int) -> Checkpoint:
    name = topic_of(topic) if topic in SERVICES else topic
    found = await engine.listed(await context.db(_service(consumer)), consumer)
    one = [each for each in found if (each.topic, each.partition) == (name, partition)]
    if not one:
        raise OperatorError(
            f"{consumer} has no checkpoint in {name}/{partition}: `tenure checkpoint ls` lists them.", NOT_FOUND
        )
    return one[0]


@verb("checkpoint ls")
async def list_checkpoints(
    context: Context,
    output: Output,
    consumer: Annotated[str | None, typer.Option("--consumer", help="Of this consumer.")] = None,
) -> Result:
    """List the last offset that each consumer has dealt with, by partition.

    Beside it, how many of the consumer's records are parked."""
    services: Sequence[str] = SERVICES if consumer is None else (_service(consumer),)
    found = [each for s in services for each in await engine.listed(await context.db(s), consumer)]
    output.table(
        ("consumer", "topic", ">partition", ">offset", "moved", ">parked"),
        [(e.consumer, e.topic, e.partition, e.offset, when(e.time), e.parked) for e in found],
    )
    output.line(f"{count(len(found), 'checkpoint')}.")
    return Result(
        {
            "checkpoints": [
                {
                    "consumer": e.consumer,
                    "topic": e.topic,
                    "partition": e.partition,
                    "offset": e.offset,
                    "time": e.time,
                    "parked": e.parked,
                }
                for e in found
            ]
        }
    )


@change("checkpoint set")
async def set_checkpoint(
    context: Context,
    consumer: Name,
    topic: Topic,
    partition: Number,
    offset: Annotated[int | None, typer.Argument(help="The last offset that counts as dealt with; -1: none.")] = None,
    forward: Annotated[int, typer.Option("--forward", min=0, help="By so many records forward instead.")] = 0,
    back: Annotated[int, typer.Option("--back", min=0, help="By so many records back instead.")] = 0,
) -> Planned:
    """Move a consumer's checkpoint in a partition.

    The running consumer goes on from there within seconds. Back, it deals with those records again: repeats of what
    it knows are dropped by version. Forward, it never deals with what lies between; streams of which versions are
    missing then are parked at the gap."""
    at = await _one(context, consumer, topic, partition)
    given = [offset is not None, forward > 0, back > 0]
    if sum(given) != 1:
        raise OperatorError("Say where to: an offset, --forward or --back, one of them.", USAGE)
    to = offset if offset is not None else at.offset + forward - back
    begin, end = await _edges(context, at)
    if not begin - 1 <= to < end:
        raise OperatorError(
            f"{at.topic}/{at.partition} has the offsets {begin} to {end - 1}, so that {to} can't be the "
            "last that is dealt with.",
            USAGE,
        )
    what = "would deal again with" if to < at.offset else "would never deal with"
    says = [
        f"{at.consumer} stands at {at.offset} in {at.topic}/{at.partition}; it would stand at {to}, and "
        f"{what} {count(abs(to - at.offset), 'record')}."
    ]
    return _move(context, at, to, None, says)


@change("checkpoint skip")
async def skip_record(
    context: Context,
    consumer: Name,
    topic: Topic,
    partition: Number,
) -> Planned:
    """Pass over the one record that a consumer comes to next.

    It is parked with its bytes, if they can be fetched."""
    at = await _one(context, consumer, topic, partition)
    _, end = await _edges(context, at)
    if at.offset + 1 >= end:
        raise OperatorError(f"{at.topic}/{at.partition} has no record after {at.offset}: nothing to skip.", NOT_FOUND)
    record = await _fetched(context, at)
    to = at.offset + 1 if record is None else record.offset
    kept = "its bytes can't be fetched, and are kept nowhere" if record is None else "it is parked as it is"
    says = [f"{at.consumer} would pass over offset {to} of {at.topic}/{at.partition}; {kept}."]
    return _move(context, at, to, record, says)


async def _edges(context: Context, at: Checkpoint) -> tuple[int, int]:
    kafka, partition = await context.kafka(), TopicPartition(at.topic, at.partition)
    begins, ends = await kafka.beginning_offsets([partition]), await kafka.end_offsets([partition])
    return begins[partition], ends[partition]


async def _fetched(context: Context, at: Checkpoint, within_s: float = 10.0) -> Raw | None:
    """The next record of a partition; None where it can't be had."""
    kafka, partition = await context.kafka(), TopicPartition(at.topic, at.partition)
    kafka.assign([partition])
    kafka.seek(partition, at.offset + 1)
    try:
        async with asyncio.timeout(within_s):
            return raw_of(await kafka.getone(partition))
    except Exception as fault:  # noqa: BLE001  # whatever the client trips over: that is what is skipped
        del fault
        return None


def _move(context: Context, at: Checkpoint, to: int, skipped: Raw | None, says: Sequence[str]) -> ChangePlan:
    service = _service(at.consumer)
    arguments = [f"consumer={at.consumer}", f"place={at.topic}/{at.partition}", f"from={at.offset}", f"to={to}"]
    data = {"consumer": at.consumer, "topic": at.topic, "partition": at.partition, "from": at.offset, "to": to}

    async def apply(operation: Operation) -> Outcome:
        db = await context.db(service, write=True)
        await engine.move(db, at, to, skipped, operation.id)
        operation.counter()
        now = await _one(context, at.consumer, at.topic, at.partition)
        ok = now.offset >= to if to > at.offset else True  # set back, the consumer may have gone on already
        return Outcome(ok, [f"Looked again: {at.consumer} stands at {now.offset}."], {"now": now.offset})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=int(to != at.offset),
        thing="checkpoint",
        says=says,
        data=data,
        apply=apply,
    )


@change("checkpoint stream")
async def set_stream_version(
    context: Context,
    consumer: Name,
    stream: Annotated[str, typer.Argument(help="The stream.")],
    version: Annotated[int, typer.Argument(min=0, help="The last version that counts as dealt with.")],
) -> Planned:
    """Set the last version of a stream that a consumer has dealt with.

    The next one it applies is the one after. After a forged event was believed, for example, set it to the version
    before, then `parked retry` the genuine ones, then rebuild the projection. Of another service's stream the next
    event is believed whatever it continues."""
    service = _service(consumer)
    before = await engine.seen(await context.db(service), consumer, stream)
    says = [
        f"{consumer} has dealt with {stream} up to version {before}; it would count as {version}. What it made "
        "of later versions stays in its tables: rebuild them."
    ]
    arguments = [f"consumer={consumer}", f"stream={stream}", f"from={before}", f"to={version}"]
    data = {"consumer": consumer, "stream": stream, "from": before, "to": version}

    async def apply(operation: Operation) -> Outcome:
        moved = await engine.move_stream(await context.db(service, write=True), consumer, stream, before, version)
        operation.counter()
        said = f"{consumer} counts {stream} as dealt with up to version {moved.after}."
        unknown = f" {count(moved.unknown, 'later event')} of it are unknown again." if moved.unknown else ""
        return Outcome(True, [said + unknown], {"unknown": moved.unknown})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=int(version != before),
        thing="stream",
        says=says,
        data=data,
        apply=apply,
    )
