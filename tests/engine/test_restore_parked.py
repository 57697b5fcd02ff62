"""What was parked when a store or a topic was lost: on real PostgreSQL and Kafka, with a topic of each test's own."""

from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.projection import Dispatch, Projection, Reactions
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.repair import parked, resuming
from shared.eventlog.repair.republish import restore_topic
from shared.eventlog.repair.restore import restore_store
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatUnassigned
from shared.events.registry import topic_of
from tests.engine.restoring import SERVICE, Bench, counting
from tests.examples.engine import COUNTER, Count
from tests.oracle.evidence import read_topic
from tests.remade import remade

pytestmark = pytest.mark.system


async def test_kafka_is_lost_while_something_is_parked(bench: Bench) -> None:
    """The new topic has no repeats, so other records lie where those are that were parked."""
    ill = True
    projection = Projection("ill", topics=(topic_of(SERVICE),))

    @projection.on(SeatUnassigned)
    async def seat_unassigned(tx: Any, event: SeatUnassigned, envelope: Any) -> None:
        if ill and envelope.stream in ("counter-1", "counter-2") and envelope.version > 2:
            raise ZeroDivisionError("a bug")
        await counting().apply(tx, event, envelope)

    pool = await asyncpg.create_pool(bench.dsn, min_size=1, max_size=4)
    store = await PostgresStore(bench.dsn, SERVICE).open()
    consumer = Consumer(SERVICE, projection, pool, Log(store, SERVICE), Clocks(utc_now))

    async def deal() -> None:
        known = await consumer.assigned([(topic_of(SERVICE), n) for n in range(6)])
        raws = [
            Raw(topic_of(SERVICE), r.partition, r.offset, r.key, r.headers, r.value)
            for r in await read_topic(topic_of(SERVICE), bench.access)
        ]
        await consumer.consume([receive(r, projection.types) for r in raws if r.offset > known[r.topic, r.partition]])

    await bench.fill(40)
    await bench.relay()
    await bench.query("update engine.leases set position = 0")
    await bench.relay()
    await bench.fill(40, seed=1)
    await bench.relay()
    await deal()
    parked_before = await bench.query("select from engine.parked")
    assert len(parked_before) > 5
    await remade(bench.access, topic_of(SERVICE))
    await restore_topic(SERVICE, bench.operator, bench.access, consumers={SERVICE: bench.operator}, dry_run=False)
    await deal()
    ill = False
    for line in parked.lines(await parked.list_parked(pool, consumer.name)):
        done = await parked.retry(pool, consumer, line, "operation-1")
        assert (done.waiting, done.stopped) == (0, None)
    counted = {row["stream"]: row["n"] for row in await bench.query("select stream, n from counted")}
    written = await bench.query("select stream, max(version) as n from log.events group by stream")
    assert counted == {row["stream"]: row["n"] for row in written}
    await store.close()
    await pool.close()


async def test_an_event_that_the_database_refuses_is_parked_by_its_projection_alone(bench: Bench) -> None:
    """A restore sends many folds' statements at once, and for several projections in one transaction."""
    ill = Projection("ill", topics=(topic_of(SERVICE),))

    @ill.on(SeatUnassigned)
    async def seat_unassigned(tx: Any, _event: SeatUnassigned, envelope: Any) -> None:
        await tx.execute("insert into twice values ($1, $2)", envelope.stream, min(envelope.version, 3))

    bench.whole = replace(bench.whole, projections=[ill, counting()])
    await bench.fill(60)
    await bench.relay()
    await bench.empty()
    await bench.query("create table twice (stream text, n int, primary key (stream, n))")
    restored = await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)
    versions = {
        r["stream"]: r["n"] for r in await bench.query("select stream, max(version) n from log.events group by 1")
    }
    assert {r["stream"]: r["n"] for r in await bench.query("select stream, n from counted")} == versions
    written = {r["stream"]: r["n"] for r in await bench.query("select stream, max(n) n from twice group by 1")}
    assert written == {stream: min(version, 3) for stream, version in versions.items()}
    parked = await bench.query("select consumer, stream, version, reason from engine.parked order by stream, version")
    assert {tuple(row) for row in parked} == {
        (f"{SERVICE}.ill", stream, n, "failed" if n == 4 else "behind")
        for stream, version in versions.items()
        for n in range(4, version + 1)
    }
    assert f"{len(parked)} records are parked" in restored.notes[-1]


async def test_what_reactions_had_parked_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "BATCH_RECORDS", 1)
    reactions = Reactions("echo", topics=(topic_of(SERVICE),))

    @reactions.on(SeatUnassigned)
    async def seat_unassigned(_event: SeatUnassigned, envelope: Any, _reach: Any) -> list[Dispatch]:
        if envelope.stream == "counter-3":
            raise ZeroDivisionError("a bug")
        return [Dispatch(COUNTER, f"echo-{envelope.stream}", Count(by=envelope.id))]

    bench.whole = replace(bench.whole, reactions=[reactions])
    await bench.fill(60, streams=12)
    await bench.relay()
    store = await PostgresStore(bench.dsn, SERVICE).open()
    pool = await asyncpg.create_pool(bench.dsn, min_size=1, max_size=4)
    consumer = Consumer(SERVICE, reactions, pool, Log(store, SERVICE), Clocks(utc_now))
    await consumer.assigned([(topic_of(SERVICE), n) for n in range(6)])
    for r in await read_topic(topic_of(SERVICE), bench.access):
        raw = Raw(topic_of(SERVICE), r.partition, r.offset, r.key, r.headers, r.value)
        await consumer.consume([receive(raw, reactions.types)])
    await pool.close()
    await store.close()
    await bench.relay()
    lost = await bench.query('select partition, "offset" from engine.parked')
    await bench.empty()
    dry = await restore_store(bench.whole, bench.operator, bench.access)
    assert f"What {SERVICE}.echo had parked" in dry.notes[-1]
    done = await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)
    marks = {
        r["partition"]: r["offset"]
        for r in await bench.query(
            'select partition, "offset" from engine.checkpoints where consumer = $1', consumer.name
        )
    }
    expected = sum(r["offset"] <= marks.get(r["partition"], -1) for r in lost)
    assert expected > 0
    assert f"{SERVICE}.echo continues after what it had processed. {expected} events" in done.notes[-1]
