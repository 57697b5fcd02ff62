"""A stream of Server-Sent Events for one subscriber.

Source: the HTML standard, section 9.2.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from secrets import randbelow
from typing import Final, Protocol

import orjson
import structlog

from services.console.live.callers import Callers, Subscriber
from shared.eventlog.deliver.ordered import Lost
from shared.runtime.live.frames import Frame
from shared.runtime.live.topic import LiveTopic
from shared.runtime.live.wanted import Wanted
from shared.runtime.problems import Problem

logger = structlog.get_logger("live")

CHECK_S: Final = 1.0
"""How often it is checked whether the session has ended."""
HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 1_000
RETRY_SPREAD_MS: Final = 3_000
"""How long a browser waits before it connects again, and up to how much longer, so that not all come back at once."""
AGAIN_S: Final = 1.0
"""How long a subscriber waits while Kafka can't be read."""


class Stopping(Protocol):
    """Whether the process stops, so that streams end."""

    stopping: bool


async def stream(
    live: Stopping,
    topic: LiveTopic,
    callers: Callers,
    subscriber: Subscriber,
    wanted: Wanted,
    after: int,
    snapshot: str,
) -> AsyncIterator[bytes]:
    """Yield blocks of events after a position, until the session ends or the process stops.

    Args:
        snapshot: Where the present state is read if events after the position are not kept.
    """
    position, told, sent_at, checked_at = after, after, time.monotonic(), 0.0
    yield b"retry: %d\nid: %d\n\n" % (RETRY_MS + randbelow(RETRY_SPREAD_MS), position)
    while not live.stopping and not callers.ended(subscriber):
        try:
            if topic.window.holds_after(position):
                chunk, position = topic.window.blocks(wanted, position)
            else:
                frames = await topic.after(position)
                chunk, position = _blocks(frames, wanted), frames[-1].position if frames else position
        except Lost as lost:
            chunk, position = reset(lost, snapshot), lost.nearest - 1
        except Exception as fault:  # noqa: BLE001  # Whatever Kafka's client raises; the position stays.
            logger.warning("a subscriber can't be served from Kafka now", topic=topic.topic, fault=repr(fault))
            await asyncio.sleep(AGAIN_S)
            continue
        now = time.monotonic()
        if chunk:
            if now - checked_at >= CHECK_S:
                if not await still_valid(callers, subscriber):
                    return
                checked_at = now
            yield chunk
            told, sent_at = position, now
        elif now - sent_at >= HEARTBEAT_S:
            yield b": alive\nid: %d\n\n" % position if position > told else b": alive\n\n"
            told, sent_at = position, now
        if position >= topic.window.head:
            await topic.news(wanted, CHECK_S)


async def still_valid(callers: Callers, subscriber: Subscriber) -> bool:
    """Return whether the session still runs; wait while that is unknown."""
    while True:
        try:
            return await callers.still(subscriber)
        except Problem:
            await asyncio.sleep(AGAIN_S)


def _blocks(frames: list[Frame], wanted: Wanted) -> bytes:
    return b"".join(frame.block for frame in frames if wanted.admits(frame))


def reset(lost: Lost, snapshot: str) -> bytes:
    """Return the block that says which events are missing, and where the state is read."""
    data = {"after": lost.after, "nearest": lost.nearest, "snapshot": snapshot}
    return b"event: reset\nid: %d\ndata: %s\n\n" % (lost.nearest - 1, orjson.dumps(data))
