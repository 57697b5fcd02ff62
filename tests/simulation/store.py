"""The store as one process reaches it: in memory, behind a connection that breaks before or after the commit."""

import random
from collections.abc import Sequence
from dataclasses import replace

from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.store import Head, Lease, Moved, Outcome, Unavailable, Write
from shared.events.envelope import StoredEvent
from tests.simulation.time import SimulatedProcess


class Connection:
    """Implements `Store` for one process."""

    def __init__(self, store: MemoryStore, process: SimulatedProcess, chance: random.Random, faults: "Rates") -> None:
        self._store, self._process, self._chance, self._faults = store, process, chance, faults

    def _breaks(self) -> bool:
        return self._chance.random() < self._faults.store

    async def append(self, write: Write) -> Outcome:
        await self._process.gate()
        if self._breaks():
            raise Unavailable("the connection broke before the write was sent")
        if self._chance.random() < self._faults.conflict:
            return Moved()
        outcome = await self._store.append(replace(write))
        await self._process.gate()
        if self._breaks():
            raise Unavailable("the connection broke before the answer came")
        return outcome

    async def read_stream(self, stream: str, after: int = 0) -> Sequence[StoredEvent]:
        await self._process.gate()
        found = list(await self._store.read_stream(stream, after))
        await self._process.gate()
        return found

    async def history(self, stream: str, version: int, limit: int, *, newest_first: bool) -> Sequence[StoredEvent]:
        return list(await self._store.history(stream, version, limit, newest_first=newest_first))

    async def read(self, after: int, limit: int) -> Sequence[StoredEvent]:
        await self._process.gate()
        if self._breaks():
            raise Unavailable("the connection broke")
        found = list(await self._store.read(after, min(limit, self._chance.randrange(1, 40))))
        await self._process.gate()
        return found

    async def heads(self, streams: Sequence[str], at: int) -> dict[str, Head]:
        await self._process.gate()
        return await self._store.heads(streams, at)

    async def holder(self, key: str) -> str | None:
        await self._process.gate()
        return await self._store.holder(key)

    async def fingerprints(self, commands: Sequence[str]) -> dict[str, bytes | None]:
        await self._process.gate()
        return await self._store.fingerprints(commands)

    async def position(self) -> int:
        return await self._store.position()

    async def lease(self, name: str, owner: str, ttl_s: float) -> Lease | None:
        await self._process.gate()
        lease = await self._store.lease(name, owner, ttl_s)
        await self._process.gate()
        return lease

    async def advance(self, name: str, lease: Lease, position: int) -> None:
        await self._process.gate()
        if self._breaks():
            raise Unavailable("the connection broke before the checkpoint was moved")
        await self._store.advance(name, lease, position)
        await self._process.gate()

    async def advance_and_read(self, name: str, lease: Lease, position: int, limit: int) -> Sequence[StoredEvent]:
        await self._process.gate()
        if self._breaks():
            raise Unavailable("the connection broke before the checkpoint was moved")
        found = await self._store.advance_and_read(name, lease, position, min(limit, self._chance.randrange(1, 40)))
        await self._process.gate()
        if self._breaks():
            raise Unavailable("the connection broke before the answer came")
        return list(found)

    async def release(self, name: str, lease: Lease) -> None:
        await self._process.gate()
        await self._store.release(name, lease)

    async def wait(self, after: int, timeout_s: float) -> None:
        await self._store.wait(after, timeout_s)
        await self._process.gate()


class Rates:
    """How often things break, of one; all chosen by the seed, and nil once it is to come to rest."""

    def __init__(self, chance: random.Random) -> None:
        calm = chance.random() < 0.1
        self.store = 0.0 if calm else chance.choice((0.0, 0.01, 0.05))
        self.conflict = 0.0 if calm else chance.choice((0.0, 0.02))
        self.database = 0.0 if calm else chance.choice((0.0, 0.008, 0.03))
        self.broker = 0.0 if calm else chance.choice((0.0, 0.05, 0.2))
        self.again = 0.0 if calm else chance.choice((0.0, 0.1, 0.3))
        self.stall = 0.0 if calm else chance.choice((0.0, 0.004, 0.012))
        self.upsets = 0 if calm else chance.randrange(2, 14)
        self.forgeries = 0 if calm else chance.choice((0, 1, 4))

    def heal(self) -> None:
        self.store = self.conflict = self.database = self.broker = self.again = self.stall = 0.0
