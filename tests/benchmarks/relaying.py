"""How fast the relay publishes what was appended: `python -m tests.benchmarks.relaying CLIENTS SECONDS`.

First `execute()` appends for so long, as in `append.py`; then a relay in this process publishes all of it. It keeps up
if it publishes an event in no more time than appending it took. Its requests to Kafka are counted, too. DATABASE_URL is
the server, KAFKA_BOOTSTRAP the broker. Prints the result as JSON.
"""

import asyncio
import os
import sys
import time

import asyncpg
import structlog
import uvloop

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.write.postgres import PostgresStore
from shared.events.registry import topic_of
from tests.benchmarks import append
from tests.benchmarks.measure import SERVICE, Result, as_service, cpu_meter, kafka_requests, say
from tests.databases import as_operator


class Progress:
    """Waits until the relay has published a position."""

    def __init__(self, until: int) -> None:
        self._until, self.done = until, asyncio.Event()

    def relayed(self, position: int, events: int) -> None:
        if position >= self._until:
            self.done.set()


async def run(clients: int, seconds: float) -> Result:
    appended = await append.run("execute", clients, seconds)
    dsn = await as_service(f"{os.environ['DATABASE_URL']}/{append.DATABASE}", SERVICE)
    db = await asyncpg.connect(as_operator(dsn))
    events = int(await db.fetchval(append.Variant.events))
    await db.close()
    store, progress = await PostgresStore(dsn, SERVICE).open(), Progress(events)
    relay = Relay(store, topic_of(SERVICE), KafkaAccess.from_environment(), progress=progress)
    with kafka_requests() as requests:
        cpu_us, begin = cpu_meter(), time.perf_counter()
        relaying = asyncio.create_task(relay.run())
        await progress.done.wait()
        taken = time.perf_counter() - begin
    result = {
        "events_s": round(events / taken),
        "appended_s": appended["events_s"],
        "cpu_us": cpu_us(events),
        "produce_requests": round(requests["ProduceRequest"] / events, 5),
        "requests": round(requests.total() / events, 5),
    }
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)
    await store.close()
    return result


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the results'
    say(uvloop.run(run(int(sys.argv[1]), float(sys.argv[2]))))
