"""A store from its topic, a topic from its store, a store that is older than its topic: on real PostgreSQL and Kafka,
with a topic of each test's own."""

import asyncio
import itertools
import os
import random
import time
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.projection import Dispatch, Reactions
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.repair import resuming
from shared.eventlog.repair.republish import restore_topic
from shared.eventlog.repair.restore import RestoreRefused, reconcile, restore_store
from shared.eventlog.repair.topic import LogMismatch, Missing
from shared.eventlog.repair.verify import verify
from shared.eventlog.write.log import Accepted, Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Unavailable
from shared.events import SeatUnassigned
from shared.events.envelope import StoredEvent, former_headers
from shared.events.registry import topic_of
from tests.engine.restoring import SERVICE, Bench, backup, load
from tests.examples.engine import COUNTER, Count, meta
from tests.oracle.evidence import read_topic
from tests.remade import remade

pytestmark = pytest.mark.system


class Stopped(Exception):
    """The operator's Ctrl-C, at some step."""


async def test_an_empty_database_comes_back_whole_and_a_second_time_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.fill(200)
    with monkeypatch.context() as former:
        former.setattr(StoredEvent, "headers", lambda event: former_headers(event.envelope))
        await bench.relay()  # as an earlier version did
    await bench.fill(100, seed=2)
    await bench.query("update engine.leases set position = position - 40")
    await bench.relay()  # the topic repeats a part, in another form
    await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)  # nothing to import: folds nothing
    before = await bench.state()
    assert before["head"][0][0] == 300
    await bench.empty()

    dry = await restore_store(bench.whole, bench.operator, bench.access)
    assert (dry.events, dry.before, dry.head) == (300, 0, 300)
    assert ["Refusals" in dry.notes[0], "requests" in dry.notes[1], "not published" in dry.notes[2]] == [True] * 3
    assert (await bench.state())["head"][0][0] == 0, "a dry run changes nothing"
    done = await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)
    assert (done.events, done.head, done.notes) == (300, 300, dry.notes)
    after = await bench.state()
    assert sum(n for _, n in after["table"]) == 300
    assert after | {"table": []} == before | {"table": []}
    assert (await verify(SERVICE, bench.operator, bench.access)).findings.first == []

    again = await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)
    assert (again.events, again.claims, again.folded, again.notes) == (0, 0, 0, [])
    assert await bench.state() == after
    assert (await bench.relay()).alarm is None
    await bench.fill(5, seed=1)
    assert (await bench.relay()).alarm is None
    assert (await verify(SERVICE, bench.operator, bench.access)).sound


@pytest.mark.long
async def test_a_restore_that_was_stopped_anywhere_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.fill(60)
    await bench.relay()
    before = await bench.state()
    monkeypatch.setattr("shared.eventlog.repair.restore.AT_ONCE", 10)
    monkeypatch.setattr("shared.eventlog.repair.topic.FETCHED", 15)
    for stop_after in itertools.count(1):
        await bench.empty(quickly=True)
        steps = itertools.count(1)

        def progress(step: str, _done: int, _envelope: int, steps: Any = steps, last: int = stop_after) -> None:
            if next(steps) == last:
                raise Stopped(step)

        try:
            await restore_store(bench.whole, bench.operator, bench.access, dry_run=False, progress=progress)
        except Stopped:
            with pytest.raises(Unavailable, match="being restored"):
                await bench.fill(1, seed=9)
            await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)
            after = await bench.state()
            assert after | {"table": []} == before | {"table": []}
            assert sum(n for _, n in after["table"]) == 60
        else:
            break
    assert stop_after > 8


async def test_the_lease_is_renewed_while_events_are_imported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.fill(60)
    await bench.relay()
    await bench.empty()
    monkeypatch.setattr("shared.eventlog.repair.restore.AT_ONCE", 10)
    monkeypatch.setattr("shared.eventlog.repair.restore.LEASE_S", 0.0)  # renewed with every batch
    lease, asked = PostgresStore.lease, itertools.count(1)

    async def taken(store: PostgresStore, name: str, owner: str, ttl_s: float) -> Any:
        if next(asked) == 4:  # the first is the restore's beginning, two batches were imported
            await lease(store, name, "a relay", 60)
        return await lease(store, name, owner, ttl_s)

    with monkeypatch.context() as patch:
        patch.setattr(PostgresStore, "lease", taken)
        with pytest.raises(RestoreRefused, match="A relay has begun to publish"):
            await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)
    (head,) = await bench.query("select position, fenced from log.head")
    assert head["position"] == 20
    assert "20 of 60 events are imported" in head["fenced"]
    await bench.query("update engine.leases set until = now()")
    assert (await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)).head == 60


async def test_a_repeated_command_gets_its_first_answer_after_a_restore(bench: Bench) -> None:
    await bench.fill(20)
    await bench.relay()
    await bench.empty()
    await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)
    store = await PostgresStore(bench.dsn, SERVICE).open()
    chance = random.Random(0)
    chance.random()
    first = str(chance.randrange(7))
    answer = await Log(store, SERVICE).execute(COUNTER, first, Count(), meta("c0-0", "whatever was asked"))
    assert isinstance(answer, Accepted)
    assert answer.repeated
    assert [(e.version, e.position) for e in answer.events] == [(1, 1)]
    assert await store.position() == 20
    await store.close()


async def test_a_topic_with_a_hole_is_refused_with_its_place(bench: Bench) -> None:
    await bench.fill(30)
    await bench.query("update engine.leases set position = 12")
    await bench.query(
        "insert into engine.leases (name, owner, token, until, position) values ($1, '', 1, now(), 12)",
        f"relay:{topic_of(SERVICE)}",
    )
    store = await PostgresStore(bench.dsn, SERVICE).open()
    relay = Relay(store, topic_of(SERVICE), bench.access)
    task = asyncio.create_task(relay.run())
    await relayed(store, task, 30)
    await bench.empty()
    with pytest.raises(Missing, match="position 1 is missing in the topic: after 0 comes 13"):
        await restore_store(bench.whole, bench.operator, bench.access)


async def test_a_wiped_topic_is_published_again_byte_for_byte(bench: Bench) -> None:
    await bench.fill(250)
    await bench.relay()
    published = {(r.key, r.value, tuple(r.headers)) for r in await read_topic(topic_of(SERVICE), bench.access)}
    await bench.query(
        "insert into engine.checkpoints (consumer, topic, partition, \"offset\") values ('x.y', $1, 0, 9999)",
        topic_of(SERVICE),
    )
    await remade(bench.access, topic_of(SERVICE))
    relay = await bench.relay()
    assert relay.alarm is not None
    assert "ends at position 0, though 250 were published" in relay.alarm
    consumers = {SERVICE: bench.operator}
    dry = await restore_topic(SERVICE, bench.operator, bench.access, consumers=consumers)
    assert (dry.before, dry.events, dry.moved) == (0, 250, 1)
    assert await read_topic(topic_of(SERVICE), bench.access) == []
    done = await restore_topic(SERVICE, bench.operator, bench.access, consumers=consumers, dry_run=False)
    assert (done.before, done.events, done.moved) == (0, 250, 1)
    again = {(r.key, r.value, tuple(r.headers)) for r in await read_topic(topic_of(SERVICE), bench.access)}
    assert again == published
    assert [row["offset"] for row in await bench.query('select "offset" from engine.checkpoints')] == [-1]
    twice = await restore_topic(SERVICE, bench.operator, bench.access, consumers=consumers, dry_run=False)
    assert (twice.events, twice.moved) == (0, 0)
    assert len(await read_topic(topic_of(SERVICE), bench.access)) == 250
    assert (await bench.relay()).alarm is None


async def relayed(store: PostgresStore, task: "asyncio.Task[None]", position: int) -> None:
    """Waits until the relay is there, then ends it."""
    async with asyncio.timeout(30):
        while ((await store._fetch("select max(position) from engine.leases"))[0][0] or 0) < position:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()


async def test_a_store_older_than_its_topic_is_fenced_and_reconciled(bench: Bench) -> None:
    await bench.fill(60)
    await bench.relay()
    old = await backup(bench)
    await bench.fill(40, seed=1)
    await bench.relay()
    before = await bench.state()
    await load(bench, old)
    relay = await bench.relay()
    assert relay.alarm is not None
    assert "ahead of the store by 40 events: the store ends at position 60, the topic at 100" in relay.alarm
    with pytest.raises(Unavailable, match="ahead of the store by 40 events"):
        await bench.fill(1, seed=2)
    dry = await reconcile(bench.whole, bench.operator, bench.access)
    assert (dry.before, dry.events, dry.head) == (60, 40, 100)
    assert (await bench.state())["head"][0][0] == 60
    done = await reconcile(bench.whole, bench.operator, bench.access, dry_run=False)
    assert (done.events, done.head) == (40, 100)
    after = await bench.state()
    assert after | {"table": []} == before | {"table": []}
    assert (await bench.relay()).alarm is None
    assert (await reconcile(bench.whole, bench.operator, bench.access, dry_run=False)).events == 0
    assert (await verify(SERVICE, bench.operator, bench.access)).findings.first == []
    await bench.fill(3, seed=2)
    assert (await bench.relay()).alarm is None


async def test_a_store_that_went_a_way_of_its_own_is_not_overwritten(bench: Bench) -> None:
    await bench.fill(60)
    old = await backup(bench)
    await bench.fill(40, seed=1)
    await bench.relay()
    await load(bench, old)
    await bench.fill(10, seed=3)
    relay = await bench.relay()
    assert relay.alarm is not None
    with pytest.raises(RestoreRefused, match=r"has diverged from its topic at position 61.* Its 10 events"):
        await reconcile(bench.whole, bench.operator, bench.access, dry_run=False)
    assert (await bench.query("select position from log.head"))[0]["position"] == 70


async def test_what_an_anchor_contradicts_is_not_restored(bench: Bench) -> None:
    await bench.fill(50)
    await bench.relay()
    await remade(bench.access, topic_of(SERVICE))
    await bench.empty()
    await bench.fill(60, seed=5)
    store = await PostgresStore(bench.dsn, SERVICE).open()
    task = asyncio.create_task(Relay(store, topic_of(SERVICE), bench.access).run())
    await relayed(store, task, 60)
    await bench.empty()
    with pytest.raises(LogMismatch, match="the chain differs from the anchor of"):
        await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)


@pytest.mark.parametrize("left", ["nothing", "the last", "every other"])
async def test_reactions_go_on_where_they_stood(bench: Bench, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with effects are proven by the log; what came after them, or in a batch with them, is dealt with, once."""
    monkeypatch.setattr(resuming, "BATCH_RECORDS", 30 if left == "every other" else 1)
    reactions = Reactions("echo", topics=(topic_of(SERVICE),))

    @reactions.on(SeatUnassigned)
    async def seat_unassigned(event: SeatUnassigned, envelope: Any, _reach: Any) -> list[Dispatch]:
        return (
            []
            if envelope.stream.startswith("counter-echo")
            else [Dispatch(COUNTER, f"echo-{envelope.stream}", Count(by=envelope.id))]
        )

    async def deal(until: int, *, broken_off: bool = False) -> None:
        store = await PostgresStore(bench.dsn, SERVICE).open()
        pool = await asyncpg.create_pool(bench.dsn, min_size=1, max_size=4)
        consumer = Consumer(SERVICE, reactions, pool, Log(store, SERVICE), Clocks(utc_now))
        await consumer.assigned([(topic_of(SERVICE), n) for n in range(6)])
        raws = [
            Raw(topic_of(SERVICE), r.partition, r.offset, r.key, r.headers, r.value)
            for r in await read_topic(topic_of(SERVICE), bench.access)
        ]
        for raw in raws[:until]:
            received = receive(raw, reactions.types)
            if not broken_off:
                await consumer.consume([received])
            elif raw.offset % 2:  # as far as a batch came whose process was killed
                async with pool.acquire() as tx:
                    await consumer.apply(tx, received)
        await pool.close()
        await store.close()

    bench.whole = replace(bench.whole, reactions=[reactions])
    await bench.fill(30)
    await bench.relay()
    await deal(27 if left == "the last" else 30, broken_off=left == "every other")
    await bench.relay()
    before = await bench.state()
    echoes = "select causation_id from log.events where stream like 'counter-echo%' order by 1"
    done = await bench.query(echoes)
    assert 0 < len(done) == {"nothing": 30, "the last": 27}.get(left, len(done)) <= 30
    await bench.empty()
    result = await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)
    assert (result.moved > 0) == (left != "every other")
    assert (await bench.state()) | {"table": []} == before | {"table": []}
    await deal(10_000)
    causes = [row["causation_id"] for row in await bench.query(echoes)]
    assert len(causes) == len(set(causes)) == 30, "each once"


async def test_restore_rates(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a benchmark: a figure to see, from a few thousand events."""
    await bench.fill(int(os.environ.get("RESTORE_EVENTS", "1000")), streams=100)
    await bench.relay()
    count = (await bench.query("select position from log.head"))[0]["position"]
    rows = await bench.query("select * from log.events order by position")
    await bench.empty()
    started = time.perf_counter()
    told: dict[str, list[tuple[float, int]]] = {}

    def progress(step: str, done: int, _envelope: int) -> None:
        told.setdefault(step, []).append((time.perf_counter(), done))

    await restore_store(bench.whole, bench.operator, bench.access, dry_run=False, progress=progress)
    whole = time.perf_counter() - started
    db = await asyncpg.connect(bench.operator)
    await db.execute("create table copied (like log.events including all)")
    begun = time.perf_counter()
    await db.copy_records_to_table("copied", columns=list(rows[0].keys()), records=[tuple(r) for r in rows])
    copied = time.perf_counter() - begun
    await db.close()
    with capsys.disabled():
        print(f"\n{count} events: {count / whole:.0f}/s all in all, COPY alone {count / copied:.0f}/s")
        for step, at in told.items():
            (begun, some), (ended, all_) = at[0], at[-1]
            if ended > begun:
                print(f"  {step}: {(all_ - some) / (ended - begun):.0f}/s")
