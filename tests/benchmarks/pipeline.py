"""One run from a command to another service's table, two processes as in production: `pipeline service RATE SECONDS`
sends the commands and has the log and its relay, `pipeline consumer RATE SECONDS` has the consumer and its projection.

Open loop: latencies count from the moment at which a command was meant to be sent (CLOCK_MONOTONIC, which the processes
share). DATABASE_URL is the server, KAFKA_BOOTSTRAP the broker.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import asyncpg
import structlog
import uvloop

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.host import ConsumerHost
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.offsets import group_of
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.projection import Connection, Projection
from shared.eventlog.deliver.received import Partition, Received
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.deliver.together import Share
from shared.eventlog.write.log import Accepted, Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatAssigned
from shared.events.envelope import Envelope
from shared.events.registry import topic_of
from tests.benchmarks.measure import (
    SEATS,
    SERVICE,
    STREAMS,
    Assign,
    Result,
    as_service,
    cpu_meter,
    fresh,
    meta,
    number_of,
    quantiles,
    say,
)
from tests.databases import execute_as_operator

WARM_UP_S: Final = 2
CONSUMER: Final = "distribution"
TOPIC: Final = topic_of(SERVICE)
TABLE: Final = """create table bench (subscription_id text, seat bigint, account_id text, assigned_by text,
    assigned_at timestamptz, event_id text primary key)"""
SEATED: Final = Projection("bench", topics=(TOPIC,))


@SEATED.on(SeatAssigned)
async def _assigned(tx: Connection, event: SeatAssigned, envelope: Envelope) -> None:
    await tx.execute(
        "insert into bench (subscription_id, seat, account_id, assigned_by, assigned_at, event_id) "
        "values ($1, $2, $3, $4, $5, $6)",
        event.subscription_id,
        event.seat,
        event.account_id,
        event.assigned_by,
        envelope.time,
        envelope.id,
    )


class Relayed:
    """Notes when the relay had what position acknowledged."""

    def __init__(self) -> None:
        self.at: dict[int, int] = {}

    def relayed(self, position: int, events: int) -> None:
        now = time.monotonic_ns()
        self.at |= dict.fromkeys(range(position - events + 1, position + 1), now)


class Timed(Consumer):
    """Notes for each event when it was meant to be sent, when its batch came and when its row was committed."""

    applied: list[tuple[int, int, int]]
    came: int

    def share(self, records: Sequence[Received], impatient: Collection[Partition] = ()) -> Share:
        self.came = time.monotonic_ns()
        return super().share(records, impatient)

    def committed(self, share: Share, done: BatchPlan) -> None:
        super().committed(share, done)
        events, now = (r.event for r in done.apply if isinstance(r.event, SeatAssigned)), time.monotonic_ns()
        self.applied += [(number_of(event), self.came, now) for event in events]


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # what is waited for has no event of its own
        await asyncio.sleep(0.02)


async def service(rate: int, seconds: int) -> Result:
    dsn = await fresh(os.environ["DATABASE_URL"], f"bench_{SERVICE}")
    store = await PostgresStore(await as_service(dsn, SERVICE), SERVICE).open()
    log, relayed = Log(store, SERVICE), Relayed()
    relay = Relay(store, TOPIC, KafkaAccess.from_environment(), progress=relayed)
    relaying = asyncio.create_task(relay.run())
    await until(lambda: relay.leading)
    answers: list[tuple[int, int, int]] = []
    """When a command was meant to be sent, when it was answered, its event's position."""

    async def send(stream: int, meant: int) -> None:
        answer = await log.execute(SEATS, str(stream), Assign(meant), meta())
        assert isinstance(answer, Accepted)
        answers.append((meant, time.monotonic_ns(), answer.events[0].position))

    cpu_us = cpu_meter()
    begin, total = time.monotonic_ns() + 50_000_000, rate * (seconds + WARM_UP_S)
    async with asyncio.TaskGroup() as sending:
        for number in range(total):
            meant = begin + number * 1_000_000_000 // rate
            await asyncio.sleep(max(0, meant - time.monotonic_ns()) / 1e9)
            sending.create_task(send(number % STREAMS, meant))
    await until(lambda: len(relayed.at) == total)
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)
    await store.close()
    counted = sorted(answers)[rate * WARM_UP_S :]
    return {
        **quantiles([answered - meant for meant, answered, _ in counted], "answered_"),
        **quantiles([relayed.at[position] - meant for meant, _, position in counted], "in_kafka_"),
        "service_cpu_us": cpu_us(total),
    }


async def consumer(rate: int, seconds: int) -> Result:
    dsn = await fresh(os.environ["DATABASE_URL"], f"bench_{CONSUMER}")
    dsn = await as_service(dsn, CONSUMER)
    await execute_as_operator(dsn, TABLE)
    pool = await asyncpg.create_pool(dsn, min_size=2, max_size=12)
    store = await PostgresStore(dsn, CONSUMER).open()
    timed = Timed(CONSUMER, SEATED, pool, Log(store, CONSUMER), Clocks(utc_now))
    timed.applied = []
    host = ConsumerHost(group_of(CONSUMER), [timed], KafkaAccess.from_environment())
    hosting = asyncio.create_task(host.run())
    await until(lambda: bool(host.feeds) and all(feed.ready for feed in host.feeds))
    say({"ready": True})
    cpu_us = cpu_meter()
    total = rate * (seconds + WARM_UP_S)
    await until(lambda: len(timed.applied) >= total)
    hosting.cancel()
    await asyncio.gather(hosting, return_exceptions=True)
    rows: Any = await pool.fetchval("select count(*) from bench")
    assert rows == total, f"{total} events were applied, {rows} rows are there"
    await store.close()
    pool.terminate()
    counted = sorted(timed.applied)[rate * WARM_UP_S :]
    return {
        **quantiles([committed - meant for meant, _, committed in counted], "in_table_"),
        **quantiles([came - meant for meant, came, _ in counted], "fetched_"),
        "consumer_cpu_us": cpu_us(total),
        "events_a_batch": round(len(counted) / len({committed for _, _, committed in counted}), 1),
    }


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the results'
    role = {"service": service, "consumer": consumer}[sys.argv[1]]
    say(uvloop.run(role(int(sys.argv[2]), int(sys.argv[3]))))
