"""Consumers' checkpoints, and how an operator moves them.

An operator can move a partition's offset or a stream's version while the consumer runs. The consumer's transactions
lock the same row, and a consumer whose checkpoint was changed fetches again from the new offset.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.eventlog.deliver.projection import Connection
from shared.eventlog.deliver.received import Raw, headers_json
from shared.eventlog.repair.parked import CannotApply
from shared.sql import statements

SQL: Final = statements(__file__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The last offset of a partition that a consumer has processed, and since when."""

    consumer: str
    topic: str
    partition: int
    offset: int
    time: datetime
    parked: int


async def listed(db: Any, consumer: str | None = None) -> Sequence[Checkpoint]:
    """List the checkpoints of one consumer, or of all consumers of the service."""
    return [Checkpoint(**row) for row in await db.fetch(SQL["list"], consumer)]


async def move(db: Any, at: Checkpoint, offset: int, skipped: Raw | None, operation: str) -> None:
    """Move a checkpoint to another offset.

    Args:
        at: the checkpoint as the operator saw it.
        skipped: the record that the consumer skips; it is parked with its bytes.

    Raises:
        CannotApply: the checkpoint has changed since.
    """
    async with db.acquire() as tx, tx.transaction():
        await tx.execute(SQL["wait"])
        now = await tx.fetchval(SQL["lock"], at.consumer, at.topic, at.partition)
        if now != at.offset:
            raise CannotApply(
                f"the checkpoint of {at.consumer} in {at.topic}/{at.partition} is now {now}: list the checkpoints "
                "again, then repeat the command"
            )
        if skipped is not None:
            detail = f"{skipped.unparsed or 'skipped'} ({operation})"
            await tx.execute(
                SQL["skip"],
                at.consumer,
                at.topic,
                at.partition,
                skipped.offset,
                detail,
                skipped.key,
                json.dumps(headers_json(skipped.headers)),
                skipped.value,
            )
        await tx.execute(SQL["move"], at.consumer, at.topic, at.partition, offset)


async def read_again(db: Connection, places: Sequence[tuple[str, str, int]]) -> None:
    """Make consumers read partitions from the beginning. Call it in a transaction.

    What they have parked of them stays parked, under a partition number of its own.

    Args:
        places: consumers, each with a topic and a partition.
    """
    for consumer, topic, partition in sorted(places):  # checkpoints first and in order, as the consumers lock them
        await db.execute(SQL["restart"], consumer, topic, partition)
        await db.execute(SQL["set_aside"], consumer, topic, partition)


@dataclass(frozen=True, slots=True)
class StreamMoved:
    """The move of a consumer in a stream, by versions."""

    before: int
    after: int
    unknown: int
    """The number of another service's later events whose hashes are forgotten."""


async def seen(db: Any, consumer: str, stream: str) -> int:
    """Return the last version of the stream that the consumer has processed."""
    row = await db.fetchrow(SQL["seen"], consumer, stream)
    return 0 if row is None else int(row["version"])


async def move_stream(db: Any, consumer: str, stream: str, before: int, after: int) -> StreamMoved:
    """Set the last version of a stream that a consumer has processed.

    The version's hash is taken from the service's own log. For another service's stream the hash is unknown, and the
    known hashes of later versions are deleted, so these events are accepted without a comparison. The projection's rows
    stay as they are: rebuild it.

    Raises:
        CannotApply: the consumer is no longer at version `before`.
    """
    async with db.acquire() as tx, tx.transaction():
        await tx.execute(SQL["wait"])
        await tx.execute(SQL["hold"], consumer)
        now = await seen(tx, consumer, stream)
        if now != before:
            raise CannotApply(
                f"{consumer} has now processed {stream} up to version {now}: read the version again, then repeat the "
                "command"
            )
        hash_: bytes | None = await tx.fetchval(SQL["own"], stream, after)
        await tx.execute(SQL["see"], consumer, stream, after, bytes(32) if after == 0 else hash_)
        unknown = await tx.fetchval(SQL["forget"], stream, after)
        return StreamMoved(before, after, int(unknown))
