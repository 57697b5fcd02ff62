"""The event store in PostgreSQL.

`append.sql` among the migrations explains how events get their positions and their order.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from shared.eventlog.write.batching import Batcher
from shared.eventlog.write.gathering import Gathering
from shared.eventlog.write.snapshots import SQL as SNAPSHOTS
from shared.eventlog.write.snapshots import Snapshot
from shared.eventlog.write.store import (
    Head,
    InStore,
    Lease,
    LeaseLost,
    Moved,
    Outcome,
    Repeated,
    Taken,
    Unavailable,
    Write,
    Written,
)
from shared.events.envelope import GENESIS, Envelope, StoredEvent, source_of
from shared.sql import statements

SQL: Final = statements(__file__)

T = TypeVar("T")

_Asked: TypeAlias = tuple[str, str | None, int]
"""A stream, the definition of the snapshot that is wanted or None, and the version after which events are wanted."""
_Loaded: TypeAlias = tuple[Snapshot | None, Sequence[StoredEvent]]

WRITERS: Final = 2
NOTIFY_EVERY_S: Final = 0.02
WAITS_HERE_S: Final = 1.0
"""How long after its last `wait` a process is taken for the one whose relay publishes: a relay waits time and again."""
FENCED: Final = "TN001"
"""The SQLSTATE that `log.append` raises while the store is fenced."""

TRANSIENT: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.InternalClientError,
    asyncpg.ObjectInUseError,
)
"""Temporary errors of the connection or the server: the call can be tried again."""


async def _skip_reset(_connection: Any) -> None:
    """Return a connection to its pool without resetting it.

    No code here changes a session's settings, so the reset's round trip can be saved.
    """


async def open_pool(dsn: str, min_size: int, max_size: int) -> "asyncpg.Pool[asyncpg.Record]":
    """Open a pool of connections.

    Raises:
        asyncpg.PostgresError: The server refuses the connection.
        OSError: The server cannot be reached.
    """
    return await asyncpg.create_pool(dsn, min_size=min_size, max_size=max_size, command_timeout=30, reset=_skip_reset)


class PostgresStore:
    """The event log of one service in its database.

    Reads and writes use connections of the store's own. A write whose connection breaks is sent again for `patience_s`
    seconds, which its command id makes safe. After that the caller gets Unavailable, and whether the write was
    committed is unknown.
    """

    def __init__(self, dsn: str, service: str, *, readers: int = 4, patience_s: float = 5.0) -> None:
        self._dsn, self._service, self._readers, self._patience_s = dsn, service, readers, patience_s
        self._source = source_of(service)
        self._listener: asyncpg.Connection | None = None
        self._on_reconnect: Callable[[], Awaitable[None]] | None = None
        self._checked_at = 0.0
        self._check_lock = asyncio.Lock()
        self._moved = asyncio.Event()
        self._unnotified = asyncio.Event()
        self._waited_at = float("-inf")

    async def open(self) -> "PostgresStore":
        """Connect to the database, and start the tasks that write to it.

        Raises:
            asyncpg.PostgresError: The server refuses the connection.
            OSError: The server cannot be reached.
        """
        self._pool = await open_pool(self._dsn, 1, self._readers)
        self._gathered = Gathering(self._load)
        self._writers = [_Writer(self._dsn, self._check_reconnected) for _ in range(WRITERS)]
        self._batcher = Batcher([partial(self._send, writer) for writer in self._writers])
        self._notifying = asyncio.create_task(self._notify(), name="notify")
        return self

    async def watch(self, on_reconnect: Callable[[], Awaitable[None]]) -> None:
        """Call this function from now on before the first write over a new connection.

        PostgreSQL may have been restored from a backup between two connections; the function can then fence the store.

        Args:
            on_reconnect: The function. It may raise Unavailable, and the write is then not sent.
        """
        for writer in self._writers:  # Connect now, so that any later connection is a reconnection.
            with contextlib.suppress(asyncpg.PostgresError, *TRANSIENT):
                await writer.connect(checked=True)
        self._on_reconnect = on_reconnect

    async def _check_reconnected(self, connected_at: float) -> None:
        """Call the function of `watch`, unless it was called after this connection was made."""
        if self._on_reconnect is None:
            return
        async with self._check_lock:
            began = asyncio.get_running_loop().time()
            if self._checked_at <= connected_at:
                await self._on_reconnect()
                self._checked_at = began

    async def close(self) -> None:
        await self._batcher.close()
        self._notifying.cancel()
        await asyncio.gather(self._notifying, return_exceptions=True)
        for writer in self._writers:
            writer.terminate()
        if self._listener is not None:
            self._listener.terminate()
        self._pool.terminate()

    def append(self, write: Write) -> Awaitable[Outcome]:
        return self._batcher.submit(write)

    async def _send(self, writer: "_Writer", writes: Sequence[Write]) -> Sequence[Outcome]:
        arguments = append_arguments(writes)
        try:
            rows = await self._retry(lambda: writer.append(arguments))
        except asyncpg.PostgresError as error:
            if error.sqlstate != FENCED:
                raise
            raise Unavailable(str(error)) from error
        self._moved.set()
        self._unnotified.set()
        return _outcomes(writes, rows)

    async def _notify(self) -> None:
        """Wake the relay of another process after appends.

        One relay publishes at a time. While it is this process's, no other one waits, and nothing is sent. If it has
        just lost its lease, the other one finds the events by polling.

        This is not done in the append's transaction, where it would add a tenth to its time while the head is locked.
        If this process dies before it notifies, the relays find the events by polling.
        """
        while True:
            await self._unnotified.wait()
            self._unnotified.clear()
            if asyncio.get_running_loop().time() - self._waited_at >= WAITS_HERE_S:
                with contextlib.suppress(asyncpg.PostgresError, *TRANSIENT):
                    await self._pool.execute(SQL["notify"])
            await asyncio.sleep(NOTIFY_EVERY_S)

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._patience_s, 0.02
        while True:
            try:
                return await call()
            except TRANSIENT as error:
                if loop.time() + pause > deadline:
                    raise Unavailable(f"PostgreSQL cannot be reached: {type(error).__name__}: {error}") from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async def once() -> list[asyncpg.Record]:
            rows: list[asyncpg.Record] = await self._pool.fetch(query, *arguments)
            return rows

        return await self._retry(once)

    async def read_stream(self, stream: str, after: int = 0) -> Sequence[StoredEvent]:
        return (await self._gathered((stream, None, after)))[1]

    async def history(self, stream: str, version: int, limit: int, *, newest_first: bool) -> Sequence[StoredEvent]:
        return [self._event(row) for row in await self._fetch(SQL["history"], stream, version, newest_first, limit)]

    async def load(self, stream: str, definition: str) -> tuple[Snapshot | None, Sequence[StoredEvent]]:
        """Load the stream's snapshot and the events after it in one round trip.

        Most streams have no snapshot, so a round trip of its own would mostly be wasted.
        """
        return await self._gathered((stream, definition, 0))

    async def _load(self, asked: Sequence[_Asked]) -> Sequence[_Loaded]:
        columns: list[list[Any]] = [list(column) for column in zip(*asked, strict=True)]
        snapshots: list[Snapshot | None] = [None] * len(asked)
        events: list[list[StoredEvent]] = [[] for _ in asked]
        for n, version, hash_, tenant, state, digest, position, *event in await self._fetch(SQL["load"], *columns):
            if state is not None:
                snapshots[n - 1] = Snapshot(Head(version, hash_), tenant, asked[n - 1][1] or "", state, digest)
            if position is not None:
                events[n - 1].append(self._event((position, *event)))
        return list(zip(snapshots, events, strict=True))

    async def keep(self, stream: str, snapshot: Snapshot) -> None:
        (version, hash_), tenant, definition, state, digest = snapshot
        await self._fetch(SNAPSHOTS["keep"], stream, version, hash_, tenant, definition, state, digest)

    async def read(self, after: int, limit: int) -> Sequence[StoredEvent]:
        return [self._event(row) for row in await self._fetch(SQL["read"], after, limit)]

    async def all_events(self, db: Any, batch_size: int) -> AsyncIterator[Sequence[StoredEvent]]:
        """Yield all events in the order of positions, in batches.

        Args:
            db: A connection in a transaction, whose snapshot the events are read from.
            batch_size: The number of events in a batch.
        """
        after = 0
        while rows := await db.fetch(SQL["read"], after, batch_size):
            yield [self._event(row) for row in rows]
            after = rows[-1]["position"]

    async def events_between(
        self, db: Any, after: int, upto: int, batch_size: int
    ) -> AsyncIterator[Sequence[StoredEvent]]:
        """Yield the events after a position and up to another one, in order, in batches."""
        while rows := await db.fetch(SQL["between"], after, upto, batch_size):
            yield [self._event(row) for row in rows]
            after = rows[-1]["position"]

    async def of_streams(self, db: Any, streams: Sequence[str]) -> Sequence[StoredEvent]:
        """Return all events of these streams, stream by stream, in the order of versions."""
        query = SQL["of_streams"]
        return [self._event(row) for row in await db.fetch(query, streams)]

    async def heads(self, streams: Sequence[str], at: int) -> dict[str, Head]:
        query = SQL["heads"]
        return {row["stream"]: Head(row["version"], row["hash"]) for row in await self._fetch(query, streams, at)}

    async def in_store(self, events: Sequence[StoredEvent]) -> list[InStore]:
        """Look up what the store holds at the position and the version of each of these events."""
        columns = (
            [e.envelope.position for e in events],
            [e.envelope.stream for e in events],
            [e.envelope.version for e in events],
        )
        return [InStore(*row) for row in await self._fetch(SQL["in_store"], *columns)]

    async def holder(self, key: str) -> str | None:
        rows = await self._fetch(SQL["holder"], key)
        return rows[0]["stream"] if rows else None

    async def fingerprints(self, commands: Sequence[str]) -> dict[str, bytes | None]:
        rows = await self._fetch(SQL["fingerprints"], commands)
        return {row["id"]: row["fingerprint"] for row in rows}

    async def fence(self, reason: str | None) -> None:
        """Fence the store, so that it refuses all appends, or lift the fence.

        A fence of an operator's restore is neither replaced nor lifted.

        Args:
            reason: Why the store is fenced, beginning with `guard.FENCE`, or None to lift the fence.
        """
        if reason is not None:
            await self._fetch(SQL["fence"], reason)
        else:
            await self._fetch(SQL["unfence"])

    async def chain_at(self, position: int) -> tuple[int, bytes]:
        """Return the end of the last batch up to this position, and the chain there."""
        query = SQL["chain_at"]
        rows = await self._fetch(query, position)
        return (rows[0]["last_position"], rows[0]["chain"]) if rows else (0, GENESIS)

    async def position(self) -> int:
        return int((await self._fetch(SQL["position"]))[0][0])

    async def lease(self, name: str, owner: str, ttl_s: float) -> Lease | None:
        rows = await self._fetch(SQL["lease"], name, owner, ttl_s)
        return Lease(rows[0]["token"], rows[0]["position"]) if rows else None

    async def advance(self, name: str, lease: Lease, position: int) -> None:
        rows = await self._fetch(SQL["advance"], name, lease.token, lease.position, position)
        if not rows:
            raise LeaseLost(f"{name}: another owner has the lease, or its checkpoint is not {lease.position}")
        lease.position = position

    async def advance_and_read(self, name: str, lease: Lease, position: int, limit: int) -> Sequence[StoredEvent]:
        rows = await self._fetch(SQL["advance_and_read"], name, lease.token, lease.position, position, limit)
        if rows:
            lease.position = position
        else:  # The lease is lost, or the store has no such event any more.
            await self.advance(name, lease, position)
        return [self._event(row) for row in rows]

    async def release(self, name: str, lease: Lease) -> None:
        await self._fetch(SQL["release"], name, lease.token)

    async def wait(self, after: int, timeout_s: float) -> None:  # noqa: ARG002  # Any notification ends the wait.
        clock = asyncio.get_running_loop().time
        self._waited_at = clock()
        try:
            if self._listener is None or self._listener.is_closed():
                self._listener = await asyncpg.connect(self._dsn, command_timeout=10, timeout=5)
                await self._listener.add_listener("log", lambda *_: self._moved.set())
                return  # Events may have been appended before this connection listened.
            async with asyncio.timeout(timeout_s):
                await self._moved.wait()
        except (*TRANSIENT, TimeoutError):
            await asyncio.sleep(0.05 if self._listener is None or self._listener.is_closed() else 0)
        finally:
            self._moved.clear()
            self._waited_at = clock()

    def _event(self, row: Any) -> StoredEvent:
        return stored_event(row, self._source)


class _Writer:
    """A connection with `log.append` prepared, which is opened again when it breaks.

    Before its first write, each new connection calls `check` with the time at which it was made.
    """

    def __init__(self, dsn: str, check: Callable[[float], Awaitable[None]]) -> None:
        self._dsn, self._check = dsn, check
        self._connection: asyncpg.Connection | None = None
        self._checked = False

    async def connect(self, *, checked: bool = False) -> None:
        """Connect, unless the connection is open.

        Args:
            checked: Whether the new connection needs no call of `check`.
        """
        if self._connection is None or self._connection.is_closed():
            self._connection, self._checked = await asyncpg.connect(self._dsn, command_timeout=10, timeout=5), checked
            self._connected_at = asyncio.get_running_loop().time()
            try:
                self._append = await self._connection.prepare(SQL["append"])
            except BaseException:
                self.terminate()
                raise

    async def append(self, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        try:
            await self.connect()
            if not self._checked:
                await self._check(self._connected_at)
                self._checked = True
            return await self._append.fetch(*arguments)
        except TRANSIENT:
            self.terminate()
            raise

    def terminate(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


def append_arguments(writes: Sequence[Write]) -> tuple[list[Any], ...]:
    """Return the parameters of `log.append`.

    They are arrays of records, because the driver encodes them faster than an array for each column.
    """
    commands, events, taken, released = [], [], [], []
    for number, w in enumerate(writes, start=1):
        version, hash_ = w.expected
        commands.append((w.command_id, w.fingerprint, w.stream, version, hash_, len(w.events), w.refusal, w.time))
        for e, data in w.events:
            events.append(
                (
                    number,
                    e.id,
                    e.version,
                    e.type,
                    e.schema,
                    e.correlation_id,
                    e.causation_id,
                    e.actor,
                    e.tenant,
                    e.traceparent,
                    e.prevhash,
                    e.hash,
                    data.decode(),
                )
            )
        taken += [(number, key) for key in w.take]
        released += [(number, key) for key in w.release]
    return commands, events, taken, released, _continued(writes)


def _continued(writes: Sequence[Write]) -> list[int]:
    """Return for each write the number of the one before it on its stream, or 0.

    Nothing is returned if all are 0.
    """
    last: dict[str, int] = {}
    before = []
    for number, write in enumerate(writes, start=1):
        before.append(last.get(write.stream, 0))
        last[write.stream] = number
    return before if len(last) < len(writes) else []


def stored_event(row: Any, source: str) -> StoredEvent:
    """Return the event of a row that has an event's columns in the order of `log.events`."""
    *columns, data = row
    return StoredEvent(envelope_of(columns, source), data.encode())


def envelope_of(columns: Sequence[Any], source: str) -> Envelope:
    """Return the envelope of an event's columns, in the order of `log.events`.

    The last of them, `command_id`, can be missing.
    """
    position, stream, version, id_, type_, schema, time, correlation, causation, *rest = columns
    actor, tenant, traceparent, prevhash, hash_, *command_id = rest
    return Envelope(
        str(id_),
        source,
        type_,
        stream,
        time,
        schema,
        version,
        position,
        correlation,
        causation,
        actor,
        tenant,
        traceparent,
        prevhash,
        hash_,
        *command_id,
    )


def _outcomes(writes: Sequence[Write], rows: Sequence[asyncpg.Record]) -> Sequence[Outcome]:
    """Return the outcome of each write, from the rows that `log.append` returned.

    The first row is of the whole batch; the others are of the writes that were not committed.
    """
    position = rows[0]["position"]
    failed = {row["command"]: row for row in rows[1:]}
    outcomes: list[Outcome] = []
    for number, write in enumerate(writes, start=1):
        row = failed.get(number)
        if row is None:
            position += len(write.events)
            outcomes.append(Written(position))
        elif row["verdict"] == 1:
            outcomes.append(Moved())
        elif row["verdict"] == 2:
            outcomes.append(Repeated(row["fingerprint"], row["stream"], row["first"], row["count"], row["refusal"]))
        else:
            outcomes.append(Taken(row["key"]))
    return outcomes
