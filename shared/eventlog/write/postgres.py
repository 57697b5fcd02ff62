"""The store in PostgreSQL. The order is explained where it is made: `append.sql`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import asyncpg

from shared.eventlog.write.batching import Batcher
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

WRITERS: Final = 2
TELL_EVERY_S: Final = 0.02
FENCED: Final = "TN001"
"""What `log.append` raises with while nothing may be written."""

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
"""Faults of the connection or the server that a later try may not meet."""


async def _as_it_is(_connection: Any) -> None:
    """Nobody here changes a session's settings, so a connection goes back to its pool without a round trip."""


async def connected(dsn: str, fewest: int, most: int) -> "asyncpg.Pool[asyncpg.Record]":
    """A pool of connections. Raises the driver's error when the database can't be reached."""
    return await asyncpg.create_pool(dsn, min_size=fewest, max_size=most, command_timeout=30, reset=_as_it_is)


class PostgresStore:
    """The event log of one service in its database. Reads and writes go through connections of its own.

    A write whose connection breaks is sent again for `patience_s`, which its command id makes safe; after that the
    caller gets Unavailable and does not know whether it happened.
    """

    def __init__(self, dsn: str, service: str, *, readers: int = 4, patience_s: float = 5.0) -> None:
        self._dsn, self._service, self._readers, self._patience_s = dsn, service, readers, patience_s
        self._source = source_of(service)
        self._listener: asyncpg.Connection | None = None
        self._when_back: Callable[[], Awaitable[None]] | None = None
        self._looked_at = 0.0
        self._looking = asyncio.Lock()
        self._moved = asyncio.Event()
        self._untold = asyncio.Event()

    async def open(self) -> "PostgresStore":
        """Connects. Raises the driver's error when the database can't be reached."""
        self._pool = await connected(self._dsn, 1, self._readers)
        self._writers = [_Writer(self._dsn, self._look) for _ in range(WRITERS)]
        self._batcher = Batcher([partial(self._send, writer) for writer in self._writers])
        self._telling = asyncio.create_task(self._tell(), name="tell")
        return self

    async def watch(self, when_back: Callable[[], Awaitable[None]]) -> None:
        """From now on asks this before the first write over a connection that was made anew: PostgreSQL may have come
        back from a backup, and be fenced by it. It may raise Unavailable."""
        for writer in self._writers:  # so that any that is made from now on is one made anew
            with contextlib.suppress(asyncpg.PostgresError, *TRANSIENT):
                await writer.connect(looked=True)
        self._when_back = when_back

    async def _look(self, connected_at: float) -> None:
        """One look does for all the connections that were made before it began."""
        if self._when_back is None:
            return
        async with self._looking:
            began = asyncio.get_running_loop().time()
            if self._looked_at <= connected_at:
                await self._when_back()
                self._looked_at = began

    async def close(self) -> None:
        await self._batcher.close()
        self._telling.cancel()
        await asyncio.gather(self._telling, return_exceptions=True)
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
            rows = await self._patiently(lambda: writer.append(arguments))
        except asyncpg.PostgresError as refused:
            if refused.sqlstate != FENCED:
                raise
            raise Unavailable(str(refused)) from refused
        self._moved.set()
        self._untold.set()
        return _outcomes(writes, rows)

    async def _tell(self) -> None:
        """Wakes the relays of other processes. Not in the append's transaction: there it would cost a tenth of it,
        under the head's lock. One that is lost with this process is made up for by the relay's own looking."""
        while True:
            await self._untold.wait()
            self._untold.clear()
            with contextlib.suppress(asyncpg.PostgresError, *TRANSIENT):
                await self._pool.execute(SQL["notify"])
            await asyncio.sleep(TELL_EVERY_S)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._patience_s, 0.02
        while True:
            try:
                return await call()
            except TRANSIENT as error:
                if loop.time() + pause > deadline:
                    raise Unavailable(f"PostgreSQL can't be reached: {type(error).__name__}: {error}") from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async def once() -> list[asyncpg.Record]:
            rows: list[asyncpg.Record] = await self._pool.fetch(query, *arguments)
            return rows

        return await self._patiently(once)

    async def read_stream(self, stream: str, after: int = 0) -> Sequence[StoredEvent]:
        return [self._event(row) for row in await self._fetch(SQL["read_stream"], stream, after)]

    async def load(self, stream: str, definition: str) -> tuple[Snapshot | None, Sequence[StoredEvent]]:
        """In one round trip, since most streams have no snapshot."""
        rows = await self._fetch(SQL["load"], stream, definition)
        version, hash_, tenant, state, digest, *_ = rows[0]
        kept = None if version is None else Snapshot(Head(version, hash_), tenant, definition, state, digest)
        return kept, [self._event(row[5:]) for row in rows if row["position"] is not None]

    async def keep(self, stream: str, snapshot: Snapshot) -> None:
        (version, hash_), tenant, definition, state, digest = snapshot
        await self._fetch(SNAPSHOTS["keep"], stream, version, hash_, tenant, definition, state, digest)

    async def read(self, after: int, limit: int) -> Sequence[StoredEvent]:
        return [self._event(row) for row in await self._fetch(SQL["read"], after, limit)]

    async def all_events(self, db: Any, at_once: int) -> AsyncIterator[Sequence[StoredEvent]]:
        """All events in the order of positions, over a connection that is in a transaction: as of its snapshot."""
        after = 0
        while rows := await db.fetch(SQL["read"], after, at_once):
            yield [self._event(row) for row in rows]
            after = rows[-1]["position"]

    async def of_streams(self, db: Any, streams: Sequence[str]) -> Sequence[StoredEvent]:
        """All events of these streams, stream by stream in their order."""
        query = SQL["of_streams"]
        return [self._event(row) for row in await db.fetch(query, streams)]

    async def heads(self, streams: Sequence[str], at: int) -> dict[str, Head]:
        query = SQL["heads"]
        return {row["stream"]: Head(row["version"], row["hash"]) for row in await self._fetch(query, streams, at)}

    async def in_store(self, events: Sequence[StoredEvent]) -> list[InStore]:
        """What the store holds where each of these events, read from the topic, says that it belongs."""
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

    async def fence(self, why: str | None) -> None:
        """End all appends for this reason, which begins with `guard.FENCE`; None lets them go on.

        An operator's reason (a restore) is neither replaced nor lifted.
        """
        if why is not None:
            await self._fetch(SQL["fence"], why)
        else:
            await self._fetch(SQL["unfence"])

    async def chain_at(self, position: int) -> tuple[int, bytes]:
        """The last batch's end at or before this position, and the chain there."""
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
            raise LeaseLost(f"{name}: another owner has it, or its checkpoint is not {lease.position}")
        lease.position = position

    async def release(self, name: str, lease: Lease) -> None:
        await self._fetch(SQL["release"], name, lease.token)

    async def wait(self, after: int, timeout_s: float) -> None:  # noqa: ARG002  # any wake-up will do
        try:
            if self._listener is None or self._listener.is_closed():
                self._listener = await asyncpg.connect(self._dsn, command_timeout=10, timeout=5)
                await self._listener.add_listener("log", lambda *_: self._moved.set())
                return  # whatever came before we listened
            async with asyncio.timeout(timeout_s):
                await self._moved.wait()
        except (*TRANSIENT, TimeoutError):
            await asyncio.sleep(0.05 if self._listener is None or self._listener.is_closed() else 0)
        finally:
            self._moved.clear()

    def _event(self, row: Any) -> StoredEvent:
        return stored_event(row, self._source)


class _Writer:
    """A connection with log.append prepared, made anew when it broke; before its first write it has asked `look`."""

    def __init__(self, dsn: str, look: Callable[[float], Awaitable[None]]) -> None:
        self._dsn, self._look = dsn, look
        self._connection: asyncpg.Connection | None = None
        self._looked = False

    async def connect(self, *, looked: bool = False) -> None:
        """Unless it is connected. `looked`: nobody need look any more."""
        if self._connection is None or self._connection.is_closed():
            self._connection, self._looked = await asyncpg.connect(self._dsn, command_timeout=10, timeout=5), looked
            self._connected_at = asyncio.get_running_loop().time()
            try:
                self._append = await self._connection.prepare(SQL["append"])
            except BaseException:
                self.terminate()
                raise

    async def append(self, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        try:
            await self.connect()
            if not self._looked:
                await self._look(self._connected_at)
                self._looked = True
            return await self._append.fetch(*arguments)
        except TRANSIENT:
            self.terminate()
            raise

    def terminate(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


def append_arguments(writes: Sequence[Write]) -> tuple[list[Any], ...]:
    """The parameters of log.append: records, which the driver encodes faster than a column each."""
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
    return commands, events, taken, released


def stored_event(row: Any, source: str) -> StoredEvent:
    """Read a row of an event's columns, in the order of the log."""
    position, stream, version, id_, type_, schema, time, correlation, causation, *rest = row
    actor, tenant, traceparent, prevhash, hash_, command_id, data = rest
    envelope = Envelope(
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
        command_id,
    )
    return StoredEvent(envelope, data.encode())


def _outcomes(writes: Sequence[Write], rows: Sequence[asyncpg.Record]) -> Sequence[Outcome]:
    """The first row is the batch's, the others are of the writes that were not written."""
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
