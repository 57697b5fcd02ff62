"""What a store of events promises. `postgres.py` keeps it in PostgreSQL, `memory.py` in a dict for the pure tests."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeAlias

from shared.events.envelope import GENESIS, StoredEvent


class Unavailable(Exception):
    """The store can't be reached now. Whether the last write happened is unknown; sending it again is safe."""


class Conflict(Exception):
    """A stream was too busy: it moved on before each try, for some seconds."""


class Head(NamedTuple):
    """Where a stream stands: its last event's version and hash (0 and GENESIS before the first)."""

    version: int = 0
    hash: bytes = GENESIS


@dataclass(kw_only=True, slots=True)
class Write:
    """One command's outcome, to be written whole or not at all.

    `events` continue the stream from `expected`; there are none when nothing is new or the command was refused
    (`refusal`, JSON). `take` and `release` are claims on unique names.
    """

    command_id: str
    fingerprint: bytes
    stream: str
    expected: Head
    time: datetime
    events: Sequence[StoredEvent] = ()
    take: Sequence[str] = ()
    release: Sequence[str] = ()
    refusal: str | None = None


class Written(NamedTuple):
    """The write is committed; `position` is its last event's, or the head's where it had none."""

    position: int


class Moved(NamedTuple):
    """The stream's head is not the expected one: decide again."""


class Taken(NamedTuple):
    """Another stream holds this name."""

    key: str


class Repeated(NamedTuple):
    """The command id was answered before: its events are `stream`, versions first + 1 to first + events. Without a
    fingerprint where the store was restored from its topic, which doesn't tell it."""

    fingerprint: bytes | None
    stream: str
    first: int
    events: int
    refusal: str | None = None


Outcome: TypeAlias = Written | Moved | Taken | Repeated


class InStore(NamedTuple):
    """What a store holds where a record says that it belongs; None for nothing.

    Attributes:
        hash: of the store's event at the record's position.
        previous: the hash of the version before the record's, in its stream.
        version_at: the position of the record's version of its stream.
    """

    hash: bytes | None = None
    previous: bytes | None = None
    version_at: int | None = None


NOT_STORED: Final = InStore()
Lookup = Callable[[Sequence[StoredEvent]], Awaitable[Sequence[InStore]]]
"""What the store holds for each of these events."""


@dataclass(slots=True)
class Lease:
    """Sole ownership of a task until it expires; `token` grows with each owner and fences the former ones."""

    token: int
    position: int = field(default=0)


class LeaseLost(Exception):
    """Another owner has the lease now; whatever this one does is too late."""


class Store(Protocol):
    """An append-only log of streams under one order. Positions are dense from 1, in the order of commits."""

    def append(self, write: Write) -> Awaitable[Outcome]:
        """Commit the write, or say why not. Returns after the commit. Raises Unavailable."""
        ...

    async def read_stream(self, stream: str, after: int = 0) -> Sequence[StoredEvent]:
        """The stream's events with a version above `after`, in order."""
        ...

    async def read(self, after: int, limit: int) -> Sequence[StoredEvent]:
        """The store's events with a position above `after`, in order, without gaps."""
        ...

    async def heads(self, streams: Sequence[str], at: int) -> dict[str, Head]:
        """Where these streams stood at a position of the store; a stream without events by then is left out."""
        ...

    async def holder(self, key: str) -> str | None:
        """The stream that holds a unique name."""
        ...

    async def fingerprints(self, commands: Sequence[str]) -> dict[str, bytes | None]:
        """Of those of these command ids that were answered, the fingerprint that was kept with the answer."""
        ...

    async def position(self) -> int:
        """The last committed position."""
        ...

    async def lease(self, name: str, owner: str, ttl_s: float) -> Lease | None:
        """Take or renew the lease: None while another owner's has not expired."""
        ...

    async def advance(self, name: str, lease: Lease, position: int) -> None:
        """Move the lease's checkpoint from `lease.position` to `position`. Raises LeaseLost."""
        ...

    async def release(self, name: str, lease: Lease) -> None:
        """Give the lease back, so that the next owner need not wait for its end."""
        ...

    async def wait(self, after: int, timeout_s: float) -> None:
        """Return when a position above `after` may exist, or after the timeout."""
        ...
