"""What an event costs with ten times the log, the streams and the tenants: `python -m tests.benchmarks.growth ROUNDS`.

Two stores and two consumers are filled first, the one with 20,000 events of 1,000 streams of 100 tenants, the other
with ten times as much of each. Then 64 clients append to the one and the other in turns, and a process consumes the
same new events into the one's tables and the other's. The cost is processor time: this process's or the consumer's, and
that of the database's connections; the machine's other work changes it less than it changes the rate. Appends go to
1,000 streams of each store, as a service's cache has the streams that are in use. DATABASE_URL is the server,
KAFKA_BOOTSTRAP the broker. Prints a list of results, a round each, for each size.
"""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Final

import asyncpg
import psutil
import structlog
import uvloop

from deploy import topics
from shared.eventlog.decision import Stream
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.write.log import Accepted, Log
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatAssigned
from shared.sql import statements
from tests.benchmarks.consuming import Published, prepared, until_rows, workers
from tests.benchmarks.measure import SERVICE, Assign, Result, as_service, decided, fresh, meta, say
from tests.benchmarks.pipeline import CONSUMER, SEATED
from tests.databases import as_operator

SQL: Final = statements(__file__)
SIZES: Final = {"once": 1, "ten times": 10}
EVENTS: Final = 20_000
STREAMS: Final = 1_000
TENANTS: Final = 100
FILLING: Final = 256
CLIENTS: Final = 64
SLICE: Final = 1_000
SLICES: Final = 9
CONSUMED: Final = 6_000


def seats(tenants: int) -> Stream[int, Assign, SeatAssigned]:
    """Return streams of so many tenants; a command's number says whose."""
    return Stream(
        category="bench",
        initial=0,
        evolve=lambda count, _: count + 1,
        decide=decided,
        tenant=lambda event: f"tenant-{int(event.contract_id) % tenants}",
    )


def accounts(pids: Iterable[int]) -> dict[int, int]:
    """Return the processor time of each process that runs, in nanoseconds."""
    found = {}
    for pid in pids:
        with suppress(OSError):
            found[pid] = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return found


class Connections:
    """The processor time of a database's connections, from the kernel's accounts of their processes."""

    def __init__(self, db: "asyncpg.Connection[asyncpg.Record]", database: str) -> None:
        self._db, self._database = db, database
        self._used: dict[int, int] = {}

    async def used_s(self) -> float:
        """Return the seconds that connections took until now, those that ended not counted after the last call."""
        self._used |= accounts(row["pid"] for row in await self._db.fetch(SQL["connections"], self._database))
        return sum(self._used.values()) / 1e9


class Appended:
    """A store that is appended to."""

    def __init__(self, name: str, times: int) -> None:
        self._database, self._times = f"bench_{name.replace(' ', '')}", times
        self._stream = seats(TENANTS * times)
        self._numbers = itertools.count()

    async def open(self, db: "asyncpg.Connection[asyncpg.Record]") -> None:
        dsn = await as_service(await fresh(os.environ["DATABASE_URL"], self._database), SERVICE)
        self._store = await PostgresStore(dsn, SERVICE).open()
        self._log = Log(self._store, SERVICE)
        self._connections = Connections(db, self._database)
        await self.append(EVENTS * self._times, STREAMS * self._times, FILLING)

    async def append(self, events: int, streams: int, clients: int) -> None:
        """Append to each of so many streams in turn."""
        numbers = iter(range(events))

        async def client() -> None:
            for _ in numbers:
                number = next(self._numbers)
                answer = await self._log.execute(self._stream, str(number % streams), Assign(number), meta())
                assert isinstance(answer, Accepted)

        await asyncio.gather(*(client() for _ in range(clients)))

    async def used_s(self) -> float:
        return await self._connections.used_s()

    async def close(self) -> None:
        await self._store.close()


async def appends(stores: Sequence[Appended]) -> list[Result]:
    """Append to the stores in turns; return what an event cost in each, this process's part as the median slice's."""
    begun = [await each.used_s() for each in stores]
    own_s: list[list[float]] = [[] for _ in stores]
    taken_s = [0.0] * len(stores)
    for number in range(SLICES * len(stores)):
        place = (number + number // len(stores)) % len(stores)  # none is always the first
        cpu, begin = time.process_time(), time.perf_counter()
        await stores[place].append(SLICE, STREAMS, CLIENTS)
        own_s[place].append(time.process_time() - cpu)
        taken_s[place] += time.perf_counter() - begin
    results = []
    for store, before, own, taken in zip(stores, begun, own_s, taken_s, strict=True):
        server_us = (await store.used_s() - before) / (SLICE * SLICES) * 1e6
        results.append(
            {
                "append_us": round(median(own) / SLICE * 1e6 + server_us, 1),
                "append_server_us": round(server_us, 1),
                "append_events_s": round(SLICE * SLICES / taken),
            }
        )
    return results


class Consumed:
    """Tables that events are consumed into, with rows and streams from before."""

    def __init__(self, name: str, times: int) -> None:
        self._database, self._times, self.rows = f"bench_{name.replace(' ', '')}", times, EVENTS * times

    async def open(self, db: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._dsn = await prepared(self._database)
        self._connections = Connections(db, f"{self._database}_{CONSUMER}")
        filling = await asyncpg.connect(as_operator(self._dsn))
        await filling.execute(SQL["fill_table"], self.rows)
        await filling.execute(SQL["fill_hashes"], self.rows, STREAMS * self._times)
        await filling.execute(SQL["fill_seen"], f"{CONSUMER}.{SEATED.name}")
        await filling.execute(SQL["analyse"])
        await filling.close()

    async def consume(self, events: int) -> Result:
        self.rows += events
        with workers(self._dsn, 1) as processes:
            begun = await self._connections.used_s()
            await until_rows(self._dsn, self.rows)
            server_s = await self._connections.used_s() - begun
            (done,) = processes.ended()
        assert done["applied"] == events
        return {"consume_us": round((done["cpu_s"] + server_s) / events * 1e6, 1)}


async def run(rounds: int) -> Result:
    await topics.ensure(KafkaAccess.from_environment())
    db = await asyncpg.connect(f"{os.environ['DATABASE_URL']}/postgres")
    process, published = psutil.Process(), Published()
    found: dict[str, list[Result]] = {name: [] for name in SIZES}
    stores = [Appended(name, times) for name, times in SIZES.items()]
    memory = []
    for store in stores:
        await store.open(db)
        memory.append(process.memory_full_info().uss)
    tables = [Consumed(name, times) for name, times in SIZES.items()]
    for table in tables:
        await table.open(db)
    for _ in range(rounds):
        results = await appends(stores)
        await published.publish(CONSUMED)
        for name, result, table, used in zip(found, results, tables, memory, strict=True):
            found[name].append(result | await table.consume(CONSUMED) | {"memory_mib": round(used / 2**20, 1)})
    for store in stores:
        await store.close()
    await db.close()
    return dict(found)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the results'
    say(uvloop.run(run(int(sys.argv[1]))))
