"""The streams as one request sees them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.eventlog.decision import Stream
from shared.eventlog.write.store import Head
from shared.events.base import Event

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E", bound=Event)


@dataclass(slots=True)
class StreamState(Generic[S]):
    """A stream's state, head and tenant, as this process last read them."""

    state: S
    head: Head
    tenant: str


class Reader:
    """A cache of the streams that a request reads: each is read once, on first use."""

    __slots__ = ("_fresh", "_ready", "_streams")

    def __init__(
        self,
        fresh: Callable[[Stream[Any, Any, Any], str], Awaitable[StreamState[Any]]],
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._fresh, self._ready = fresh, ready
        self._streams: dict[str, StreamState[Any]] = {}

    async def state(self, stream: Stream[S, C, E], key: str) -> S:
        """Return the stream's state as of this reader's first read of it."""
        return (await self.current(stream, stream.id(key))).state

    async def current(self, stream: Stream[S, C, E], stream_id: str) -> StreamState[S]:
        """Return the stream's state, head and tenant as of this reader's first read of it."""
        current: StreamState[S] | None = self._streams.get(stream_id)
        if current is None:
            if self._ready is not None:
                await self._ready()
            current = self._streams[stream_id] = await self._fresh(stream, stream_id)
        return current
