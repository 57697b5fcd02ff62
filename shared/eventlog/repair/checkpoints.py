"""Where consumers stand, and how an operator moves them: a partition's offset, a stream's version.

A checkpoint is moved while its consumer runs: its transactions lock the same row, and a consumer that finds its
checkpoint elsewhere than it left it fetches again from there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.eventlog.deliver.plan import Raw, headers_json
from shared.eventlog.repair.parked import CannotApply
from shared.sql import statements

SQL: Final = statements(__file__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The last offset of a partition that a consumer has dealt with, and since when."""

    consumer: str
    topic: str
    partition: int
    offset: int
    time: datetime
    parked: int


async def listed(db: Any, consumer: str | None = None) -> Sequence[Checkpoint]:
    """The checkpoints of a service's consumers, or of one."""
    return [Checkpoint(**row) for row in await db.fetch(SQL["list"], consumer)]


async def move(db: Any, at: Checkpoint, offset: int, skipped: Raw | None, operation: str) -> None:
    """Move a checkpoint from where it was seen to another offset.

    Args:
        skipped: the record that is passed over, parked with its bytes.

    Raises:
        CannotApply: the checkpoint is elsewhere by now.
    """
    async with db.acquire() as tx, tx.transaction():
        await tx.execute(SQL["wait"])
        now = await tx.fetchval(SQL["lock"], at.consumer, at.topic, at.partition)
        if now != at.offset:
            raise CannotApply(f"{at.consumer} stands at {now} in {at.topic}/{at.partition} by now: look again")
        if skipped is not None:
            detail = f"{skipped.unparsed or 'passed over'} ({operation})"
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


@dataclass(frozen=True, slots=True)
class StreamMoved:
    """From which version to which, and how many later events of another service are unknown again."""

    before: int
    after: int
    unknown: int


async def seen(db: Any, consumer: str, stream: str) -> int:
    """The last version of the stream that the consumer has dealt with."""
    row = await db.fetchrow(SQL["seen"], consumer, stream)
    return 0 if row is None else int(row["version"])


async def move_stream(db: Any, consumer: str, stream: str, before: int, after: int) -> StreamMoved:
    """Set the last version of a stream that a consumer has dealt with.

    Its hash is the own log's; of another service's stream it is unknown, so that the next event is believed, and so are
    later versions that this service knew. What the projection made of them stays: rebuild it.

    Raises:
        CannotApply: the consumer has gone on.
    """
    async with db.acquire() as tx, tx.transaction():
        await tx.execute(SQL["wait"])
        await tx.execute(SQL["hold"], consumer)
        now = await seen(tx, consumer, stream)
        if now != before:
            raise CannotApply(f"{consumer} has dealt with {stream} up to version {now} by now: look again")
        hash_: bytes | None = await tx.fetchval(SQL["own"], stream, after)
        await tx.execute(SQL["see"], consumer, stream, after, bytes(32) if after == 0 else hash_)
        unknown = await tx.fetchval(SQL["unknow"], stream, after)
        return StreamMoved(before, after, int(unknown))
