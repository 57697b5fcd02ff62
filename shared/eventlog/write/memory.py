"""The event store in memory, for tests that need no database.

It passes the same tests as `postgres.py`.
"""

import asyncio
from collections.abc import Sequence

from shared.eventlog.write.snapshots import Snapshot
from shared.eventlog.write.store import Head, Lease, LeaseLost, Moved, Outcome, Repeated, Taken, Write, Written
from shared.events.envelope import StoredEvent


class MemoryStore:
    """An event store in the memory of one process, for one event loop."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self._streams: dict[str, list[StoredEvent]] = {}
        self._commands: dict[str, Repeated] = {}
        self._claims: dict[str, str] = {}
        self._leases: dict[str, tuple[str, int, float, int]] = {}
        self._moved = asyncio.Event()
        self.snapshots: dict[str, Snapshot] = {}

    async def append(self, write: Write) -> Outcome:
        if write.command_id in self._commands:
            return self._commands[write.command_id]
        stream = self._streams.get(write.stream, [])
        head = Head(stream[-1].envelope.version or 0, stream[-1].envelope.hash) if stream else Head()
        if head != write.expected:
            return Moved()
        for key in write.take:
            if self._claims.get(key, write.stream) != write.stream:
                return Taken(key)
        for event in write.events:
            other = "" if write.command_id == event.envelope.causation_id else write.command_id
            stored = StoredEvent(event.envelope._replace(position=len(self.events) + 1, command_id=other), event.data)
            self.events.append(stored)
            self._streams.setdefault(write.stream, []).append(stored)
        for key in write.release:
            if self._claims.get(key) == write.stream:
                del self._claims[key]
        for key in write.take:
            self._claims[key] = write.stream
        self._commands[write.command_id] = Repeated(
            write.fingerprint, write.stream, head.version, len(write.events), write.refusal
        )
        self._moved.set()
        return Written(len(self.events))

    async def read_stream(self, stream: str, after: int = 0) -> Sequence[StoredEvent]:
        return self._streams.get(stream, [])[after:]

    async def history(self, stream: str, version: int, limit: int, *, newest_first: bool) -> Sequence[StoredEvent]:
        events = self._streams.get(stream, [])
        return events[: version - 1][::-1][:limit] if newest_first else events[version:][:limit]

    async def load(self, stream: str, definition: str) -> tuple[Snapshot | None, Sequence[StoredEvent]]:
        events, snapshot = self._streams.get(stream, []), self.snapshots.get(stream)
        if snapshot is not None:
            version, hash_ = snapshot.head
            in_log = len(events) >= version and events[version - 1].envelope.hash == hash_
            if not in_log or snapshot.definition != definition:
                snapshot = None
        return snapshot, events[snapshot.head.version if snapshot else 0 :]

    async def keep(self, stream: str, snapshot: Snapshot) -> None:
        self.snapshots[stream] = snapshot

    async def read(self, after: int, limit: int) -> Sequence[StoredEvent]:
        return self.events[after : after + limit]

    async def heads(self, streams: Sequence[str], at: int) -> dict[str, Head]:
        past = (
            e.envelope for stream in streams for e in self._streams.get(stream, []) if (e.envelope.position or 0) <= at
        )
        return {envelope.stream: Head(envelope.version or 0, envelope.hash) for envelope in past}

    async def holder(self, key: str) -> str | None:
        return self._claims.get(key)

    async def fingerprints(self, commands: Sequence[str]) -> dict[str, bytes | None]:
        return {id_: self._commands[id_].fingerprint for id_ in commands if id_ in self._commands}

    async def position(self) -> int:
        return len(self.events)

    async def lease(self, name: str, owner: str, ttl_s: float) -> Lease | None:
        holder, token, until, position = self._leases.get(name, ("", 0, 0.0, 0))
        if holder != owner:
            if holder and until >= asyncio.get_running_loop().time():
                return None
            token += 1
        self._leases[name] = (owner, token, asyncio.get_running_loop().time() + ttl_s, position)
        return Lease(token, position)

    async def advance(self, name: str, lease: Lease, position: int) -> None:
        owner, token, until, at = self._leases[name]
        if token != lease.token or at not in (lease.position, position):
            raise LeaseLost(f"{name}: another owner has the lease, or its checkpoint is not {lease.position}")
        self._leases[name] = (owner, token, until, position)
        lease.position = position

    async def advance_and_read(self, name: str, lease: Lease, position: int, limit: int) -> Sequence[StoredEvent]:
        await self.advance(name, lease, position)
        return await self.read(position - 1, limit)

    async def release(self, name: str, lease: Lease) -> None:
        _, token, _, position = self._leases[name]
        if token == lease.token:
            self._leases[name] = ("", token, 0.0, position)

    async def wait(self, after: int, timeout_s: float) -> None:
        if len(self.events) > after:
            return
        self._moved.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._moved.wait()
        except TimeoutError:
            return
