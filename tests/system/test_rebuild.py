"""A rebuild beside a service under load, on real Kafka and PostgreSQL: no reader sees anything of it."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import ROOT, topics
from services.entitlements.projections import POOLS
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.host import ConsumerHost
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.offsets import group_of
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.write.log import Log, Meta, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events.registry import ENTITLEMENTS
from tests.databases import as_operator
from tests.engine.hosting import stopped
from tests.engine.rebuilding import POOL, assigned, opened
from tests.examples.engine import new_id
from tests.oracle.evidence import Asked, gather
from tests.oracle.replay import differences
from tests.oracle.verdict import faults
from tests.system import parts
from tests.system.rest import rests

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.long]

BEFORE = 3_000
SEATS = 4
RATE = 500
LOOK_EVERY_S = 0.1
"""A look reads every row: looking without a pause would be most of the load."""


class Running:
    """entitlements' pools: a log, its relay, the consumer, and a load of commands."""

    def __init__(self, dsn: str, access: KafkaAccess, pool: Any, log: Log) -> None:
        self.dsn, self.access, self.pool, self.log = dsn, access, pool, log
        self.asked: list[Asked] = []
        self.pools = 0
        self.looks = 0

    async def order(self, seats: int = SEATS) -> None:
        n = self.pools
        self.pools += 1
        events = (opened(n), *(assigned(n, seat + 1) for seat in range(seats)))
        command = Asked(new_id(), "entitlements", POOL.id(f"{n}"))
        self.asked.append(command)
        command.heard(await self.log.execute(POOL, f"{n}", events, Meta(command.command_id, "actor", utc_now())))
        assert command.outcome == "ok"

    async def load(self, stop: asyncio.Event) -> float:
        """RATE commands a second until told to stop; says how many a second were acknowledged."""
        begun, sent, waiting = time.monotonic(), 0, set[asyncio.Task[None]]()
        while not stop.is_set():
            due = int((time.monotonic() - begun) * RATE)
            for _ in range(sent, due):
                task = asyncio.create_task(self.order(1))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            sent = due
            await asyncio.sleep(0.02)
        await asyncio.gather(*waiting)
        return sent / (time.monotonic() - begun)

    async def read(self, stop: asyncio.Event) -> None:
        """Each look is one statement over both tables and the consumer's marks. The pools of before never change, every
        other one has what the consumer has seen of it, and none disappears."""
        most = 0
        while not stop.is_set():
            row = await self.pool.fetchrow(
                """select (select count(*) from pools) as pools,
                    (select count(*) from pools p join engine.seen s on s.consumer = 'entitlements.pools'
                        and s.stream = 'pool-' || substr(p.subscription_id, 3)
                     where s.version - 1 <> (select count(*) from seats where subscription_id = p.subscription_id)
                    ) as wrong,
                    (select count(*) from engine.seen where consumer = 'entitlements.pools') as seen"""
            )
            assert row["wrong"] == 0
            assert row["pools"] == row["seen"] >= most
            most, self.looks = row["pools"], self.looks + 1
            await asyncio.sleep(LOOK_EVERY_S)

    async def assert_sound(self) -> None:
        """By the oracle, and by a replay."""
        dsns, reading = {"entitlements": self.dsn}, {"entitlements.pools": POOLS.topics}
        await rests(dsns, self.access, reading)
        found = await gather(dsns, self.access, readers=reading)
        found["entitlements"].asked = self.asked
        assert faults(found["entitlements"]) == []
        assert await differences("entitlements", [POOLS], self.dsn, found) == []

    async def dealt_with(self) -> None:
        async with asyncio.timeout(120):
            while await self.pool.fetchval("select count(*) from pools") < self.pools:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def rebuild(self, source: str, kill_after: int | None = None) -> dict[str, Any] | None:
        """In a process of its own. Its report, or None when it was killed after so many events."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.system.rebuilding",
            self.dsn,
            source,
            cwd=ROOT,
            env={**os.environ, **self.access.environment()},
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        last: dict[str, Any] = {}
        async for line in process.stdout:
            if not line.startswith(b"{"):
                continue
            last = json.loads(line)
            if kill_after is not None and last.get("folded", 0) >= kill_after:
                process.kill()
        await process.wait()
        assert (process.returncode == 0) == (kill_after is None)
        return last if kill_after is None else None


@pytest.fixture
async def pools(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    kafka = parts.kafka(tmp_path / "kafka")  # its own: a shared one has other tests' streams in the topic
    await asyncio.to_thread(kafka.__enter__)
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=8)
    try:
        await topics.ensure(kafka.access)
        log = Log(store, "entitlements")
        consumer = Consumer("entitlements", POOLS, pool, log, Clocks(utc_now))
        tasks = [
            asyncio.create_task(Relay(store, ENTITLEMENTS, kafka.access).run()),
            asyncio.create_task(ConsumerHost(group_of("entitlements"), [consumer], kafka.access).run()),
        ]
        yield Running(as_operator(database), kafka.access, pool, log)
        await stopped(*tasks)
    finally:
        await store.close()
        await pool.close()
        await asyncio.to_thread(kafka.kill)
        await asyncio.to_thread(kafka.__exit__, None, None, None)


async def copied(dsn: str) -> float:
    """Rows a second that COPY writes into tables like these: the same rows, with the same keys and indexes."""
    db = await asyncpg.connect(dsn)
    try:
        taken = 0.0
        rows = 0
        for table in POOLS.tables:
            found = [tuple(row) for row in await db.fetch(f"select * from {table}")]
            await db.execute(f"create table copied_{table} (like {table} including all)")
            begun = time.perf_counter()
            await db.copy_records_to_table(f"copied_{table}", records=found)
            taken += time.perf_counter() - begun
            rows += len(found)
        return rows / taken
    finally:
        await db.close()


async def test_a_rebuild_under_load_changes_nothing_that_a_reader_can_see(pools: Running) -> None:
    for _ in range(BEFORE // 100):
        await asyncio.gather(*(pools.order() for _ in range(100)))
    await pools.dealt_with()
    stop, cpu = asyncio.Event(), time.process_time()
    loading, reading = asyncio.create_task(pools.load(stop)), asyncio.create_task(pools.read(stop))
    try:
        from_store = await pools.rebuild("store")
        await pools.rebuild("kafka", kill_after=BEFORE)
        from_kafka = await pools.rebuild("kafka")
        await asyncio.sleep(1)
    finally:
        stop.set()
    rate = await loading
    cpu = time.process_time() - cpu
    await reading
    await pools.dealt_with()
    assert from_store is not None
    assert from_kafka is not None
    for report in (from_store, from_kafka):
        assert (report["state"], report["agrees"]) == ("switched", True)
        assert report["tables"]["pools"]["rows"] >= BEFORE
    assert from_kafka["id"] == from_store["id"] + 1, "the killed one was gone on with"
    assert pools.looks > 20
    assert rate >= RATE / 2, "there was a load; how much of it a machine bears is printed"
    assert await pools.pool.fetchval("select count(*) from engine.parked") == 0
    wrong = "select count(*) from pools where subscription_id not in (select subscription_id from seats)"
    assert await pools.pool.fetchval(wrong) == 0
    await pools.assert_sound()
    quiet = await pools.rebuild("store")
    assert quiet is not None
    assert quiet["agrees"]
    print(
        f"\nload {rate:.0f} commands/s ({cpu:.1f} s of processor), {pools.looks} looks; "
        f"under it {_rate(from_store)} from the store; quiet "
        f"{_rate(quiet)}; COPY {await copied(pools.dsn):,.0f} rows/s of the same rows; the consumer waited "
        f"{1000 * from_store['blocked_s']:.0f} ms for the switch"
    )


def _rate(report: dict[str, Any]) -> str:
    return f"{report['events'] / report['folding_s']:,.0f} events/s ({report['events']:,} events)"
