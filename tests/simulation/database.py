"""A service's database as far as its consumers and timers use it: rows, row locks, transactions that commit whole.

It answers the engine's own statements, each as its module names it; one that it does not know is an error. What
reactions look up is answered by twins (`twins/`), each call as a `statement`. Read-committed: a transaction's writes
are seen by others once it commits.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from shared.eventlog.deliver import clocks, duplicates, leaving, timers
from shared.eventlog.deliver.consumer import SQL
from shared.eventlog.deliver.plan import HIDING, Partition
from shared.eventlog.write.memory import MemoryStore
from shared.events.envelope import StoredEvent
from shared.runtime import clocks as moved_clocks
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

    async def _lock(self, key: Key) -> None:
        lock = self._tables.locks.setdefault(key, asyncio.Lock())
        if lock not in self._held:
            await lock.acquire()
            self._held.append(lock)

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        await self._gate()
        if query in (SQL["lock_checkpoints"], SQL["read_checkpoints"]):
            return await self._stand(query == SQL["lock_checkpoints"], *arguments)
        found: list[Any] = _answer(query)(self, *arguments)
        return found

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        return (await self.fetch(query, *arguments))[0]

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        return await self.fetch(query, *arguments)

    async def execute(self, query: str, *arguments: Any) -> None:
        async with self.statement():
            _answer(query)(self, *arguments)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator["Transaction"]:
        """One statement over these rows: where no transaction is open, one of its own."""
        await self._gate()
        yield self
        if self._depth == 0 and self._writes:
            await self._commit()

    async def _stand(self, locks: bool, consumer: str, topics: Sequence[str], numbers: Sequence[int]) -> list[Row]:
        found = []
        for topic, number in sorted(zip(topics, numbers, strict=True)):
            key = ("checkpoint", consumer, topic, number)
            if self.get(*key) is None:
                continue
            if locks:
                await self._lock(key)
            row = self.get(*key) or {}
            not_awaited = any(
                p["reason"] in HIDING and (p["consumer"], p["topic"], p["partition"]) == key[1:]
                for p in self.all("parked")
            )
            found.append({"topic": topic, "partition": number, "offset": row["offset"], "has_unreadable": not_awaited})
        return found


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

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        return await self._connection().fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        return await self._connection().fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        return await self._connection().fetchval(query, *arguments)

    async def execute(self, query: str, *arguments: Any) -> None:
        await self._connection().execute(query, *arguments)


# ── The engine's statements ────────────────────────────────────────────────────────────────────────────


def _seen(tx: Transaction, consumer: str, streams: Sequence[str]) -> list[Row]:
    holding = tx.parked(consumer)
    found = []
    for stream in streams:
        row = tx.get("seen", consumer, stream) or {"version": None, "hash": None}
        mine = [p for p in holding if p["stream"] == stream]
        blocked = any(p["reason"] != "gap" and p["version"] <= (row["version"] or 0) + 1 for p in mine)
        found.append({**row, "stream": stream, "held": bool(mine), "blocked": blocked})
    return found


def _stored(tx: Transaction, streams: Sequence[str], versions: Sequence[int]) -> list[Row]:
    found = []
    for stream, version in zip(streams, versions, strict=True):
        if (event := tx.stored(stream, version)) is not None:
            envelope = event.envelope
            found.append(
                {
                    "stream": stream,
                    "version": version,
                    "hash": envelope.hash,
                    "position": envelope.position,
                    "command_id": envelope.command_id,
                    "record": None,
                }
            )
    return found


def _known(tx: Transaction, streams: Sequence[str], versions: Sequence[int]) -> list[Row]:
    rows = (tx.get("hash", *each) for each in zip(streams, versions, strict=True))
    return [{**row, "position": None, "command_id": None} for row in rows if row is not None]


def _head(tx: Transaction) -> list[Row]:
    return [{"position": len(tx.log.events), "fenced": None}]


def _advance(
    tx: Transaction,
    consumer: str,
    streams: Sequence[str],
    versions: Sequence[int],
    hashes: Sequence[bytes],
    _tenants: Sequence[str | None],
    topics: Sequence[str],
    numbers: Sequence[int],
    offsets: Sequence[int],
    *dealt_with: Sequence[Any],
) -> None:
    for stream, version, hash_ in zip(streams, versions, hashes, strict=True):
        tx.put(("seen", consumer, stream), consumer=consumer, stream=stream, version=version, hash=hash_)
    for topic, number, offset in zip(topics, numbers, offsets, strict=True):
        tx.put(("checkpoint", consumer, topic, number), offset=offset)
    for stream, version, hash_, record in zip(*dealt_with, strict=True):
        tx.made(("hash", stream, version), stream=stream, version=version, hash=hash_, record=record)


def _assign(tx: Transaction, consumer: str, topics: Sequence[str], numbers: Sequence[int]) -> list[Row]:
    rows = []
    for topic, number in zip(topics, numbers, strict=True):
        key = ("checkpoint", consumer, topic, number)
        row = tx.made(key, offset=-1)
        rows.append({"topic": topic, "partition": number, **row})
    return rows


def _park(tx: Transaction, consumer: str, *columns: Sequence[Any]) -> None:
    names = (
        "topic",
        "partition",
        "offset",
        "stream",
        "version",
        "reason",
        "detail",
        "holds_stream",
        "key",
        "headers",
        "value",
    )
    for values in zip(*columns, strict=True):
        row = dict(zip(names, values, strict=True), consumer=consumer)
        tx.put(("parked", consumer, row["topic"], row["partition"], row["offset"]), **row)


def _clock(tx: Transaction, organisation: str, ahead_s: int) -> None:
    change = max((row["change"] for row in tx.all("clock")), default=0) + 1
    tx.put(("clock", organisation), organisation_id=organisation, ahead_s=ahead_s, change=change)


def _clocks_since(tx: Transaction, change: int) -> list[Row]:
    return sorted((r for r in tx.all("clock") if r["change"] > change), key=lambda row: int(row["change"]))


def _set_timer(tx: Transaction, name: str, key: str, due: datetime, customer: str, by: str, correlation: str) -> None:
    tx.put(
        ("timer", name, key),
        name=name,
        key=key,
        due=due,
        customer=customer,
        set_by=by,
        correlation_id=correlation,
        first_due=None,
    )


def _cancel_timer(tx: Transaction, name: str, key: str) -> None:
    if tx.get("timer", name, key) is not None:
        tx.delete("timer", name, key)


def _fired(tx: Transaction, names: Sequence[str], keys: Sequence[str], dues: Sequence[datetime]) -> None:
    for name, key, due in zip(names, keys, dues, strict=True):
        if (row := tx.get("timer", name, key)) is not None and row["due"] == due:
            tx.delete("timer", name, key)


def _due(tx: Transaction, now: datetime, limit: int) -> list[Row]:
    ahead = {row["organisation_id"]: timedelta(seconds=row["ahead_s"]) for row in tx.all("clock")}
    found = [{**t, "ahead_s": int(ahead.get(t["customer"], timedelta()).total_seconds())} for t in tx.all("timer")]
    due = [t for t in found if t["due"] <= now + timedelta(seconds=t["ahead_s"])]
    return sorted(due, key=lambda t: (t["due"], t["key"], t["name"]))[:limit]


def _put_off(tx: Transaction, name: str, key: str, due: datetime, later: datetime) -> None:
    raise AssertionError(f"the timer {name} of {key}, due {due}, could not be fired")


def _claim(tx: Transaction, consumer: str, identities: Sequence[bytes], contents: Sequence[bytes]) -> list[Row]:
    return [
        tx.made(("inbound", consumer, identity), identity=identity, content=content)
        for identity, content in zip(identities, contents, strict=True)
    ]


def _unclaim(tx: Transaction, consumer: str, identities: Sequence[bytes], contents: Sequence[bytes]) -> None:
    for identity, content in zip(identities, contents, strict=True):
        if (noted := tx.get("inbound", consumer, identity)) is not None and noted["content"] == content:
            tx.delete("inbound", consumer, identity)


_ANSWERS: Final[dict[str, Callable[..., Any]]] = {
    SQL["seen"]: _seen,
    SQL["advance"]: _advance,
    SQL["assign"]: _assign,
    leaving.SQL["park"]: _park,
    duplicates.SQL["claim"]: _claim,
    duplicates.SQL["unclaim"]: _unclaim,
    SQL["stored"]: _stored,
    SQL["known"]: _known,
    SQL["head"]: _head,
    moved_clocks.SQL["move"]: _clock,
    clocks.SQL["moved"]: _clocks_since,
    timers.SQL["set"]: _set_timer,
    timers.SQL["cancel"]: _cancel_timer,
    timers.SQL["fired"]: _fired,
    timers.SQL["due"]: _due,
    timers.SQL["postpone"]: _put_off,
}


def _answer(query: str) -> Callable[..., Any]:
    found = _ANSWERS.get(query)
    if found is None:
        raise AssertionError(f"the simulated database does not know: {query[:120]}")
    return found


def offsets(tables: Tables, consumer: str) -> dict[Partition, int]:
    return {(key[2], key[3]): row["offset"] for key, row in tables.rows("checkpoint").items() if key[1] == consumer}
