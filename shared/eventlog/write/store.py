"""The interface of an event store.

`postgres.py` implements it in PostgreSQL, `memory.py` in memory for the tests without a database.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeAlias

from shared.events.envelope import GENESIS, StoredEvent


class Unavailable(Exception):
    """The store cannot be reached at the moment.

    Whether the last write was committed is unknown. It is safe to send it again.
    """


class Conflict(Exception):
    """The stream is too busy: for seconds, other commands were appended to it first."""


class Head(NamedTuple):
    """The version and the hash of a stream's last event; 0 and GENESIS if it has no event."""

    version: int = 0
    hash: bytes = GENESIS


@dataclass(kw_only=True, slots=True)
class Write:
    """The outcome of one command, to be committed whole or not at all.

    Attributes:
        expected: The stream's head that the command was decided on; `events` continue the stream from there.
        events: Empty if the command changes nothing or was refused.
        take: The unique names that the stream claims.
        release: The unique names that the stream no longer claims.
        refusal: The refusal as JSON, if the command was refused.
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

    @property
    def after(self) -> Head:
        """The stream's head once this is committed."""
        if not self.events:
            return self.expected
        last = self.events[-1].envelope
        return Head(last.version or 0, last.hash)


class Written(NamedTuple):
    """The write is committed.

    Attributes:
        position: The position of the write's last event, or of the log's head if it has no events.
    """

    position: int


class Moved(NamedTuple):
    """The stream's head is not the expected one, so the command has to be decided again."""


class Taken(NamedTuple):
    """Another stream holds this unique name."""

    key: str


class Repeated(NamedTuple):
    """The command id was answered before.

    Its events are the versions `first + 1` to `first + events` of `stream`.

    Attributes:
        fingerprint: The digest of the first request. None if the store was restored from its topic, which does not have
            it.
        refusal: The refusal as JSON, if the command was refused.
    """

    fingerprint: bytes | None
    stream: str
    first: int
    events: int
    refusal: str | None = None


Outcome: TypeAlias = Written | Moved | Taken | Repeated


class InStore(NamedTuple):
    """What a store holds at the position and the version that a record names.

    Attributes:
        hash: The hash of the store's event at the record's position, or None if there is none.
        previous: The hash of the stream's version before the record's, or None if there is none.
        version_at: The position of the stream's event with the record's version, or None if there is none.
    """

    hash: bytes | None = None
    previous: bytes | None = None
    version_at: int | None = None


NOT_STORED: Final = InStore()
Lookup = Callable[[Sequence[StoredEvent]], Awaitable[Sequence[InStore]]]
"""Look up what the store holds for each of these events."""


@dataclass(slots=True)
class Lease:
    """The right of one owner to do a task alone, until it expires.

    Attributes:
        token: The fencing token. It grows with each owner, so that former owners are refused.
        position: The checkpoint of the task.
    """

    token: int
    position: int = field(default=0)


class LeaseLost(Exception):
    """Another owner has the lease now, so this owner must stop the task."""


class Store(Protocol):
    """An append-only log of streams in one total order.

    Positions are dense from 1, in the order of commits.
    """

    def append(self, write: Write) -> Awaitable[Outcome]:
        """Commit the write, or return why it was not committed.

        Returns after the commit.

        Raises:
            Unavailable: Whether the write was committed is unknown.
        """
        ...

    async def read_stream(self, stream: str, after: int = 0) -> Sequence[StoredEvent]:
        """Return the stream's events with a version above `after`, in order."""
        ...

    async def history(self, stream: str, version: int, limit: int, *, newest_first: bool) -> Sequence[StoredEvent]:
        """Return at most `limit` events after the version, or, the newest first, before it."""
        ...

    async def read(self, after: int, limit: int) -> Sequence[StoredEvent]:
        """Return at most `limit` events with a position above `after`, in order and without gaps."""
        ...

    async def heads(self, streams: Sequence[str], at: int) -> dict[str, Head]:
        """Return the heads that these streams had at a position of the store.

        A stream without events up to that position is left out.
        """
        ...

    async def holder(self, key: str) -> str | None:
        """Return the stream that holds a unique name, or None."""
        ...

    async def fingerprints(self, commands: Sequence[str]) -> dict[str, bytes | None]:
        """Return the stored fingerprints of those of these command ids that were answered."""
        ...

    async def position(self) -> int:
        """Return the last committed position."""
        ...

    async def lease(self, name: str, owner: str, ttl_s: float) -> Lease | None:
        """Take or renew the lease. Return None while another owner's lease has not expired."""
        ...

    async def advance(self, name: str, lease: Lease, position: int) -> None:
        """Move the lease's checkpoint from `lease.position` to `position`.

        Raises:
            LeaseLost: Another owner has the lease, or the checkpoint is not `lease.position`.
        """
        ...

    async def advance_and_read(self, name: str, lease: Lease, position: int, limit: int) -> Sequence[StoredEvent]:
        """Move the lease's checkpoint as `advance` does, and read on from there.

        Returns at most `limit` events from `position` on. Events that are committed at the same time can be missing.

        Raises:
            LeaseLost: Another owner has the lease, or the checkpoint is not `lease.position`.
        """
        ...

    async def release(self, name: str, lease: Lease) -> None:
        """End the lease, so that the next owner need not wait until it expires."""
        ...

    async def wait(self, after: int, timeout_s: float) -> None:
        """Wait until a position above `after` may exist, or until the timeout.

        Only the relay that has the lease calls this.
        """
        ...
