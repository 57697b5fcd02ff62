"""The begin and the end of a connection that reads a topic, for whoever may be cancelled."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer

logger = structlog.get_logger(__name__)

START_S: Final = 1.0
"""How long a connection may take to open once nobody waits for it any more."""
STOP_S: Final = 0.5
STOPS: Final = 6
"""How long a connection may take to close, and how often that is tried."""


async def start_reading(kafka: AIOKafkaConsumer) -> None:
    """Start a consumer. Who is cancelled meanwhile leaves once it has started.

    aiokafka leaves the connection open over which it asks for the brokers if it is cancelled before their answer.

    Raises:
        KafkaError: Kafka can't be reached, or a topic does not exist.
    """
    starting = asyncio.ensure_future(kafka.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting}, timeout=START_S)
        starting.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await starting
        raise


async def stop_reading(kafka: AIOKafkaConsumer) -> None:
    """Stop a consumer, whatever its tasks do.

    aiokafka's fetcher may miss its cancellation and be waited for without end, or pass it on to who stops it; then its
    connections stay open.
    """
    await _end(kafka.stop())
    await _end(kafka._client.close())  # which `stop` closes last, or not at all


async def _end(closing: Awaitable[Any]) -> None:
    closed = asyncio.ensure_future(closing)
    for _ in range(STOPS):
        done, _pending = await asyncio.wait({closed}, timeout=STOP_S)
        if done:
            break
        closed.cancel()  # which cancels what it waits for
    if closed.done() and not closed.cancelled() and closed.exception() is not None:
        logger.warning("a connection did not close", fault=repr(closed.exception()))
