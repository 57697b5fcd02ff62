"""One topic for all subscribers: its newest events in memory, older ones from Kafka.

A subscriber is a position. Whatever happens to the reader, to Kafka or to the process, it goes on with the event that
follows: from the memory, which holds the newest events without a gap, or else from Kafka. So no subscriber has a queue.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Final

import structlog

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.ordered import InOrder, Lost, OrderedTopic
from shared.runtime.live.frames import Frame, frame_of
from shared.runtime.live.wanted import Wanted

logger = structlog.get_logger("live")

KEPT: Final = 10_000
KEPT_BYTES: Final = 16 * 1024 * 1024
"""How many of the newest events are in memory, and of how many bytes."""
PAGE: Final = 1_000
"""How many events are read from Kafka at once."""
CHUNK: Final = 250
"""How many events a subscriber gets from the memory at once, so that one who does not read holds few."""
TICK_S: Final = 0.05
"""The shortest time between two notices to waiting subscribers, who get the events of that time together."""
AGAIN_S: Final = 1.0
COMES_S: Final = 2.0
COMES_CHECK_S: Final = 0.1
"""How long a position beyond the head is waited for, and how often it is checked whether Kafka has no more."""
CATCH_UPS: Final = 4
"""How many subscribers of a process are served from Kafka at once; the others wait."""
_EVERYTHING: Final = Wanted(everything=True)


class Window:
    """The newest events of a topic: dense positions, up to the head. Pure."""

    def __init__(self, kept: int = KEPT, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept, self._kept_bytes = kept, kept_bytes
        self.frames: list[Frame] = []
        self._bytes = 0
        self._chunks: dict[tuple[Wanted, int, int], bytes] = {}

    @property
    def head(self) -> int:
        """The position of the newest event; 0 without any."""
        return self.frames[-1].position if self.frames else 0

    def holds_after(self, position: int) -> bool:
        """Return whether the events after this position, if there are any, are all here."""
        return bool(self.frames) and position >= self.frames[0].position - 1

    def replace(self, frames: Sequence[Frame]) -> None:
        """Hold these events only."""
        self.frames, self._bytes = [], 0
        self.add(frames)

    def add(self, frames: Sequence[Frame]) -> None:
        """Add the events that follow the head, and drop the oldest beyond the bounds."""
        self.frames += frames
        self._bytes += sum(len(frame.body) for frame in frames)
        self._chunks.clear()
        if len(self.frames) > self._kept * 5 // 4 or self._bytes > self._kept_bytes:
            keep = self.frames[-self._kept :]
            size = sum(len(frame.body) for frame in keep)
            drop = 0
            while size > self._kept_bytes * 3 // 4 and drop < len(keep) - 1:
                size -= len(keep[drop].body)
                drop += 1
            self.frames, self._bytes = keep[drop:], size

    def after(self, position: int, at_most: int = CHUNK) -> list[Frame]:
        """Return the events after a position that `holds_after`."""
        if not self.frames:
            return []
        begin = max(0, position - self.frames[0].position + 1)
        return self.frames[begin : begin + at_most]

    def since(self, position: int) -> list[Frame]:
        """Return all events after a position that are in memory."""
        if position >= self.head:
            return []
        return self.frames[max(0, position - self.frames[0].position + 1) :]

    def newest(self, wanted: Wanted, at_most: int) -> list[Frame]:
        """Return the newest wanted events, the last one first."""
        return list(islice(filter(wanted.admits, reversed(self.frames)), at_most))

    def blocks(self, wanted: Wanted, position: int) -> tuple[bytes, int]:
        """Return the wanted events of the next page as blocks, and the position that it comes to.

        Subscribers with the same filter share them.
        """
        frames = self.after(position)
        if not frames:
            return b"", position
        end = frames[-1].position
        chunk = self._chunks.get((wanted, position, end))
        if chunk is None:
            chunk = b"".join(frame.block for frame in frames if wanted.admits(frame))
            self._chunks[wanted, position, end] = chunk
        return chunk, end


class LiveTopic:
    """A topic with its reader, which starts with the first subscriber, and those who wait."""

    def __init__(self, topic: str, access: KafkaAccess, catch_ups: asyncio.Semaphore) -> None:
        self.topic, self._access, self._catch_ups = topic, access, catch_ups
        self.window = Window()
        self.loaded = asyncio.Event()
        """Set while the window is what the topic has."""
        self._task: asyncio.Task[None] | None = None
        self._following: tuple[OrderedTopic, InOrder] | None = None
        self._idle: list[OrderedTopic] = []
        self._any: set[asyncio.Future[None]] = set()
        self._by_tenant: dict[str, set[asyncio.Future[None]]] = {}
        self._new_tenants: set[str] = set()
        self._notice: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the reader, if it is not running."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"live {self.topic}")

    async def stop(self) -> None:
        """Stop the reader and close the connections."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        while self._idle:
            await self._idle.pop().__aexit__(None, None, None)

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except Lost as lost:
                logger.warning("the topic lacks events", topic=self.topic, after=lost.after, nearest=lost.nearest)
            except Exception as fault:  # noqa: BLE001  # Whatever Kafka's client raises, the next attempt may succeed.
                logger.warning("the topic can't be read: starting again", topic=self.topic, fault=repr(fault))
            finally:
                self._following = None
            await asyncio.sleep(AGAIN_S)

    async def _follow(self) -> None:
        async with OrderedTopic(self.topic, self._access) as reader:
            newest, order = await reader.newest(KEPT)
            self.window.replace([frame_of(event) for event in newest])
            self._following = reader, order
            self.loaded.set()
            self._tell({frame.tenant for frame in self.window.frames[-PAGE:]})
            while True:
                frames = [frame_of(event) for event in await reader.following(order)]
                if frames:
                    self.window.add(frames)
                    self._tell({frame.tenant for frame in frames})

    # ── Waiting ────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, tenants: set[str]) -> None:
        self._new_tenants |= tenants
        if self._notice is None:
            self._notice = asyncio.get_running_loop().call_later(TICK_S, self._notify)

    def _notify(self) -> None:
        self._notice = None
        woken, self._any = self._any, set()
        for tenant in self._new_tenants:
            woken |= self._by_tenant.pop(tenant, set())
        self._new_tenants.clear()
        for waiter in woken:
            if not waiter.done():
                waiter.set_result(None)

    async def news(self, wanted: Wanted, within_s: float) -> None:
        """Wait until there may be another wanted event, or until that time has passed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        keys = wanted.keys
        sets = [self._any] if keys is None else [self._by_tenant.setdefault(key, set()) for key in keys]
        for each in sets:
            each.add(waiter)
        timer = asyncio.get_running_loop().call_later(within_s, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            for each in sets:
                each.discard(waiter)

    # ── Positions ──────────────────────────────────────────────────────────────────────────────────────

    async def comes_to(self, position: int) -> bool:
        """Return whether the topic has come to a position, or may have.

        False only if Kafka says that it ends before. It is waited for, as this reader may be behind another one that
        the position is from.
        """
        asked, until = time.time(), time.monotonic() + COMES_S
        while position > self.window.head and not self.emptied and time.monotonic() < until:
            if self.complete_since(asked):
                return False
            await self.news(_EVERYTHING, COMES_CHECK_S)
        return True

    @property
    def emptied(self) -> bool:
        """Whether nothing that the topic had is kept: its head is unknown until the next event."""
        return self._following is not None and not self._following[1].known

    def complete_since(self, time_s: float) -> bool:
        """Return whether Kafka has said since a time that there is nothing after the head."""
        if self._following is None:
            return False
        reader, order = self._following
        return reader.complete_since(order, time_s)

    # ── Events ─────────────────────────────────────────────────────────────────────────────────────────

    async def after(self, position: int) -> list[Frame]:
        """Return the next page of events after a position; nothing if there is none yet.

        Raises:
            Lost: The topic does not have the next event any more.
            Exception: Kafka can't be read now.
        """
        if self.window.holds_after(position):
            return self.window.after(position)
        return await self._from_kafka(position) if position < self.window.head else []

    async def position_at(self, time: datetime) -> int:
        """Return the position before the events that were published since a time.

        Raises:
            Exception: Kafka can't be read now.
        """
        frames = self.window.frames
        if frames and frames[0].time <= time:
            return next((frame.position - 1 for frame in frames if frame.time >= time), self.window.head)
        async with self._catch_ups:
            reader = await self._reader()
            try:
                found = await reader.position_at(time)
            except BaseException:
                await reader.__aexit__(None, None, None)
                raise
            self._idle.append(reader)
        return self.window.head if found is None else found

    async def _from_kafka(self, position: int) -> list[Frame]:
        async with self._catch_ups:
            reader = await self._reader()
            try:
                events = await reader.after(position, PAGE)
            except Lost:
                self._idle.append(reader)
                raise
            except (
                BaseException
            ):  # also if the subscriber leaves meanwhile: the connection is in the middle of an answer
                await reader.__aexit__(None, None, None)
                raise
            self._idle.append(reader)
        return [frame_of(event) for event in events]

    async def _reader(self) -> OrderedTopic:
        return self._idle.pop() if self._idle else await OrderedTopic(self.topic, self._access).__aenter__()


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
