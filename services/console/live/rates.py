"""The numbers of events that are published each second, by service and type.

All topics are in one stream: a browser opens six connections to a host at most.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from services.console.live.callers import Callers, Subscriber
from services.console.live.stream import Stopping, still_valid
from shared.events.registry import service_of
from shared.runtime.live.frames import Frame
from shared.runtime.live.topic import LiveTopic
from shared.runtime.live.wanted import Wanted

HISTORY_S: Final = 60
"""How many seconds a stream begins with, as far as the events of that time are in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """The numbers of events of one second, by service and type; those without any are left out."""

    second: int
    """Since 1970."""
    events: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def block(self) -> bytes:
        """The tick as a block of a stream of Server-Sent Events."""
        return b"data: %s\n\n" % orjson.dumps({"at": self.second, "events": self.events})


def past(topics: Sequence[LiveTopic], wanted: Wanted, until: int) -> list[Tick]:
    """Return the ticks of the HISTORY_S seconds before a time, by when the events were stored."""
    first = until - HISTORY_S
    found: dict[int, dict[str, Counter[str]]] = {}
    for topic in topics:
        for frame in reversed(topic.window.frames):
            second = int(frame.time.timestamp())
            if second < first:
                break
            if second < until and wanted.admits(frame):
                found.setdefault(second, {}).setdefault(service_of(topic.topic), Counter())[frame.type] += 1
    return [Tick(second=second, events=found.get(second, {})) for second in range(first, until)]


def counted(frames: Mapping[str, Sequence[Frame]], wanted: Wanted) -> dict[str, Mapping[str, int]]:
    """Return the numbers of wanted events by topic's service and type."""
    counts = {
        service_of(topic): Counter(frame.type for frame in of_topic if wanted.admits(frame))
        for topic, of_topic in frames.items()
    }
    return {service: count for service, count in counts.items() if count}


async def rates(
    live: Stopping, topics: Sequence[LiveTopic], callers: Callers, subscriber: Subscriber, wanted: Wanted
) -> AsyncIterator[bytes]:
    """Yield a tick a second, the past ones first, until the session ends or the process stops.

    The ticks of the present count events as they arrive.
    """
    second = int(time.time())
    heads = {topic.topic: topic.window.head for topic in topics}
    yield b"retry: 2000\n\n" + b"".join(tick.block for tick in past(topics, wanted, second))
    while not live.stopping and await still_valid(callers, subscriber):
        await asyncio.sleep(max(0.0, second + 1 - time.time()))
        new = {topic.topic: topic.window.since(heads[topic.topic]) for topic in topics}
        heads = {topic.topic: topic.window.head for topic in topics}
        yield Tick(second=second, events=counted(new, wanted)).block
        second = max(second + 1, int(time.time()))
