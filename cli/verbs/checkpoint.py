"""`tenure checkpoint`: the consumers' checkpoints, shown and moved by hand."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import typer
from aiokafka import TopicPartition

from cli.app import Planned, Result, change, group, verb
from cli.context import Context, service_of_consumer, services_of_consumer
from cli.exit_codes import NOT_FOUND, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.output import Output, when
from cli.sentences import Count, say
from shared.eventlog.deliver.received import Raw
from shared.eventlog.deliver.records import raw_of
from shared.eventlog.repair import checkpoints as engine
from shared.eventlog.repair.checkpoints import Checkpoint
from shared.events.registry import topic_of
from shared.services import SERVICES

group("checkpoint", "Consumers' checkpoints: show them, move them by hand.")

_MOVED_OR_NOT: Final = "The checkpoint is moved, or it is where it was."
Name: TypeAlias = Annotated[str, typer.Argument(help="The consumer, as `tenure status` names it.")]
Topic: TypeAlias = Annotated[str, typer.Argument(help="The topic, or the service that publishes it.")]
Number: TypeAlias = Annotated[int, typer.Argument(help="The partition's number.")]


async def _one(context: Context, consumer: str, topic: str, partition: int) -> Checkpoint:
    name = topic_of(topic) if topic in SERVICES else topic
    found = await engine.listed(await context.db(service_of_consumer(consumer)), consumer)
    one = [each for each in found if (each.topic, each.partition) == (name, partition)]
    if not one:
        raise OperatorError(
            f"{consumer} has no checkpoint in {name}/{partition}; `tenure checkpoint ls` lists the checkpoints.",
            NOT_FOUND,
        )
    return one[0]


@verb("checkpoint ls")
async def list_checkpoints(
    context: Context,
    output: Output,
    consumer: Annotated[str | None, typer.Option("--consumer", help="Only of this consumer.")] = None,
) -> Result:
    """List each consumer's checkpoints: the last offset processed in each partition.

    "parked" is the number of the consumer's parked records."""
    found = [
        each for s in services_of_consumer(consumer) for each in await engine.listed(await context.db(s), consumer)
    ]
    output.table(
        ("consumer", "topic", ">partition", ">offset", "moved", ">parked"),
        [(e.consumer, e.topic, e.partition, e.offset, when(e.time), e.parked) for e in found],
    )
    output.line(say("%(checkpoints)s.", checkpoints=Count(len(found), "checkpoint")))
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


@change("checkpoint set", if_cancelled=_MOVED_OR_NOT)
async def set_checkpoint(
    context: Context,
    consumer: Name,
    topic: Topic,
    partition: Number,
    offset: Annotated[int | None, typer.Argument(help="The last offset that counts as processed; -1 for none.")] = None,
    forward: Annotated[
        int, typer.Option("--forward", min=0, help="Instead of OFFSET: move forward by N records.", metavar="N")
    ] = 0,
    back: Annotated[
        int, typer.Option("--back", min=0, help="Instead of OFFSET: move back by N records.", metavar="N")
    ] = 0,
) -> Planned:
    """Move a consumer's checkpoint in a partition.

    The running consumer continues from there within seconds. Moved back, it reads those records again and ignores the
    versions that it has processed. Moved forward, it never processes the records in between; streams that then miss
    versions are parked at the gap."""
    at = await _one(context, consumer, topic, partition)
    given = [offset is not None, forward > 0, back > 0]
    if sum(given) != 1:
        raise OperatorError("Give exactly one of OFFSET, --forward and --back.", USAGE)
    to = offset if offset is not None else at.offset + forward - back
    begin, end = await _edges(context, at)
    if not begin - 1 <= to < end:
        raise OperatorError(
            f"Offset {to} is out of range: {at.topic}/{at.partition} has the offsets {begin} to {end - 1}, and the "
            f"checkpoint can be {begin - 1} to {end - 1}.",
            USAGE,
        )
    place = f"{at.topic}/{at.partition}"
    moved = say(
        "The checkpoint of %(consumer)s in %(place)s would move from %(before)s to %(to)s",
        consumer=at.consumer,
        place=place,
        before=str(at.offset),
        to=str(to),
    )
    records = Count(abs(to - at.offset), "record")
    summary = (
        say("%(so)s; the consumer would process %(records)s again.", so=moved, records=records)
        if to < at.offset
        else say("%(so)s; the consumer would never process %(records)s.", so=moved, records=records)
    )
    return _move(context, at, to, None, [summary])


@change("checkpoint skip", if_cancelled=_MOVED_OR_NOT)
async def skip_record(
    context: Context,
    consumer: Name,
    topic: Topic,
    partition: Number,
) -> Planned:
    """Skip the next record of a consumer in a partition.

    The record is parked with its bytes, if it can be read."""
    at = await _one(context, consumer, topic, partition)
    _, end = await _edges(context, at)
    if at.offset + 1 >= end:
        raise OperatorError(f"{at.topic}/{at.partition} has no record after {at.offset}: nothing to skip.", NOT_FOUND)
    record = await _fetched(context, at)
    to = at.offset + 1 if record is None else record.offset
    place = f"{at.topic}/{at.partition}"
    skipped = say(
        "%(consumer)s would skip offset %(offset)s of %(place)s",
        consumer=at.consumer,
        offset=str(to),
        place=place,
    )
    summary = (
        say("%(so)s; it can't be read, so its bytes are not kept.", so=skipped)
        if record is None
        else say("%(so)s; it would be parked as it is.", so=skipped)
    )
    return _move(context, at, to, record, [summary])


async def _edges(context: Context, at: Checkpoint) -> tuple[int, int]:
    kafka, partition = await context.kafka(), TopicPartition(at.topic, at.partition)
    begins, ends = await kafka.beginning_offsets([partition]), await kafka.end_offsets([partition])
    return begins[partition], ends[partition]


async def _fetched(context: Context, at: Checkpoint, within_s: float = 10.0) -> Raw | None:
    """Return the next record of a partition; None if it can't be read."""
    kafka, partition = await context.kafka(), TopicPartition(at.topic, at.partition)
    kafka.assign([partition])
    kafka.seek(partition, at.offset + 1)
    try:
        async with asyncio.timeout(within_s):
            return raw_of(await kafka.getone(partition))
    except Exception as fault:  # noqa: BLE001  # a record that the client can't read is a reason to skip it
        del fault
        return None


def _move(context: Context, at: Checkpoint, to: int, skipped: Raw | None, summary: Sequence[str]) -> ChangePlan:
    service = service_of_consumer(at.consumer)
    arguments = [f"consumer={at.consumer}", f"place={at.topic}/{at.partition}", f"from={at.offset}", f"to={to}"]
    data = {"consumer": at.consumer, "topic": at.topic, "partition": at.partition, "from": at.offset, "to": to}

    async def apply(operation: Operation) -> Outcome:
        db = await context.db(service, write=True)
        await engine.move(db, at, to, skipped, operation.id)
        operation.counter()
        now = await _one(context, at.consumer, at.topic, at.partition)
        ok = now.offset >= to if to > at.offset else True  # moved back, the consumer may have advanced already
        result = say("Checked: the checkpoint of %(name)s is %(offset)s.", name=at.consumer, offset=str(now.offset))
        return Outcome(ok, [result], {"now": now.offset})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=int(to != at.offset),
        thing="checkpoint",
        summary=summary,
        data=data,
        apply=apply,
    )


@change("checkpoint stream", if_cancelled="The version is set, or it is as it was.")
async def set_stream_version(
    context: Context,
    consumer: Name,
    stream: Annotated[str, typer.Argument(help="The stream's id.")],
    version: Annotated[int, typer.Argument(min=0, help="The last version that counts as processed.")],
) -> Planned:
    """Set the last version of a stream that a consumer has processed.

    The consumer applies the following version next. To repair the effect of a forged event, set the version before
    it, run `parked retry` for the genuine events, then rebuild the projection. If the stream is another service's,
    the next event's link in the hash chain is not checked, unless VERSION is 0."""
    service = service_of_consumer(consumer)
    before = await engine.seen(await context.db(service), consumer, stream)
    summary = [
        say(
            "%(consumer)s has processed %(stream)s up to version %(before)s; the last processed version would be "
            "%(to)s. The effects of later versions stay in its tables until you rebuild them.",
            consumer=consumer,
            stream=stream,
            before=before,
            to=version,
        )
    ]
    arguments = [f"consumer={consumer}", f"stream={stream}", f"from={before}", f"to={version}"]
    data = {"consumer": consumer, "stream": stream, "from": before, "to": version}

    async def apply(operation: Operation) -> Outcome:
        moved = await engine.move_stream(await context.db(service, write=True), consumer, stream, before, version)
        operation.counter()
        result = [
            say(
                "The last version of %(stream)s that %(consumer)s has processed is now %(version)s.",
                stream=stream,
                consumer=consumer,
                version=moved.after,
            )
        ]
        if moved.unknown:
            result += [say("The hashes of %(events)s were forgotten.", events=Count(moved.unknown, "later event"))]
        return Outcome(True, [*result], {"unknown": moved.unknown})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=int(version != before),
        thing="stream",
        summary=summary,
        data=data,
        apply=apply,
    )
