"""A store or a topic exchanged for another beneath running processes is noticed: on real PostgreSQL and Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaTimeoutError, UnknownTopicOrPartitionError
from structlog.testing import capture_logs

from deploy.processes import free_port
from shared.eventlog.deliver import relay as relay_module
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.relay import LEASE_S, OutOfOrder, Relay
from shared.eventlog.repair.guard import Guard
from shared.eventlog.repair.republish import restore_topic
from shared.eventlog.repair.restore import RestoreRefused, reconcile
from shared.eventlog.repair.topic import Missing, TopicReader
from shared.eventlog.repair.verify import verify
from shared.eventlog.write.log import Log
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import LeaseLost, Unavailable
from shared.events.registry import topic_of
from tests.engine.restoring import SERVICE, Bench, backup
from tests.examples.engine import COUNTER, Count, meta
from tests.oracle.evidence import read_topic
from tests.remade import deleted, remade
from tests.system import parts

pytestmark = pytest.mark.system

AHEAD = "ahead of the store by 40 events: the store ends at position 60, the topic at 100"
Backup = dict[str, list[Any]]


@pytest.fixture(autouse=True)
def _looks_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "ALARM_S", 2.0)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[tuple[PostgresStore, Relay]]:
    """A process of the service, with its relay."""
    store = await PostgresStore(bench.dsn, SERVICE).open()
    guard = guard_of(store, bench.access)
    await store.watch(guard.when_back)
    relay = Relay(store, topic_of(SERVICE), bench.access, guard=guard)
    task = asyncio.create_task(relay.run())
    try:
        yield store, relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


def guard_of(store: PostgresStore, access: KafkaAccess) -> Guard:
    return Guard(store, SERVICE, topic_of(SERVICE), access)


async def until_relayed(bench: Bench, position: int) -> None:
    async with asyncio.timeout(20):
        while True:
            rows = await bench.query("select position from engine.leases where name = $1", f"relay:{topic_of(SERVICE)}")
            if rows and rows[0]["position"] >= position:
                return
            await asyncio.sleep(0.02)


async def until_fenced(bench: Bench) -> str:
    async with asyncio.timeout(10):
        while (fence := (await bench.query("select fenced from log.head"))[0]["fenced"]) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return str(fence)


async def older(bench: Bench) -> Backup:
    """A backup at position 60; relayed since, up to 100."""
    await bench.fill(60)
    await until_relayed(bench, 60)
    saved = await backup(bench)
    await bench.fill(40, seed=1)
    await until_relayed(bench, 100)
    return saved


async def exchange(bench: Bench, saved: Backup, *then: str) -> None:
    """The backup takes the database's place, from one moment to the next."""
    db = await asyncpg.connect(bench.operator)
    async with db.transaction():
        for table, rows in saved.items():
            await db.execute(f"delete from {table}")
            if rows:
                schema, _, name = table.partition(".")
                await db.copy_records_to_table(
                    name, schema_name=schema, columns=list(rows[0].keys()), records=[tuple(r) for r in rows]
                )
        for sql in then:
            await db.execute(sql)
    await db.close()


async def until_alarmed(relay: Relay, reason: str = "") -> None:
    """Wait for an alarm that contains `reason`: the guard's reason takes the place of the relay's own."""
    async with asyncio.timeout(15):
        while relay.alarm is None or reason not in relay.alarm:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_relay_that_runs_notices_and_goes_on_after_a_reconcile(bench: Bench) -> None:
    async with running(bench) as (store, relay):
        saved = await older(bench)
        before = await bench.state()
        await exchange(bench, saved)
        begun = time.monotonic()
        assert AHEAD in await until_fenced(bench)
        assert time.monotonic() - begun < LEASE_S
        with pytest.raises(Unavailable, match=AHEAD):
            await Log(store, SERVICE).execute(COUNTER, "1", Count(), meta("late"))
        await until_alarmed(relay, AHEAD)
        done = await reconcile(bench.whole, bench.operator, bench.access, dry_run=False)
        assert (done.before, done.events, done.head) == (60, 40, 100)
        assert await bench.state() | {"table": []} == before | {"table": []}
        await bench.fill(10, seed=2)
        await until_relayed(bench, 110)
        assert relay.alarm is None
        assert (await verify(SERVICE, bench.operator, bench.access)).findings.first == []


async def test_nothing_is_published_of_a_store_that_went_a_way_of_its_own(bench: Bench) -> None:
    """All that it wrote before anybody could look is of new streams: no version breaks off."""
    async with running(bench) as (_store, relay):
        saved = await older(bench)
        own = ", ".join(
            f"({n}, 'counter-new{n}', 1, gen_random_uuid(), 'SeatUnassigned', 1, now(), 'c', 'c', 'a', '', '', "
            f"sha256('{n}'), sha256('{n}'), '', '{{}}')"
            for n in range(61, 131)
        )
        await exchange(
            bench,
            saved,
            "insert into log.events (position, stream, version, id, type, schema, time, correlation_id, causation_id, "
            f"actor, tenant, traceparent, prevhash, hash, command_id, data) values {own}",
            "update log.head set position = 130",
        )
        assert "and another event in the store" in await until_fenced(bench)
        assert len(await read_topic(topic_of(SERVICE), bench.access)) == 100
        await until_alarmed(relay)
        with pytest.raises(RestoreRefused, match="has diverged from its topic at position 61"):
            await reconcile(bench.whole, bench.operator, bench.access)


async def test_a_write_over_a_connection_made_anew_waits_for_the_guard(bench: Bench) -> None:
    """In a process without a relay."""
    async with running(bench):
        saved = await older(bench)
    looks: list[float] = []
    store = await PostgresStore(bench.dsn, SERVICE).open()
    guard = guard_of(store, bench.access)

    async def look() -> None:
        looks.append(time.monotonic())
        await guard.when_back()

    await store.watch(look)
    log = Log(store, SERVICE)
    await log.execute(COUNTER, "1", Count(), meta("first"))
    assert looks == [], "nobody looks at a connection that was there from the beginning"
    await bench.query("update log.head set fenced = null")
    everybody_out = (
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
        "and pid <> pg_backend_pid() and backend_type = 'client backend'"
    )
    await exchange(bench, saved, everybody_out)
    tries = [log.execute(COUNTER, str(n), Count(), meta(f"late-{n}")) for n in range(20)]
    for answer in await asyncio.gather(*tries, return_exceptions=True):
        assert isinstance(answer, Unavailable)
        assert AHEAD in str(answer)
    assert len(looks) in (1, 2), "once for each connection at most"
    assert (await bench.query("select position from log.head"))[0]["position"] == 60
    await store.close()


async def test_commands_are_taken_while_kafka_is_away(bench: Bench) -> None:
    store = await PostgresStore(bench.dsn, SERVICE).open()
    await store.watch(guard_of(store, KafkaAccess(bootstrap=f"127.0.0.1:{free_port()}")).when_back)
    for writer in store._writers:
        writer.terminate()
    await Log(store, SERVICE).execute(COUNTER, "1", Count(), meta("taken"))
    assert await store.position() == 1
    await store.close()


async def test_a_checkpoint_that_was_moved_ends_the_lease(bench: Bench) -> None:
    store = await PostgresStore(bench.dsn, SERVICE).open()
    relay = Relay(store, topic_of(SERVICE), bench.access, owner="me")
    lease = await store.lease(relay.name, "me", LEASE_S)
    assert lease is not None
    await store.advance(relay.name, lease, 7)
    await relay._renew(lease)
    await bench.query("update engine.leases set position = 5")
    with pytest.raises(LeaseLost, match="the checkpoint was moved from 7 to 5"):
        await relay._renew(lease)
    await store.close()


class Slow:
    """A producer whose acknowledgements take longer than a lease lasts."""

    def __init__(self) -> None:
        self.sent = 0

    def create_batch(self) -> "_Batch":
        return _Batch()

    async def send_batch(self, batch: "_Batch", _topic: str, *, partition: int) -> Any:
        self.sent += batch.records
        await asyncio.sleep(0.15)
        return asyncio.sleep(0)


class _Batch:
    records = 0

    def append(self, **_record: Any) -> object | None:
        if self.records == 10:
            return None
        self.records += 1
        return self

    def record_count(self) -> int:
        return self.records


@pytest.mark.parametrize("heir", [False, True])
async def test_who_lost_the_lease_sends_no_further_batch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, heir: bool
) -> None:
    monkeypatch.setattr(relay_module, "LEASE_S", 0.1 if heir else 0.6)
    await bench.fill(60)
    store = await PostgresStore(bench.dsn, SERVICE).open()
    relay, producer = Relay(store, topic_of(SERVICE), bench.access, owner="me"), Slow()
    lease = await relay._lease()
    assert lease is not None
    sending = asyncio.create_task(relay._send(producer, 0, await store.read(0, 60), lease))
    await asyncio.sleep(0.05)
    if heir:
        await bench.query("update engine.leases set owner = 'heir', token = token + 1, until = now() + interval '9 s'")
        with pytest.raises(LeaseLost):
            await sending
        assert producer.sent == 10, "the batch that was on its way"
    else:
        await sending
        assert producer.sent == 60
        assert await store.lease(relay.name, "heir", 1) is None, "it is renewed while the batches take long"
    await store.close()


async def test_repeats_at_the_end_are_not_taken_for_a_loss(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than are looked at in the first place."""
    monkeypatch.setattr("shared.eventlog.repair.guard.LOOK_BACK", 1)
    await bench.fill(60, streams=1)
    await bench.relay()
    await bench.query("update engine.leases set position = 20")
    store = await PostgresStore(bench.dsn, SERVICE).open()
    relay = Relay(store, topic_of(SERVICE), bench.access)
    original, sends = relay._acknowledged, 0

    async def cut(producer: Any, batch: Any, partition: int, events: Any) -> None:
        nonlocal sends
        sends += 1
        await original(producer, batch, partition, events)
        raise OutOfOrder("killed here")

    monkeypatch.setattr(relay_module, "READ_EVENTS", 10)
    monkeypatch.setattr(relay, "_acknowledged", cut)
    task = asyncio.create_task(relay.run())
    await until_alarmed(relay)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sends == 1
    guard = guard_of(store, bench.access)
    async with TopicReader(topic_of(SERVICE), bench.access) as reader:
        tails = [await reader.tail(n, SERVICE, 1) for n in reader.ends]
    assert [found.position for tail in tails for found in tail] == [30], "what lies at the end"
    assert await guard(60) is None
    await store.close()


# ── The topic ──────────────────────────────────────────────────────────────────────────────────────────


async def published_again(bench: Bench) -> None:
    await restore_topic(SERVICE, bench.operator, bench.access, consumers={SERVICE: bench.operator}, dry_run=False)


async def test_an_idle_relay_notices_that_its_topic_was_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "RECHECK_S", 0.2)
    await bench.fill(20)
    async with running(bench) as (_store, relay):
        await until_relayed(bench, 20)
        await asyncio.sleep(0.5)
        assert relay.alarm is None and relay.leading, "nothing is wrong yet"
        await remade(bench.access, topic_of(SERVICE))
        await until_alarmed(relay, "20 events are missing there. `tenure restore topic` publishes them again")
    await published_again(bench)
    async with running(bench) as (_store, relay):
        await bench.fill(5, seed=1)
        await until_relayed(bench, 25)
        assert relay.alarm is None
    assert (await verify(SERVICE, bench.operator, bench.access)).findings.first == []


async def test_a_relay_notices_that_its_topic_is_gone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "RECHECK_S", 0.2)
    await bench.fill(20)
    async with running(bench) as (_store, relay):
        await until_relayed(bench, 20)
        await deleted(bench.access, topic_of(SERVICE))
        await until_alarmed(relay, f"there is no topic {topic_of(SERVICE)}, though 20 events were published")


async def test_what_was_published_to_a_topic_made_again_does_not_hide_what_it_lost(bench: Bench) -> None:
    """Before anything was checked, so that the topic ends with the last event."""
    await bench.fill(20)
    await bench.relay()
    await remade(bench.access, topic_of(SERVICE))
    await bench.fill(3, seed=1)
    store = await PostgresStore(bench.dsn, SERVICE).open()
    unguarded = asyncio.create_task(Relay(store, topic_of(SERVICE), bench.access).run())
    await until_relayed(bench, 23)
    unguarded.cancel()
    await asyncio.gather(unguarded, return_exceptions=True)
    guard = guard_of(store, bench.access)
    assert "3 records, though 23 events were published" in (await guard(23) or "")
    assert "3 records, though 23 events were published" in (await guard.recheck(23) or "")
    await store.close()
    with pytest.raises(Missing, match="delete the topic"):
        await published_again(bench)
    await remade(bench.access, topic_of(SERVICE))
    await published_again(bench)
    assert (await bench.relay()).alarm is None
    assert len(await read_topic(topic_of(SERVICE), bench.access)) == 23


async def test_a_topic_of_which_kafka_tells_late_is_not_taken_for_a_lost_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.fill(5)
    await bench.relay()
    store = await PostgresStore(bench.dsn, SERVICE).open()
    guard, start = guard_of(store, bench.access), AIOKafkaConsumer.start

    async def late(kafka: AIOKafkaConsumer) -> None:
        await start(kafka)
        raise UnknownTopicOrPartitionError

    monkeypatch.setattr(AIOKafkaConsumer, "start", late)
    with pytest.raises(KafkaTimeoutError):
        await guard.recheck(5)
    monkeypatch.undo()
    assert await guard.recheck(5) is None
    await store.close()


async def test_a_kafka_that_is_away_is_not_taken_for_a_loss(
    bench: Bench, own_kafka: parts.Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "RECHECK_S", 0.2)
    await bench.fill(5)
    async with running(bench) as (_store, relay):
        await until_relayed(bench, 5)
        own_kafka.kill()
        with capture_logs() as said:
            async with asyncio.timeout(10):
                while not any("could not check its topic" in each["event"] for each in said):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        assert relay.alarm is None
        own_kafka.start()
        await bench.fill(5, seed=1)
        await until_relayed(bench, 10)
        assert relay.alarm is None
