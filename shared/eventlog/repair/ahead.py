"""Reading ahead: the next batch is read while the last one is written."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from shared.eventlog.repair.collecting import after_batch

T = TypeVar("T")


async def ahead(batches: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield the batches, each of which is made while the one before it is processed.

    An exception of `batches` is raised after the batch before it was processed.
    """

    async def following() -> T | None:
        return await anext(batches, None)

    reading = asyncio.create_task(following())
    try:
        while (batch := await reading) is not None:
            reading = asyncio.create_task(following())
            yield batch
            after_batch()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
