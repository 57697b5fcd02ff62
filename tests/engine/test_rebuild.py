"""A projection's tables made anew beside the live ones, over a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from services.entitlements.projections import POOLS
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.relay import partition_of
from shared.eventlog.deliver.timers import Set, Timers, TimerService
from shared.eventlog.repair import rebuild, sources
from shared.eventlog.repair.asof import as_of
from shared.eventlog.repair.rebuild import Rebuild, RebuildProgress, drop_old
from shared.eventlog.repair.scratch import CannotFold, CannotRebuild, Piece
from shared.eventlog.write.log import utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import ClockMoved, SeatAssigned, SeatPoolOpened
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS
from shared.runtime.clocks import CLOCKS
from tests.databases import as_operator, fetch_as_operator
from tests.engine.rebuilding import PARTITIONS, Bench, assigned, opened
from tests.examples.engine import COUNTER, NOON, Count

NO_KAFKA = KafkaAccess(bootstrap="127.0.0.1:1")
"""None is needed where a service's own store is folded."""

pytestmark = pytest.mark.system


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    yield Bench(database, pool, store, POOLS)
    await store.close()
    await pool.close()


def again(bench: Bench, projection: Projection = POOLS, **rest: Any) -> Rebuild:
    return Rebuild(bench.service, projection, as_operator(bench.dsn), NO_KAFKA, **rest)


async def marks(bench: Bench) -> list[Any]:
    return [
        *await bench.pool.fetch("select * from engine.seen order by consumer, stream"),
        *await bench.pool.fetch('select consumer, topic, partition, "offset" from engine.checkpoints order by 1, 2, 3'),
    ]


async def test_the_new_tables_are_the_old_ones_again_and_the_consumer_goes_on(bench: Bench) -> None:
    await bench.pools(40)
    await bench.feed()
    pools, seats, before = await bench.rows("pools"), await bench.rows("seats"), await marks(bench)
    told: list[RebuildProgress] = []
    report = await again(bench, progress=told.append).run()
    assert (report.state, report.agrees, report.events) == ("switched", True, 40 * 5)
    assert {name: table.rows for name, table in report.tables.items()} == {"pools": 40, "seats": 80}
    assert (await bench.rows("pools"), await bench.rows("seats"), await marks(bench)) == (pools, seats, before)
    assert await bench.rows("seats", str(report.old)) == seats, "the old ones are kept"
    assert {each.stage for each in told} == {"folding", "catching up", "comparing", "switching"}
    await bench.pools(3, first=40)
    await bench.feed()
    assert (len(await bench.rows("pools")), len(await bench.rows("pools", str(report.old)))) == (43, 40)
    await drop_old(as_operator(bench.dsn), report.id)
    with pytest.raises(CannotRebuild, match="has no old tables"):
        await drop_old(as_operator(bench.dsn), report.id)
    assert await bench.pool.fetch("select 1 from pg_namespace where nspname ~ '^(old|rebuild)_'") == []


async def test_keys_and_indexes_are_the_same(bench: Bench) -> None:
    query = "select indexname, indexdef from pg_indexes where schemaname = 'public' order by 1"
    columns = "select * from information_schema.columns where table_schema = 'public' order by table_name, column_name"
    await bench.pools(1)
    await bench.feed()
    before = await bench.pool.fetch(query), await bench.pool.fetch(columns)
    await again(bench).run()
    assert (await bench.pool.fetch(query), await bench.pool.fetch(columns)) == before


async def test_it_never_overtakes_the_live_consumer(bench: Bench) -> None:
    """What is in the store and not dealt with yet comes by Kafka, later: folding it now would fold it twice."""
    await bench.pools(30)
    await bench.feed(limit=77)
    report = await again(bench).run()
    assert (report.agrees, report.events) == (True, 77)
    await bench.feed()
    assert len(await bench.rows("seats")) == 60
    assert await bench.pool.fetchval("select count(*) from engine.parked") == 0


async def test_tables_that_would_change_are_switched_only_when_told_so(bench: Bench) -> None:
    await bench.pools(5)
    await bench.feed()
    await bench.pool.execute("delete from seats where subscription_id = 's-3'")
    report = await again(bench).run()
    assert (report.state, report.agrees) == ("differs", False)
    assert "seats would change" in report.detail
    assert [table.agrees for table in report.tables.values()] == [True, False]
    assert len(await bench.rows("seats")) == 8, "nothing has changed yet"
    report = await again(bench).run(on_difference="switch")
    assert (report.state, report.events, len(await bench.rows("seats"))) == ("switched", 0, 10)


async def test_it_can_be_given_up(bench: Bench) -> None:
    await bench.pools(2)
    await bench.feed()
    with pytest.raises(CannotRebuild, match="No rebuild"):
        await again(bench).give_up()
    await bench.pool.execute("delete from seats")
    await again(bench).run()
    await again(bench).give_up()
    assert await bench.pool.fetchval("select state from engine.rebuilds") == "dropped"
    assert await bench.rows("seats") == []


async def test_killed_it_goes_on_where_it_was(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "READ_AT_ONCE", 40)
    await bench.pools(60)
    await bench.feed()
    before = await bench.rows("seats")
    task: asyncio.Task[Any]

    def kill(progress: RebuildProgress) -> None:
        if progress.folded > 90:
            task.cancel()

    task = asyncio.create_task(again(bench, progress=kill, workers=3).run())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.rows("seats") == before
    ((kept,),) = await fetch_as_operator(bench.dsn, "select sum(version) from rebuild_1._seen")
    assert 90 < kept < 300
    report = await again(bench).run()
    assert (report.id, report.agrees, report.events) == (1, True, 300 - kept)


async def test_two_never_rebuild_the_same(bench: Bench) -> None:
    await bench.pools(10)
    await bench.feed()
    first, second = await asyncio.gather(again(bench).run(), again(bench).run(), return_exceptions=True)
    assert {type(first), type(second)} >= {CannotRebuild}


async def test_other_folds_begin_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.pools(2)
    await bench.feed()
    await bench.pool.execute("delete from seats")
    assert (await again(bench).run()).state == "differs"
    monkeypatch.setattr(rebuild, "code_of", lambda _: "another")
    report = await again(bench).run(on_difference="switch")
    assert (report.id, report.events, len(await bench.rows("seats"))) == (2, 10, 4)


async def test_nothing_is_rebuilt_that_never_ran(bench: Bench) -> None:
    with pytest.raises(CannotRebuild, match=r"No consumer entitlements\.pools has ever run"):
        await again(bench).run()


async def test_a_parked_stream_stays_where_it_is(bench: Bench) -> None:
    await bench.pools(3)
    await bench.write("9", opened(9), assigned(9, 1), assigned(9, 1), assigned(9, 2))  # no seat twice: the key says no
    await bench.feed()
    parked = await bench.pool.fetch("select stream, version, reason from engine.parked order by version")
    assert [tuple(row) for row in parked] == [("pool-9", 3, "failed"), ("pool-9", 4, "behind")]
    report = await again(bench).run()
    assert (report.agrees, report.events) == (True, 17)
    assert len(await bench.pool.fetch("select from engine.parked")) == 2


async def test_a_type_that_was_unknown_is_folded_and_its_record_kept(bench: Bench) -> None:
    await bench.pools(1)
    await bench.feed()
    await bench.pool.execute(
        """insert into engine.parked (consumer, topic, partition, "offset", stream, version, reason, detail,
                                      holds_stream, key, headers, value)
           select $1, $2, 3, 7, stream, version, 'unknown-type', '', false, 'k',
                  jsonb_build_array(jsonb_build_array('ce_type', encode('SeatAssigned', 'base64'))), 'v'
           from log.events where type = 'SeatAssigned' order by position limit 1""",
        bench.consumer.name,
        ENTITLEMENTS,
    )
    columns = (
        'consumer, topic, partition, "offset", stream, version, reason, detail, holds_stream, key, headers, value, time'
    )
    before = await bench.pool.fetchrow(f"select {columns} from engine.parked")
    report = await again(bench).run()
    assert await bench.pool.fetchval("select count(*) from engine.parked") == 0
    assert await bench.pool.fetchrow(f"select {columns} from engine.settled") == before
    said = await bench.pool.fetchrow("select outcome, operation from engine.settled")
    assert tuple(said) == ("applied", f"rebuild-{report.id}")


async def test_a_fold_that_fails_is_named_and_nothing_is_lost(bench: Bench) -> None:
    broken = Projection("pools", topics=POOLS.topics, tables=POOLS.tables)
    bug = True

    @broken.on(SeatPoolOpened)
    async def seat_pool_opened(tx: Any, event: SeatPoolOpened, envelope: Envelope) -> None:
        await POOLS.apply(tx, event, envelope)

    @broken.on(SeatAssigned)
    async def seat_assigned(tx: Any, event: SeatAssigned, envelope: Envelope) -> None:
        if bug and event.subscription_id == "s-2":
            await tx.execute("insert into seats values ($1)", 7, 8)
        await POOLS.apply(tx, event, envelope)

    await bench.pools(4)
    await bench.feed()
    with pytest.raises(CannotFold, match="pool-2, version 2"):
        await again(bench, broken).run()
    assert (len(await bench.rows("seats")), await bench.pool.fetchval("select state from engine.rebuilds")) == (
        8,
        "folding",
    )
    bug = False
    report = await again(bench, broken).run(on_difference="switch")
    assert (report.state, len(await bench.rows("seats"))) == ("switched", 12), "without its fold, no seat is freed"


async def test_a_fold_writes_its_own_tables_only(bench: Bench) -> None:
    stray = Projection("pools", topics=POOLS.topics, tables=("pools",))

    @stray.on(SeatAssigned)
    async def seat_assigned(tx: Any, event: SeatAssigned, envelope: Envelope) -> None:
        await POOLS.apply(tx, event, envelope)

    await bench.pools(1)
    await bench.feed()
    with pytest.raises(CannotFold, match='relation "seats" does not exist'):
        await again(bench, stray).run()


async def test_readers_see_no_gap_while_it_switches(bench: Bench) -> None:
    """One statement reads two tables and the marks: before, during and after it finds the same."""
    await bench.pools(50)
    await bench.feed()
    stop, looked = asyncio.Event(), 0

    async def read() -> None:
        nonlocal looked
        while not stop.is_set():
            wrong = await bench.pool.fetch(
                "select stream from engine.seen left join pools p on 'pool-' || substr(p.subscription_id, 3) = stream "
                "where (select count(*) from seats where subscription_id = p.subscription_id) "
                "is distinct from engine.seen.version - 3"
            )
            assert wrong == []
            looked += 1

    readers = [asyncio.create_task(read()) for _ in range(2)]
    for _ in range(3):
        assert (await again(bench).run()).agrees
    stop.set()
    await asyncio.gather(*readers)
    assert looked > 20


async def test_fired_timers_do_not_come_back_and_put_off_ones_stay_put_off(bench: Bench) -> None:
    timers = Timers(topics=(ENTITLEMENTS,))

    @timers.on(SeatAssigned)
    def seat_assigned(event: SeatAssigned, envelope: Envelope) -> list[Set]:
        return [Set("count", event.subscription_id, NOON + timedelta(seconds=event.seat, microseconds=5), "customer")]

    @timers.fires("count", COUNTER)
    async def count(key: str, _now: Any, _reach: Any) -> Count:
        return Count(by="a bug" if key == "s-2" else "timer")

    live = Bench(bench.dsn, bench.pool, bench.store, timers.projection)
    for n in (1, 2, 3):
        await live.write(f"{n}", assigned(n, 10 * n))
    await live.feed()
    service = TimerService("entitlements", timers, bench.pool, live.log, Clocks(lambda: NOON + timedelta(seconds=25)))
    assert await service.fire() == 2
    rows = await live.pool.fetch("select key, due, first_due from engine.timers order by key")
    assert [row["key"] for row in rows] == ["s-2", "s-3"]
    report = await again(bench, timers.projection).run()
    assert report.agrees
    assert await live.pool.fetch("select key, due, first_due from engine.timers order by key") == rows
    assert await service.fire() == 0
    assert len(await live.store.read_stream("counter-s-1")) == 1


async def test_moved_clocks_are_found_again_by_who_has_looked(bench: Bench) -> None:
    live = Bench(bench.dsn, bench.pool, PostgresStore(bench.dsn, "identity"), CLOCKS, "identity")
    await live.store.open()
    for n in range(4):
        await live.write(f"{n % 3}", ClockMoved(organisation_id=f"o-{n % 3}", ahead_s=100 * n, moved_by="me"))
    await live.feed()
    clocks = Clocks(utc_now)
    await clocks.refresh(bench.pool)
    await bench.pool.execute("update engine.clocks set ahead_s = 7 where organisation_id = 'o-1'")
    report = await again(live, CLOCKS).run(on_difference="switch")
    await live.store.close()
    assert report.state == "switched"
    await clocks.refresh(bench.pool)
    assert clocks._ahead == {
        "o-0": timedelta(seconds=300),
        "o-1": timedelta(seconds=100),
        "o-2": timedelta(seconds=200),
    }


async def test_many_moved_clocks_are_folded_again_by_workers_side_by_side(bench: Bench) -> None:
    live = Bench(bench.dsn, bench.pool, PostgresStore(bench.dsn, "identity"), CLOCKS, "identity")
    await live.store.open()
    for n in range(120):
        await live.write(f"{n % 40}", ClockMoved(organisation_id=f"o-{n % 40}", ahead_s=100 * n, moved_by="me"))
    await live.feed()
    report = await again(live, CLOCKS, workers=4).run()
    async with as_of("identity", CLOCKS, as_operator(bench.dsn), NO_KAFKA, position=120) as past:
        assert past.tables == {"engine.clocks": 40}
    await live.store.close()
    assert report.state == "switched"
    rows = await bench.pool.fetch("select change from engine.clocks")
    assert len({row["change"] for row in rows}) == 40


class Records:
    """Stands in for the topic: the store's events as they were fed to the live consumer."""

    bench: Bench

    def __init__(self, _access: KafkaAccess, types: frozenset[str]) -> None:
        self.types = types

    async def __aenter__(self) -> "Records":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def between(self, done: Any, upto: Any) -> AsyncIterator[tuple[dict[Any, int], list[Piece]]]:
        at = dict.fromkeys(range(PARTITIONS), 0)
        for envelope, data in await self.bench.store.read(0, 10_000):
            number = partition_of(envelope.stream, PARTITIONS)
            place, offset = (ENTITLEMENTS, number), at[number]
            at[number] += 1
            if done.get(place, -1) < offset <= upto.get(place, -1):
                yield {place: offset}, [Piece(envelope, data if envelope.type in self.types else None)]


async def test_a_stream_that_waited_no_longer_is_read_again_from_kafka(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.pools(2)
    await bench.write("9", opened(9), assigned(9, 1), assigned(9, 1), assigned(9, 2))
    await bench.feed()
    Records.bench = bench
    monkeypatch.setattr(rebuild, "Topics", Records)
    catch_up, waits = Rebuild._catch_up, True

    async def meanwhile(self: Rebuild, db: Any) -> None:
        """Its records were read and passed over. Then somebody mends it."""
        nonlocal waits
        if waits:
            waits = False
            await bench.pool.execute("delete from seats where subscription_id = 's-9'")
            await bench.pool.execute("update engine.seen set version = 2 where stream = 'pool-9'")
            await catch_up(self, db)
            await bench.pool.execute("delete from engine.parked")
        await catch_up(self, db)

    await bench.pool.execute("update engine.seen set version = 1 where stream = 'pool-9'")
    monkeypatch.setattr(Rebuild, "_catch_up", meanwhile)
    report = await again(bench, source="kafka").run(on_difference="switch")
    assert report.state == "switched"
    assert [row for row in await bench.rows("seats") if "s-9" in row] != [], "the seat of version 2 was read again"
    monkeypatch.undo()
    await bench.pool.execute("update engine.seen set version = 9 where stream = 'pool-1'")
    with pytest.raises(CannotRebuild, match="pool-1 up to version 9, but only versions up to 5 can be read"):
        await again(bench).run()
