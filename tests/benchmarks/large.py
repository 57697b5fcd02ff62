"""A store of a million events beside one of 50 million: `python -m tests.benchmarks.large ROUNDS`.

Both are filled by SQL, unless they are there already (20 minutes, 36 GB): streams of ten events, two of each command,
with true hashes. Then 64 clients append to the one and the other in turns, in three ways: to 1,000 streams by 1,000
accounts, whose command ids begin with theirs, as ids do that come through a service's routes; to the same by random
ids; and to new streams by these accounts. Events are larger than the filled ones: smaller rows would be put into the
gaps at the ends of the filled pages, which no log has that grew with rows of all sizes. Then each store is vacuumed, a
process of the service is started on it until it is ready, and a projection is folded as of an early position.
DATABASE_URL is the server, KAFKA_BOOTSTRAP the broker. Prints a list of results, a round each, for each size.
"""

import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

import asyncpg
import structlog
import uvloop

from deploy import topics
from deploy.service import ServicePart
from services.entitlements.projections import POOLS
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.asof import as_of
from shared.eventlog.write.log import Accepted, Log, Meta
from shared.eventlog.write.postgres import PostgresStore
from shared.events.envelope import source_of
from shared.sql import statements
from tests.benchmarks.growth import Connections
from tests.benchmarks.measure import SEATS, SERVICE, Assign, Result, as_service, fresh, meta, say, wal_bytes
from tests.console.edges import identity
from tests.databases import as_operator

logger = structlog.get_logger(__name__)

SQL: Final = statements(__file__)
SIZES: Final = {"1 million": 1_000_000, "50 million": 50_000_000}
WINDOW: Final = 10_000
"""The events of 1,000 streams, one window after the other."""
AT_ONCE: Final = 20
STREAMS: Final = 1_000
CLIENTS: Final = 64
SLICE: Final = 2_000
SLICES: Final = 8
AS_OF: Final = 20_000

_ACCOUNTS: Final = [str(uuid4()) for _ in range(1_000)]


def of_accounts(number: int) -> str:
    """Return a command id as a route makes it: it begins with the account that sends the command."""
    return f"{_ACCOUNTS[number * 617 % len(_ACCOUNTS)]}:{uuid4()}"


def at_random(_number: int) -> str:
    """Return a command id that has no neighbour."""
    return str(uuid4())


WAYS: Final[dict[str, tuple[Callable[[int], str], Callable[[int], str]]]] = {
    "append": (lambda number: f"{number % STREAMS:036d}", of_accounts),
    "random_ids": (lambda number: f"{number % STREAMS:036d}", at_random),
    "new_streams": (at_random, of_accounts),
}
"""For each way to append, the stream's key and the command's id, by the command's number."""


class Large:
    """A store that was filled with so many events."""

    def __init__(self, events: int) -> None:
        self._events, self._database = events, f"large_{events}_{SERVICE}"
        self._numbers = itertools.count()

    async def open(self, db: "asyncpg.Connection[asyncpg.Record]") -> None:
        server = os.environ["DATABASE_URL"]
        if not await db.fetchval("select count(*) from pg_database where datname = $1", self._database):
            await as_service(await fresh(server, self._database), SERVICE)
        self.dsn = await as_service(f"{server}/{self._database}", SERVICE)
        await self._fill(f"{server}/{self._database}")
        self._store = await PostgresStore(self.dsn, SERVICE).open()
        self._log = Log(self._store, SERVICE)
        self._connections = Connections(db, self._database)

    async def _fill(self, dsn: str) -> None:
        filling = await asyncpg.connect(dsn)
        if await filling.fetchval(SQL["filled"]) < self._events:
            windows = self._events // WINDOW
            async with filling.transaction():
                await filling.execute(SQL["begin"])
                for first in range(0, windows, AT_ONCE):
                    last = min(windows, first + AT_ONCE)
                    await filling.execute(SQL["events"], first, last, source_of(SERVICE))
                await filling.execute("set local maintenance_work_mem = '1GB'")
                for step in ("commands", "index", "batches"):
                    await filling.execute(SQL[step])
            for step in ("vacuum_events", "vacuum_commands", "checkpoint"):
                await filling.execute(SQL[step])
        await filling.execute(SQL["forget"])
        await filling.close()

    async def append(self, way: str, events: int) -> None:
        stream, command = WAYS[way]
        numbers = iter(range(events))

        async def client() -> None:
            for _ in numbers:
                number = next(self._numbers)
                answer = await self._log.execute(SEATS, stream(number), Assign(number), _meta(command(number)))
                assert isinstance(answer, Accepted)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def used_s(self) -> float:
        return await self._connections.used_s()

    async def vacuum_s(self) -> float:
        """Return how long a vacuum takes, after what was appended."""
        owner = await asyncpg.connect(as_operator(self.dsn))
        begin = time.perf_counter()
        for table in ("events", "commands"):
            await owner.execute(SQL[f"vacuum_{table}"])
        await owner.close()
        return time.perf_counter() - begin

    async def restart_s(self, issuer: str) -> float:
        """Return how long a process of the service takes until it is ready."""
        env = {"DATABASE_URL": self.dsn.removesuffix(f"_{SERVICE}"), "TENURE_LOG": "json"}
        env |= {"TENURE_IDENTITY_URL": issuer, "TENURE_ISSUER": issuer}
        with tempfile.TemporaryDirectory() as folder:
            part = ServicePart(SERVICE, Path(folder), env=env)
            begin = time.perf_counter()
            await asyncio.to_thread(part.start)
            taken = time.perf_counter() - begin
            await asyncio.to_thread(part.stop)
        return taken

    async def as_of_s(self) -> float:
        """Return how long it takes to fold a projection as of an early position."""
        begin = time.perf_counter()
        dsn, access = as_operator(self.dsn), KafkaAccess.from_environment()
        async with as_of(SERVICE, POOLS, dsn, access, position=AS_OF):
            return time.perf_counter() - begin

    async def close(self) -> None:
        await self._store.close()


def _meta(command_id: str) -> Meta:
    return meta()._replace(command_id=command_id, causation_id=command_id)


async def appends(db: "asyncpg.Connection[asyncpg.Record]", stores: Sequence[Large], way: str) -> list[Result]:
    """Append to the stores in turns; return the rate, and what an event cost this process and the server."""
    await db.execute(SQL["checkpoint"])
    for each in stores:
        await each.append(way, SLICE)
    own_us: list[list[float]] = [[] for _ in stores]
    server_us: list[list[float]] = [[] for _ in stores]
    rates: list[list[float]] = [[] for _ in stores]
    written = [0] * len(stores)
    for number in range(SLICES * len(stores)):
        place = (number + number // len(stores)) % len(stores)  # none is always the first
        store = stores[place]
        used, cpu, wal, begin = await store.used_s(), time.process_time(), await wal_bytes(db), time.perf_counter()
        await store.append(way, SLICE)
        rates[place].append(SLICE / (time.perf_counter() - begin))
        own_us[place].append((time.process_time() - cpu) / SLICE * 1e6)
        server_us[place].append((await store.used_s() - used) / SLICE * 1e6)
        written[place] += await wal_bytes(db) - wal
    return [
        {
            f"{way}_events_s": round(median(rate)),
            f"{way}_us": round(median(own) + median(server), 1),
            f"{way}_server_us": round(median(server), 1),
            f"{way}_wal_bytes": round(wal / (SLICE * SLICES)),
        }
        for rate, own, server, wal in zip(rates, own_us, server_us, written, strict=True)
    ]


async def run(rounds: int) -> Result:
    await topics.ensure(KafkaAccess.from_environment())
    db = await asyncpg.connect(f"{os.environ['DATABASE_URL']}/postgres")
    found: dict[str, list[Result]] = {name: [] for name in SIZES}
    stores = [Large(events) for events in SIZES.values()]
    for store in stores:
        await store.open(db)
    with identity() as issuer:
        for _ in range(rounds):
            results: list[Result] = [{} for _ in stores]
            for way in WAYS:
                for result, figures in zip(results, await appends(db, stores, way), strict=True):
                    result |= figures
                    logger.info("appended", **figures)
            for result, store in zip(results, stores, strict=True):
                result["vacuum_s"] = round(await store.vacuum_s(), 2)
                result["restart_s"] = round(await store.restart_s(issuer), 2)
                result["as_of_s"] = round(await store.as_of_s(), 2)
            for result in results:
                result["restart_more_s"] = round(result["restart_s"] - results[0]["restart_s"], 2)
            for name, result in zip(found, results, strict=True):
                logger.info("a round has ended", store=name, **result)
                found[name].append(result)
    for store in stores:
        await store.close()
    await db.close()
    return dict(found)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the results'
    say(uvloop.run(run(int(sys.argv[1]))))
