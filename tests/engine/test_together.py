"""Consumers that fold a batch in one transaction: all of it or nothing, and nobody is held by who cannot."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer, consume_together
from shared.eventlog.deliver.feed import Portion
from shared.eventlog.deliver.offsets import METADATA_CHARACTERS, metadata_of, offset_of
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatUnassigned
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS, INBOUND
from tests.databases import execute_as_operator
from tests.examples.records import TYPES, received, topic, without

PLACE = (ENTITLEMENTS, 0)


class Bench:
    """Three projections of one table, of which some can be made to fail, and reactions with nothing to react to."""

    def __init__(self, pool: Any, log: Log) -> None:
        self.pool, self.fails = pool, dict[str, Exception]()
        quiet: Reactions[None] = Reactions("quiet", topics=(ENTITLEMENTS,))
        folds = map(self._projection, ("a", "b", "c"))
        definitions: Sequence[Projection | Reactions[Any]] = (*folds, quiet)
        self.consumers = {what.name: Consumer("test", what, pool, log, Clocks(utc_now)) for what in definitions}

    def _projection(self, name: str) -> Projection:
        projection = Projection(name, topics=(ENTITLEMENTS,))

        @projection.on(SeatUnassigned)
        async def note(tx: Any, _event: SeatUnassigned, envelope: Envelope) -> None:
            await tx.execute("insert into applied values ($1, $2, $3)", name, envelope.stream, envelope.version)
            if (failure := self.fails.get(name)) is not None:
                raise failure

        return projection

    async def consume(self, raws: Sequence[Raw], first: int = 0) -> dict[str, int]:
        """The last offset of each consumer that moved."""
        portion = Portion.of([receive(raw, TYPES) for raw in raws[first:]])
        shares = [(c, c.share(portion.of_types(c.definition.types))) for c in self.consumers.values()]
        done = await consume_together(shares)
        moved = {name.removeprefix("test."): planned.offsets.get(PLACE) for name, planned in done.items()}
        return {name: offset for name, offset in moved.items() if offset is not None}

    async def applied(self) -> dict[str, int]:
        rows = await self.pool.fetch("select name, count(*) as n from applied group by name")
        return {row["name"]: row["n"] for row in rows}

    async def offsets(self) -> dict[str, int]:
        rows = await self.pool.fetch('select consumer, "offset" from engine.checkpoints')
        return {row["consumer"].removeprefix("test."): row["offset"] for row in rows}


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "marketplace").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    await execute_as_operator(
        database, "create table applied (name text, stream text, version int, primary key (name, stream, version))"
    )
    made = Bench(pool, Log(store, "marketplace"))
    for consumer in made.consumers.values():
        await consumer.assigned([PLACE])
    yield made
    await store.close()
    await pool.close()


@pytest.mark.system
async def test_all_fold_and_move_in_one_transaction(bench: Bench) -> None:
    raws = topic("s", "s", "r")
    assert await bench.consume(raws) == {"a": 2, "b": 2, "c": 2, "quiet": 2}
    assert await bench.applied() == {"a": 3, "b": 3, "c": 3}
    transactions = await bench.pool.fetchval(
        "select count(distinct xmin::text) from (select xmin from applied "
        "union all select xmin from engine.checkpoints union all select xmin from engine.seen) as rows"
    )
    assert transactions == 1
    assert await bench.consume(raws) == {}, "they are repeats"
    assert await bench.pool.fetchval("select count(*) from engine.seen") == 8


@pytest.mark.system
async def test_who_fails_is_left_out_and_the_others_lose_nothing(bench: Bench) -> None:
    raws = topic("s", "s", "r")
    bench.fails["b"] = ZeroDivisionError("a bug")
    assert await bench.consume(raws) == {"a": 2, "c": 2, "quiet": 2}
    assert await bench.applied() == {"a": 3, "c": 3}
    assert await bench.offsets() == {"a": 2, "b": -1, "c": 2, "quiet": 2}
    await bench.consumers["b"].consume(received(raws))
    assert (await bench.offsets())["b"] == 2
    parked = await bench.pool.fetch("select consumer from engine.parked")
    assert {row["consumer"] for row in parked} == {"test.b"}


@pytest.mark.system
async def test_a_temporary_error_leaves_nothing(bench: Bench) -> None:
    bench.fails["b"] = asyncpg.DeadlockDetectedError("deadlock")
    assert await bench.consume(topic("s", "r")) == {}
    assert await bench.applied() == {} and set((await bench.offsets()).values()) == {-1}
    bench.fails.clear()
    assert await bench.consume(topic("s", "r")) == {"a": 1, "b": 1, "c": 1, "quiet": 1}


@pytest.mark.system
async def test_who_is_being_rebuilt_or_runs_elsewhere_holds_nobody(bench: Bench) -> None:
    """Another transaction has its checkpoint, as a rebuild's, an operator's or a former process's does."""
    raws = topic("s", "s")
    async with bench.pool.acquire() as other:
        async with other.transaction():
            await other.execute("select from engine.checkpoints where consumer = 'test.b' for update")
            async with asyncio.timeout(10):
                assert await bench.consume(raws) == {"a": 1, "c": 1, "quiet": 1}
            alone = asyncio.create_task(bench.consumers["b"].consume(received(raws)))
            await asyncio.sleep(0.05)
            assert not alone.done()
            await other.execute("update engine.checkpoints set \"offset\" = 1 where consumer = 'test.b'")
        done = await alone
    assert (done.offsets, done.repeats, await bench.applied()) == ({}, 2, {"a": 2, "c": 2}), (
        "what was processed there is not processed here"
    )


@pytest.mark.system
async def test_a_fold_that_waits_for_a_lock_holds_nobody_and_waits_alone(bench: Bench) -> None:
    raws = topic("s", "r")
    async with bench.pool.acquire() as other:
        async with other.transaction():
            await other.execute("insert into applied values ('b', 'r', 1)")
            async with asyncio.timeout(10):
                assert await bench.consume(raws) == {"a": 1, "c": 1, "quiet": 1}
            alone = asyncio.create_task(bench.consumers["b"].consume(received(raws)))
            await asyncio.sleep(0.3)  # longer than a fold waits together with others
            assert not alone.done()
            await other.execute("delete from applied where name = 'b'")
        assert (await alone).offsets == {PLACE: 1}
    assert await bench.applied() == {"a": 2, "b": 2, "c": 2}
    assert await bench.pool.fetchval("select count(*) from engine.parked") == 0


@pytest.mark.system
async def test_a_lock_on_what_they_all_write_lets_each_go_on_alone(bench: Bench) -> None:
    raws = topic("s", "r")
    async with bench.pool.acquire() as other, other.transaction():
        await other.execute("lock table engine.seen in share mode")
        async with asyncio.timeout(10):
            assert await bench.consume(raws) == {}
    assert await bench.consume(raws) == {"a": 1, "b": 1, "c": 1, "quiet": 1}


@pytest.mark.system
async def test_who_was_set_back_is_left_out(bench: Bench) -> None:
    raws = topic("s", "s", "s")
    await bench.consume(raws[:2])
    await bench.pool.execute("update engine.checkpoints set \"offset\" = 0 where consumer = 'test.b'")
    assert await bench.consume(raws, first=2) == {"a": 2, "c": 2, "quiet": 2}
    assert (await bench.consumers["b"].consume(received(raws[2:]))).offsets == {}, "nothing behind a hole"


# ── What each is given ─────────────────────────────────────────────────────────────────────────────────


def test_a_record_is_read_once_and_each_consumer_sees_it_as_if_it_had_read_it() -> None:
    """Handled, ignored, of an unknown type, unreadable, a body that only its reader finds to be bad, a publisher's."""
    raws = [
        *topic("s", "r", "s", bodies={1: b"{}"}, types={2: "SomethingNew"}),
        without(topic("q")[0], "ce_type"),
        topic("p")[0]._replace(topic=INBOUND, offset=9),
    ]
    everything = Portion.of([receive(raw, TYPES | {"PlanListed"}) for raw in raws])
    for types in (TYPES, frozenset[str](), frozenset({"PlanListed"}), TYPES | {"PlanListed"}):
        alone = [receive(raw, types) for raw in raws]
        shown = [each._replace(decoded=False) for each in everything.of_types(types)]
        assert shown == [each._replace(decoded=False) for each in alone]


def test_what_a_group_says_of_a_consumer_is_its_offset_and_nothing_of_others() -> None:
    said = metadata_of({"test.a": 7, "test.b": 12})
    assert [offset_of(f"test.{name}", said) for name in "abc"] == [7, 12, None]
    assert metadata_of({f"test.consumer-{number}": 10**12 for number in range(200)}) == ""
    assert len(said) < METADATA_CHARACTERS
    assert [offset_of("test.a", text) for text in ("", "not JSON", "[1]", '{"test.a": "7"}')] == [None] * 4
