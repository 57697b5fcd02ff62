"""Restore and rebuild beside psql's COPY of the same events: `python -m tests.benchmarks.repair fill EVENTS`, then
`python -m tests.benchmarks.repair VARIANT`, in a process of its own each.

`fill` writes seat pools and grants of credits, publishes them by the relay, and leaves them in the database `SOURCE`.
Of the variants, `copy` reads the events out of that store and writes them into an empty table with the log's indexes,
`restore` restores the whole service from its topic, and `rebuild` rebuilds two of the projections of what was restored,
switch included: one with a statement an event, and one with several. DATABASE_URL is the server, KAFKA_BOOTSTRAP the
broker. Prints the result as JSON.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import structlog
import uvloop

from deploy import topics
from deploy.stack import postgres_bin
from services import definition_of
from services.entitlements.domain.credits import CREDITS
from services.entitlements.domain.seat_pool import SEAT_POOL
from services.entitlements.projections import LEDGER, POOLS
from shared.eventlog.decision import Stream
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.repair.rebuild import Rebuild, drop_old
from shared.eventlog.repair.restore import restore_store
from shared.eventlog.write.log import Accepted, Log
from shared.eventlog.write.postgres import PostgresStore
from shared.events import CreditsConsumed, CreditsGranted, Event, SeatAssigned, SeatPoolOpened, SeatUnassigned
from shared.events.registry import topic_of
from shared.sql import statements
from tests.benchmarks.measure import SERVICE, Result, as_service, fresh, meta, say
from tests.benchmarks.rows import id_of
from tests.contracts.golden import sample
from tests.databases import as_operator

SQL: Final = statements(__file__)
A_STREAM: Final = 100
"""The number of events of each stream."""
AT_ONCE: Final = 64
SOURCE: Final = "bench_source"
TARGET: Final = "bench_restored"
ROWS: Final = "rows.bin"


def pool_of(number: int) -> Sequence[Event]:
    """Return a pool's events: seats are given, and every fourth event takes one back."""
    known = {"subscription_id": id_of("subscription", number), "contract_id": id_of("contract", number % 100)}
    opened, given, taken = sample(SeatPoolOpened), sample(SeatAssigned), sample(SeatUnassigned)
    events: list[Event] = [opened.model_copy(update=known)]
    for seat in range(1, A_STREAM):
        if seat % 4:
            events.append(given.model_copy(update=known | {"seat": seat, "account_id": id_of("account", seat)}))
        else:
            events.append(taken.model_copy(update=known | {"seat": seat - 1}))
    return events


def credits_of(number: int) -> Sequence[Event]:
    """Return a contract's grants of credits, each followed by three consumptions."""
    known = {"contract_id": id_of("contract", number)}
    granted, consumed = sample(CreditsGranted), sample(CreditsConsumed)
    events: list[Event] = []
    for n in range(A_STREAM):
        grant = f"{number}-{n - n % 4}"
        if n % 4:
            drawn = tuple(each.model_copy(update={"grant_id": grant, "amount": 1}) for each in consumed.drawn)
            events.append(consumed.model_copy(update=known | {"consumption_id": f"{grant}-{n}", "drawn": drawn}))
        else:
            events.append(granted.model_copy(update=known | {"grant_id": grant}))
    return events


def _writing(stream: Stream[Any, Any, Any]) -> Stream[int, Event, Event]:
    """Return a stream of the same category that writes what it is told."""
    return Stream(
        category=stream.category,
        initial=0,
        evolve=lambda count, _: count + 1,
        decide=lambda event, _: (event,),
        tenant=lambda _: "customer",
    )


async def fill(events: int) -> Result:
    """Write the source's events, a fifth of them credits, and publish them."""
    access = KafkaAccess.from_environment()
    await topics.ensure(access)
    dsn = await as_service(await fresh(os.environ["DATABASE_URL"], SOURCE), SERVICE)
    store = await PostgresStore(dsn, SERVICE).open()
    log, numbers = Log(store, SERVICE), iter(range(events // A_STREAM))
    pools, contracts = _writing(SEAT_POOL), _writing(CREDITS)

    async def write() -> None:
        for number in numbers:
            stream, what = (pools, pool_of(number)) if number % 5 else (contracts, credits_of(number))
            for event in what:
                answer = await log.execute(stream, id_of("stream", number), event, meta())
                assert isinstance(answer, Accepted)

    await asyncio.gather(*(write() for _ in range(AT_ONCE)))
    relay = Relay(store, topic_of(SERVICE), access)
    relaying = asyncio.create_task(relay.run())
    while await _relayed(dsn, relay.name) < events:  # noqa: ASYNC110  # the relay tells nobody
        await asyncio.sleep(0.1)
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)
    await store.close()
    return {"events": events}


async def _relayed(dsn: str, name: str) -> int:
    db = await asyncpg.connect(as_operator(dsn))
    try:
        return int(await db.fetchval(SQL["relayed"], name))
    finally:
        await db.close()


def _psql(statement: str, **streams: Any) -> float:
    """Run a statement by psql, and return the seconds that it took."""
    begin = time.perf_counter()
    database = f"{os.environ['DATABASE_URL']}/{SOURCE}"
    subprocess.run([postgres_bin() / "psql", "-X", "-q", "-d", database, "-c", statement], check=True, **streams)
    return time.perf_counter() - begin


async def copy() -> Result:
    """Copy the events out, and into an empty table with the log's indexes."""
    dsn = f"{os.environ['DATABASE_URL']}/{SOURCE}"
    db = await asyncpg.connect(dsn)
    events = int(await db.fetchval(SQL["count"]))
    await db.execute(SQL["remake"])
    await db.close()
    rows = Path(os.environ["BENCH_FOLDER"]) / ROWS
    with rows.open("wb") as out:
        out_s = _psql(SQL["copy_out"], stdout=out)
    with rows.open("rb") as source:
        in_s = _psql(SQL["copy_in"], stdin=source)
    return {"out_events_s": round(events / out_s), "in_events_s": round(events / in_s)}


async def restore() -> Result:
    dsn = as_operator(await as_service(await fresh(os.environ["DATABASE_URL"], TARGET), SERVICE))
    whole = definition_of(SERVICE).whole()
    begin = time.perf_counter()
    imported = begin

    def note(step: str, _done: int, _total: int) -> None:
        nonlocal imported
        if step == "importing":
            imported = time.perf_counter()

    restored = await restore_store(whole, dsn, KafkaAccess.from_environment(), dry_run=False, progress=note)
    taken = time.perf_counter() - begin
    return {
        "events_s": round(restored.events / taken),
        "imported_events_s": round(restored.events / (imported - begin)),
    }


async def rebuild() -> Result:
    dsn = as_operator(f"{os.environ['DATABASE_URL']}/{TARGET}")
    result: Result = {}
    for projection in (POOLS, LEDGER):
        result |= await _rebuilt(projection, dsn)
    return result


async def _rebuilt(projection: Projection, dsn: str) -> Result:
    begin = time.perf_counter()
    report = await Rebuild(SERVICE, projection, dsn, KafkaAccess.from_environment()).run()
    taken = time.perf_counter() - begin
    assert report.state == "switched", report
    await drop_old(dsn, report.id)
    name = projection.name
    return {f"{name}_events_s": round(report.events / taken), f"{name}_blocked_ms": round(report.blocked_s * 1000)}


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the results'
    if sys.argv[1] == "fill":
        say(uvloop.run(fill(int(sys.argv[2]))))
    else:
        say(uvloop.run({"copy": copy, "restore": restore, "rebuild": rebuild}[sys.argv[1]]()))
