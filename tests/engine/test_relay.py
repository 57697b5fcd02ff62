"""The relay on real Kafka and PostgreSQL: it may repeat, never reorder, never skip."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.errors import KafkaError

from deploy.processes import free_port
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.relay import POLL_S, UNSAVED_S, Relay
from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Head
from shared.events.registry import DISTRIBUTION
from tests.databases import execute_as_operator
from tests.examples.engine import head_of, write
from tests.oracle.evidence import read_topic
from tests.system import parts

pytestmark = pytest.mark.system


@asynccontextmanager
async def relaying(store: PostgresStore, kafka: parts.Kafka, owner: str) -> AsyncIterator[Relay]:
    relay = Relay(store, DISTRIBUTION, kafka.access, owner=owner)
    task = asyncio.create_task(relay.run())
    yield relay
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def fill(store: PostgresStore, streams: dict[str, Head], rounds: int) -> None:
    for _ in range(rounds):
        writes = [write(stream, head) for stream, head in streams.items()]
        await asyncio.gather(*(store.append(w) for w in writes))
        streams |= {w.stream: head_of(w.events) for w in writes}


async def relayed(store: PostgresStore) -> None:
    async with asyncio.timeout(30):
        while True:
            lease = await store._fetch("select position from engine.leases where name like 'relay:%'")
            if lease and lease[0]["position"] == await store.position():
                return
            await asyncio.sleep(0.02)


async def test_restarts_and_handovers_repeat_at_worst(database: str, kafka: parts.Kafka) -> None:
    store = await PostgresStore(database, "distribution").open()
    prefix = database.rsplit("/", 1)[1]
    streams = {f"{prefix}-{n}": Head() for n in range(20)}
    async with relaying(store, kafka, "first") as first:
        await fill(store, streams, 5)
        await relayed(store)
        assert first.leading
        async with relaying(store, kafka, "second") as second:
            await fill(store, streams, 3)
            await relayed(store)
            assert not second.leading, "one publishes at a time"
    await fill(store, streams, 3)
    for owner in ("third", "fourth"):  # each is cancelled somewhere in its work
        async with relaying(store, kafka, owner):
            await fill(store, streams, 2)
    # A checkpoint that was not kept: everything since is sent again.
    await store._fetch("update engine.leases set position = position - 40")
    async with relaying(store, kafka, "last"):
        await relayed(store)

    seen: dict[str, list[int]] = {stream: [] for stream in streams}
    for record in await read_topic(DISTRIBUTION, kafka.access):
        stream = (record.key or b"").decode()
        if stream in seen:
            seen[stream].append(int(dict(record.headers)["ce_sequence"]))
    for stream, versions in seen.items():
        first_seen = list(dict.fromkeys(versions))
        assert first_seen == list(range(1, streams[stream].version + 1)), stream
    assert sum(map(len, seen.values())) >= await store.position() + 40, "the part after the checkpoint was repeated"
    await store.close()


async def test_the_checkpoint_moves_with_the_next_read_or_at_the_end(
    database: str, kafka: parts.Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await PostgresStore(database, "distribution").open()
    waits, appended = asyncio.Queue[float](), asyncio.Event()

    async def wait(_after: int, timeout_s: float) -> None:
        waits.put_nowait(timeout_s)
        await appended.wait()
        appended.clear()

    async def saved() -> int:
        return int((await store._fetch("select position from engine.leases"))[0]["position"])

    monkeypatch.setattr(store, "wait", wait)
    streams = {f"{database.rsplit('/', 1)[1]}-saved": Head()}
    await fill(store, streams, 1)
    async with relaying(store, kafka, "only"):
        assert (await waits.get(), await saved()) == (UNSAVED_S, 0)
        await fill(store, streams, 1)
        appended.set()
        assert (await waits.get(), await saved()) == (UNSAVED_S, 1)
        appended.set()
        assert (await waits.get(), await saved()) == (POLL_S, 2), "nothing came"
        await fill(store, streams, 1)
        appended.set()
        assert (await waits.get(), await saved()) == (UNSAVED_S, 2)
    assert await saved() == 3
    await store.close()


async def test_who_gets_the_lease_again_moves_the_checkpoint_by_nothing_of_before() -> None:
    store = MemoryStore()
    relay = Relay(store, DISTRIBUTION, KafkaAccess(bootstrap=f"127.0.0.1:{free_port()}"), owner="me")
    relay._acknowledged_to = 7
    with pytest.raises(KafkaError):
        await relay._lead()
    lease = await store.lease(relay.name, "heir", 1)
    assert lease is not None and lease.position == 0


async def test_a_store_that_does_not_continue_stops_it_with_an_alarm(database: str, kafka: parts.Kafka) -> None:
    store = await PostgresStore(database, "distribution").open()
    stream = f"{database.rsplit('/', 1)[1]}-broken"
    first = write(stream, number=3)
    await store.append(first)
    await execute_as_operator(database, "update log.events set prevhash = hash where version = 3")
    async with relaying(store, kafka, "only") as relay:
        async with asyncio.timeout(20):
            while relay.alarm is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert "does not continue" in relay.alarm
    published = [r for r in await read_topic(DISTRIBUTION, kafka.access) if r.key == stream.encode()]
    assert published == [], "nothing of a batch that is out of order is published"
    await store.close()
