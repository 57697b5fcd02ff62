"""A service's database as far as its consumers and timers use it: rows, row locks, transactions that commit whole.

It knows no SQL. What the engine stores and what reactions look up is answered by twins (`twins/`), each call as a
`statement`. Read-committed: a transaction's writes are seen by others once it commits.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg

from shared.eventlog.deliver.received import Partition
from shared.eventlog.write.memory import MemoryStore
from shared.events.envelope import StoredEvent
from tests.simulation.store import Rates
from tests.simulation.time import SimulatedProcess

Key = tuple[Any, ...]
Row = dict[str, Any]


class Tables:
    """What is committed. Every row has a key: its table's name first."""

    def __init__(self) -> None:
        self._envelope: defaultdict[str, dict[Key, Row]] = defaultdict(dict)
        self.log = MemoryStore()
        """The service's own log, in the same database."""
        self.locks: dict[Key, asyncio.Lock] = {}
        self.moved = asyncio.Event()

    def rows(self, table: str) -> dict[Key, Row]:
        return self._envelope[table]

    def of(self, table: str) -> list[Row]:
        return _in_order(self._envelope[table])


def _in_order(rows: dict[Key, Row]) -> list[Row]:
    return [rows[key] for key in sorted(rows, key=repr)]


class Transaction:
    """A connection with, sometimes, a transaction: its own writes over what is committed."""

    def __init__(self, tables: Tables, process: SimulatedProcess, chance: random.Random, rates: Rates) -> None:
        self._tables, self._process, self._chance, self._rates = tables, process, chance, rates
        self._writes: dict[Key, Row | None] = {}
        self._held: list[asyncio.Lock] = []
        self._depth = 0

    @property
    def log(self) -> MemoryStore:
        return self._tables.log

    def stored(self, stream: str, version: int) -> StoredEvent | None:
        """The log's event of this version."""
        events = self.log._streams.get(stream, [])
        return events[version - 1] if 1 <= version <= len(events) else None

    def parked(self, consumer: str) -> list[Row]:
        """What holds up its stream in this consumer."""
        return [row for row in self.all("parked") if row["consumer"] == consumer and row["holds_stream"]]

    def is_closed(self) -> bool:
        return False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        before, self._depth = dict(self._writes), self._depth + 1
        try:
            yield
            if self._depth == 1:
                await self._commit()
        except BaseException:
            self._writes = before
            raise
        finally:
            self._depth -= 1
            if self._depth == 0:
                for lock in self._held:
                    lock.release()
                self._held.clear()

    async def _commit(self) -> None:
        await self._gate()
        if not self._writes:
            return
        for key, row in self._writes.items():
            if row is None:
                self._tables.rows(key[0]).pop(key, None)
            else:
                self._tables.rows(key[0])[key] = row
        self._writes.clear()
        await self._process.gate()
        if self._chance.random() < self._rates.database:
            raise asyncpg.ConnectionDoesNotExistError("the answer to COMMIT was cut off")

    async def _gate(self) -> None:
        await self._process.gate()
        if self._rates.stall and self._chance.random() < self._rates.stall:
            await self._process.stall()
        if self._rates.database and self._chance.random() < self._rates.database:
            raise asyncpg.ConnectionDoesNotExistError("the connection broke")

    def get(self, *key: Any) -> Row | None:
        return self._writes[key] if key in self._writes else self._tables.rows(key[0]).get(key)

    def put(self, at: Key, /, **values: Any) -> None:
        """Inserts or updates the row."""
        self._writes[at] = {**(self.get(*at) or {}), **values}

    def made(self, at: Key, /, **values: Any) -> Row:
        """`on conflict do nothing`, of a statement that is a transaction of its own: nobody comes between."""
        return self._tables.rows(at[0]).setdefault(at, values)

    def delete(self, *key: Any) -> None:
        self._writes[key] = None

    def all(self, table: str) -> list[Row]:
        kept = self._tables.rows(table)
        if not self._writes:
            return _in_order(kept)
        merged = {k: r for k, r in kept.items() if k not in self._writes}
        merged |= {k: r for k, r in self._writes.items() if k[0] == table and r is not None}
        return _in_order(merged)

    async def lock(self, key: Key) -> None:
        """Locks the row until the transaction ends."""
        lock = self._tables.locks.setdefault(key, asyncio.Lock())
        if lock not in self._held:
            await lock.acquire()
            self._held.append(lock)

    def is_locked(self, key: Key) -> bool:
        """Whether another transaction has locked the row."""
        lock = self._tables.locks.get(key)
        return lock is not None and lock.locked() and lock not in self._held

    @asynccontextmanager
    async def statement(self) -> AsyncIterator["Transaction"]:
        """One statement over these rows: where no transaction is open, one of its own."""
        await self._gate()
        yield self
        if self._depth == 0 and self._writes:
            await self._commit()


class Pool:
    """One process's connections."""

    def __init__(self, tables: Tables, process: SimulatedProcess, chance: random.Random, rates: Rates) -> None:
        self._arguments = (tables, process, chance, rates)

    def _connection(self) -> Transaction:
        return Transaction(*self._arguments)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Transaction]:
        yield self._connection()

    def statement(self) -> AbstractAsyncContextManager[Transaction]:
        """See `Transaction.statement`."""
        return self._connection().statement()


def offsets(tables: Tables, consumer: str) -> dict[Partition, int]:
    return {(key[2], key[3]): row["offset"] for key, row in tables.rows("checkpoint").items() if key[1] == consumer}
