"""How fast processes of a service consume a topic into a table.

`python -m tests.benchmarks.consuming fill EVENTS` publishes so many events. `… tables EVENTS` consumes them by one
process into a new database, whole: records checked, chains, folds, checkpoints; `… faststream EVENTS` reads them by a
batch handler of FastStream that does nothing. `… work DATABASE` is one process of the service: it says when it has its
partitions, and what it did once its standard input is closed. DATABASE_URL is the server, KAFKA_BOOTSTRAP the broker.
Prints the result as JSON.
"""

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import asyncpg
import structlog
import uvloop
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage

from deploy import ROOT
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.host import ConsumerHost
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.offsets import group_of
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.received import Partition, Received
from shared.eventlog.deliver.together import Share
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events.envelope import StoredEvent
from tests.benchmarks.measure import STREAMS, Assign, Result, as_service, decided, fresh, kafka_requests, say
from tests.benchmarks.pipeline import CONSUMER, SEATED, TABLE, TOPIC, until
from tests.databases import as_operator, execute_as_operator
from tests.examples.positions import Store, publish

PATIENCE_S: Final = 120.0
ROWS: Final = "select count(*) from bench"
_TENANTS: Final = [f"org-{number}" for number in range(100)]


class Published:
    """The events of a log of seats, published in order."""

    def __init__(self, streams: int = STREAMS) -> None:
        self._store = Store(_TENANTS, streams)
        (event,) = decided(Assign(0), 0)
        self._data = event.data()

    @property
    def made(self) -> int:
        """The number of events until now."""
        return len(self._store.events)

    def grow(self, count: int) -> list[StoredEvent]:
        """Make the next events."""
        return self._store.grow(count, self._data, event_type="SeatAssigned")

    async def publish(self, count: int) -> None:
        """Make and publish the next events."""
        await publish(KafkaAccess.from_environment(), TOPIC, self.grow(count))


async def prepared(database: str) -> str:
    """Make a new database of the consuming service, with an empty table. Return its URL, for the service's role."""
    dsn = await as_service(await fresh(os.environ["DATABASE_URL"], f"{database}_{CONSUMER}"), CONSUMER)
    await execute_as_operator(dsn, TABLE)
    return dsn


class Counted(Consumer):
    """Notes when the first batch came and when the last one was committed."""

    applied: int = 0
    began_ns: int = 0
    ended_ns: int = 0
    _cpu_s: tuple[float, float] = (0.0, 0.0)

    def share(self, records: Sequence[Received], impatient: Collection[Partition] = ()) -> Share:
        if not self.began_ns:
            self.began_ns, self._cpu_s = time.monotonic_ns(), (time.process_time(), 0.0)
        return super().share(records, impatient)

    def committed(self, share: Share, done: BatchPlan) -> None:
        super().committed(share, done)
        self.applied += len(done.apply)
        self.ended_ns, self._cpu_s = time.monotonic_ns(), (self._cpu_s[0], time.process_time())

    @property
    def result(self) -> Result:
        cpu_s = self._cpu_s[1] - self._cpu_s[0]
        return {"applied": self.applied, "began_ns": self.began_ns, "ended_ns": self.ended_ns, "cpu_s": cpu_s}


async def work(dsn: str) -> None:
    """Consume until standard input is closed; then print what was done."""
    pool = await asyncpg.create_pool(dsn, min_size=2, max_size=12)
    store = await PostgresStore(dsn, CONSUMER).open()
    counted = Counted(CONSUMER, SEATED, pool, Log(store, CONSUMER), Clocks(utc_now))
    host = ConsumerHost(group_of(CONSUMER), [counted], KafkaAccess.from_environment())
    with kafka_requests() as requests:
        hosting = asyncio.create_task(host.run())
        await until(lambda: bool(host.feeds) and all(feed.ready for feed in host.feeds))
        say({"ready": True})
        await asyncio.to_thread(sys.stdin.read)
        say(counted.result | {"requests": requests.total()})
    hosting.cancel()
    await asyncio.gather(hosting, return_exceptions=True)
    await store.close()
    pool.terminate()


class Workers:
    """Processes of the consuming service, side by side."""

    def __init__(self, processes: Sequence["subprocess.Popen[str]"]) -> None:
        self._processes = processes

    @property
    def pids(self) -> Sequence[int]:
        return [process.pid for process in self._processes]

    def ended(self) -> Sequence[Result]:
        """End them, and return what each did."""
        said = [process.communicate(timeout=PATIENCE_S)[0] for process in self._processes]
        return [json.loads(each) for each in said]


@contextlib.contextmanager
def workers(dsn: str, number: int) -> Iterator[Workers]:
    """Start processes that consume into a database; all of them have their partitions."""
    command = [sys.executable, "-m", "tests.benchmarks.consuming", "work", dsn]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(number)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline(), "a process of the service ended"
        yield Workers(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def until_rows(dsn: str, rows: int) -> None:
    """Wait until the table has so many rows."""
    db = await asyncpg.connect(as_operator(dsn))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await db.fetchval(ROWS) < rows:  # noqa: ASYNC110  # the process tells nobody
                await asyncio.sleep(0.02)
    finally:
        await db.close()


def together(done: Sequence[Result]) -> Result:
    """Return what several processes did in the time from the first one's begin to the last one's end."""
    busy = [each for each in done if each["applied"]]
    applied = sum(each["applied"] for each in busy)
    taken_ns = max(each["ended_ns"] for each in busy) - min(each["began_ns"] for each in busy)
    return {
        "events_s": round(applied / taken_ns * 1e9),
        "cpu_us": round(sum(each["cpu_s"] for each in busy) / applied * 1e6, 1),
        "requests": round(sum(each["requests"] for each in done) / applied, 5),
    }


async def fill(events: int) -> Result:
    await Published().publish(events)
    return {"events": events}


async def tables(events: int) -> Result:
    dsn = await prepared("bench_tables")
    with workers(dsn, 1) as processes:
        await until_rows(dsn, events)
        return together(processes.ended())


async def faststream(events: int) -> Result:
    access, taken, first, begin = KafkaAccess.from_environment(), 0, 0, 0.0
    broker = KafkaBroker(access.servers, security=access.broker_security(), logger=None, graceful_timeout=1.0)
    whole = asyncio.Event()

    @broker.subscriber(TOPIC, group_id=uuid.uuid4().hex, auto_offset_reset="earliest", batch=True, max_records=1000)
    async def handler(message: KafkaMessage) -> None:
        nonlocal taken, first, begin
        taken += len(message.raw_message)
        if not begin:
            begin, first = time.perf_counter(), taken
        if taken >= events:
            whole.set()

    await broker.start()
    async with asyncio.timeout(PATIENCE_S):
        await whole.wait()
    seconds = time.perf_counter() - begin
    await broker.stop()
    return {"events_s": round((events - first) / seconds)}


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the results'
    logging.disable(logging.WARNING)  # FastStream warns of its default, which acknowledges first
    if sys.argv[1] == "work":
        uvloop.run(work(sys.argv[2]))
    else:
        say(uvloop.run({"fill": fill, "tables": tables, "faststream": faststream}[sys.argv[1]](int(sys.argv[2]))))
