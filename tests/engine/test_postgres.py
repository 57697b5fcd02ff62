"""What only a real database can do to a store."""

import asyncio

import asyncpg
import pytest

from shared.eventlog.write import postgres
from shared.eventlog.write.postgres import NOTIFY_EVERY_S, PostgresStore
from shared.eventlog.write.store import Head, Repeated, Unavailable, Written
from tests.databases import as_operator
from tests.examples.engine import next_events, write

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    "text", ['{"a":1,  "b":"é\\u0041"}', '{"n":12345678901234567890123,"z":"\\u0000"}', '{"a":1,"a":2}']
)
async def test_the_bytes_are_kept_as_they_are(database: str, text: str) -> None:
    store = await PostgresStore(database, "entitlements").open()
    await store.append(write("a", events=next_events("a", Head(), 1, text.encode())))
    assert [e.data for e in await store.read(0, 10)] == [text.encode()]
    await store.close()


async def test_what_the_database_refuses_is_its_callers_own(database: str) -> None:
    store = await PostgresStore(database, "entitlements").open()
    bad = write("bad", events=next_events("bad", Head(), 1, b"{not json"))
    outcomes = await asyncio.gather(
        store.append(write("a")), store.append(bad), store.append(write("b")), return_exceptions=True
    )
    assert isinstance(outcomes[1], asyncpg.DataError)
    assert isinstance(outcomes[0], Written)
    assert isinstance(outcomes[2], Written)
    assert await store.position() == 2
    await store.close()


async def test_ended_connections_lose_and_double_nothing(database: str) -> None:
    store = await PostgresStore(database, "entitlements").open()
    admin = await asyncpg.connect(database)
    stopped = asyncio.Event()

    async def end_connections() -> None:
        while not stopped.is_set():
            await admin.fetch(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid() and query like '%log.append%'"
            )
            await asyncio.sleep(0.03)

    ending = asyncio.create_task(end_connections())
    writes = [write(f"s{n}") for n in range(300)]
    outcomes = []
    for at in range(0, 300, 10):
        outcomes += await asyncio.gather(*(store.append(w) for w in writes[at : at + 10]), return_exceptions=True)
    stopped.set()
    await ending
    acknowledged = [w for w, o in zip(writes, outcomes, strict=True) if isinstance(o, Written | Repeated)]
    unknown = [o for o in outcomes if not isinstance(o, Written | Repeated)]
    assert all(isinstance(outcome, Unavailable) for outcome in unknown)
    rows = await admin.fetch("select stream, count(*) as times from log.events group by stream")
    times = {row["stream"]: row["times"] for row in rows}
    assert all(times[w.stream] == 1 for w in acknowledged)
    assert set(times.values()) == {1}
    assert len(acknowledged) > 250, "most of them should have got through"
    await admin.close()
    await store.close()


async def test_a_reader_misses_nothing_while_the_head_is_held(database: str) -> None:
    stores = [await PostgresStore(database, "entitlements").open() for _ in range(2)]
    blocker = await asyncpg.connect(as_operator(database))
    read: list[int] = []

    async def follow() -> None:
        while len(read) < 200:
            events = await stores[0].read(read[-1] if read else 0, 1000)
            read.extend(e.envelope.position or 0 for e in events)
            await asyncio.sleep(0.005)

    following = asyncio.create_task(follow())
    appends = []
    async with blocker.transaction():
        await blocker.execute("select * from log.head for update")
        appends = [asyncio.ensure_future(stores[n % 2].append(write(f"s{n}"))) for n in range(200)]
        await asyncio.sleep(0.5)
        assert read == [], "nothing may show while an earlier append is under way"
    await asyncio.gather(*appends)
    async with asyncio.timeout(10):
        await following
    assert read == list(range(1, 201))
    await blocker.close()
    for store in stores:
        await store.close()


async def test_an_append_wakes_the_relay_of_another_process(database: str) -> None:
    mine, others = [await PostgresStore(database, "entitlements").open() for _ in range(2)]
    await others.wait(0, 0.2)  # the first one connects and returns
    waiting = asyncio.create_task(others.wait(0, 60))
    await mine.append(write("a"))
    await waiting
    for store in (mine, others):
        await store.close()


async def test_nobody_else_is_woken_while_the_relay_of_this_process_waits(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await PostgresStore(database, "entitlements").open()
    heard, listener = asyncio.Queue[str](), await asyncpg.connect(database)
    await listener.add_listener("log", lambda _connection, _pid, channel, _payload: heard.put_nowait(channel))
    await store.wait(0, 0.2)
    await store.append(write("a"))
    await asyncio.sleep(2 * NOTIFY_EVERY_S)
    monkeypatch.setattr(postgres, "WAITS_HERE_S", 0.0)
    await store.append(write("b"))
    await heard.get()
    await listener.execute("select")  # whatever was sent has come by then
    assert heard.empty(), "the second append alone was told"
    await listener.close()
    await store.close()
