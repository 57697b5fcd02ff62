"""One run of appends, in a process of its own: `python -m tests.benchmarks.append VARIANT CLIENTS SECONDS`.

`execute` is `Log.execute` over PostgreSQL, whole: decider, event, hash, batch, answer. `naive` is what one writes
without an engine: one INSERT, one transaction, one connection of a pool per command. Both are closed loops. `copy` is
COPY of as many events. DATABASE_URL is the server. Every run has a database of its own.
"""

import asyncio
import os
import sys
import time
from abc import ABC, abstractmethod
from typing import Final

import asyncpg
import uvloop

from shared.eventlog.write.log import Accepted, Log
from shared.eventlog.write.postgres import PostgresStore
from tests.benchmarks.measure import (
    SEATS,
    SERVICE,
    STREAMS,
    Assign,
    Result,
    as_service,
    cpu_meter,
    decided,
    fresh,
    meta,
    quantiles,
    say,
    wal_bytes,
)

DATABASE: Final = "bench_append"
POOL: Final = 32
WARM_UP_S: Final = 0.5


class Variant(ABC):
    """A way to append."""

    events = "select count(*) from log.events"

    @abstractmethod
    async def open(self, dsn: str, clients: int) -> None: ...

    @abstractmethod
    async def append(self, stream: int, number: int) -> None:
        """Returns once the stream's event of this number (from 1) is committed."""

    async def round_trips(self, db: "asyncpg.Connection[asyncpg.Record]") -> int:
        """How often the server was asked to append, each time in one transaction."""
        return int(await db.fetchval(self.events))


class Execute(Variant):
    async def open(self, dsn: str, clients: int) -> None:
        dsn = await as_service(dsn, SERVICE)
        self._log = Log(await PostgresStore(dsn, SERVICE).open(), SERVICE)

    async def append(self, stream: int, number: int) -> None:
        answer = await self._log.execute(SEATS, str(stream), Assign(number), meta())
        assert isinstance(answer, Accepted)
        assert answer.version == number

    async def round_trips(self, db: "asyncpg.Connection[asyncpg.Record]") -> int:
        return int(await db.fetchval("select count(*) from log.batches"))


class Naive(Variant):
    events = "select count(*) from events"

    async def open(self, dsn: str, clients: int) -> None:
        size = min(clients, POOL)
        self._pool = await asyncpg.create_pool(dsn, min_size=size, max_size=size)
        await self._pool.execute(
            "create table events (position bigint generated always as identity primary key, stream text not null, "
            "version int not null, type text not null, data jsonb not null, "
            "at timestamptz not null default clock_timestamp(), unique (stream, version))"
        )

    async def append(self, stream: int, number: int) -> None:
        (event,) = decided(Assign(number), 0)
        await self._pool.execute(
            "insert into events (stream, version, type, data) values ($1, $2, $3, $4)",
            f"bench-{stream}",
            number,
            "SeatAssigned",
            event.data().decode(),
        )


async def copied(seconds: float) -> Result:
    """Measure PostgreSQL's COPY into the naive table, with one connection: the limit of writing."""
    dsn = await fresh(os.environ["DATABASE_URL"], DATABASE)
    await Naive().open(dsn, 1)
    db = await asyncpg.connect(dsn)
    (event,) = decided(Assign(0), 0)
    data, written, wal_before, begin = event.data().decode(), 0, await wal_bytes(db), time.perf_counter()
    while time.perf_counter() - begin < seconds:
        number = written // STREAMS + 1
        rows = [(f"bench-{stream}", number, "SeatAssigned", data) for stream in range(STREAMS)]
        await db.copy_records_to_table("events", records=rows, columns=("stream", "version", "type", "data"))
        written += STREAMS
    took = time.perf_counter() - begin
    return {"events_s": round(written / took), "wal_bytes": round((await wal_bytes(db) - wal_before) / written)}


VARIANTS: Final[dict[str, type[Variant]]] = {"execute": Execute, "naive": Naive}


async def run(name: str, clients: int, seconds: float) -> Result:
    """Each client goes through streams of its own, one command after the other."""
    variant = VARIANTS[name]()
    dsn = await fresh(os.environ["DATABASE_URL"], DATABASE)
    await variant.open(dsn, clients)
    db = await asyncpg.connect(dsn)
    latencies: list[int] = []
    written, wal_before = 0, await wal_bytes(db)
    begin = time.perf_counter_ns() + int(WARM_UP_S * 1e9)
    end = begin + int(seconds * 1e9)

    async def client(first: int) -> None:
        nonlocal written
        number = 1
        while True:
            for stream in range(first, STREAMS, clients):
                sent = time.perf_counter_ns()
                if sent >= end:
                    return
                await variant.append(stream, number)
                written += 1
                if sent >= begin:
                    latencies.append(time.perf_counter_ns() - sent)
            number += 1

    cpu_us = cpu_meter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    cpu = cpu_us(written)
    assert await db.fetchval(variant.events) == written, "what was acknowledged is not what is there"
    return {
        "events_s": round(len(latencies) / seconds),
        **quantiles(latencies),
        "cpu_us": cpu,
        "events_a_round_trip": round(written / await variant.round_trips(db), 1),
        "wal_bytes": round((await wal_bytes(db) - wal_before) / written),
    }


if __name__ == "__main__":
    variant, clients, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    say(uvloop.run(copied(seconds) if variant == "copy" else run(variant, clients, seconds)))
