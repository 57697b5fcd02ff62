"""A consumer over a real database: effects and checkpoint together, poison aside, zombies without effect."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver import together
from shared.eventlog.deliver.applying import Fault
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.projection import Dispatch, Projection, ReactionContext, Reactions
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatUnassigned
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS
from tests.databases import execute_as_operator
from tests.examples.engine import COUNTER, Count
from tests.examples.records import TYPES, topic

pytestmark = pytest.mark.system


class Bench:
    """A table, a projection over it that can be made to fail, and the consumer of it."""

    def __init__(self, pool: Any, log: Log) -> None:
        self.pool, self.log = pool, log
        self.fails: dict[tuple[str, int], Exception] = {}
        self.projection = Projection("table", topics=(ENTITLEMENTS,))

        @self.projection.on(SeatUnassigned)
        async def seat_unassigned(tx: Any, _event: SeatUnassigned, envelope: Envelope) -> None:
            await tx.execute("insert into applied values ($1, $2)", envelope.stream, envelope.version)
            if failure := self.fails.get((envelope.stream, envelope.version or 0)):
                raise failure

    def consumer(self, what: Projection | Reactions[Any] | None = None) -> Consumer:
        return Consumer("test", what or self.projection, self.pool, self.log, Clocks(utc_now))

    async def consume(self, raws: list[Raw], consumer: Consumer | None = None) -> None:
        await (consumer or self.consumer()).consume([receive(raw, TYPES) for raw in raws])

    async def applied(self) -> list[tuple[str, int]]:
        rows = await self.pool.fetch("select stream, version from applied order by stream, version")
        return [(row["stream"], row["version"]) for row in rows]

    async def offset(self) -> int:
        return int(
            await self.pool.fetchval("""select "offset" from engine.checkpoints where consumer = 'test.table'""")
        )

    async def set_back(self) -> None:
        """The database forgets what consumers have done, as one that lost its last moments does."""
        await self.pool.execute("""update engine.checkpoints set "offset" = -1""")
        await self.pool.execute("delete from engine.seen; delete from applied")

    async def parked(self) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.pool.fetch('select * from engine.parked order by "offset"')
        return rows


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    await execute_as_operator(
        database, "create table applied (stream text, version int, primary key (stream, version))"
    )
    made = Bench(pool, Log(store, "entitlements"))
    await made.consumer().assigned([(ENTITLEMENTS, 0)])
    yield made
    await store.close()
    await pool.close()


async def test_a_batch_is_applied_with_its_checkpoint_and_repeats_do_nothing(bench: Bench) -> None:
    raws = topic("a", "b", "a")
    await bench.consume(raws)
    await bench.consume(raws)
    await bench.consume(raws[1:])
    assert await bench.applied() == [("a", 1), ("a", 2), ("b", 1)]
    assert await bench.offset() == 2
    assert await bench.consumer().assigned([(ENTITLEMENTS, 0)]) == {(ENTITLEMENTS, 0): 2}


async def test_a_passing_fault_leaves_nothing_and_a_later_try_applies_once(bench: Bench) -> None:
    raws = topic("a", "a", "b")
    for fault in (asyncpg.DeadlockDetectedError("deadlock"), ConnectionResetError()):
        bench.fails = {("a", 2): fault}
        with pytest.raises(Fault):
            await bench.consume(raws)
        assert (await bench.applied(), await bench.offset(), await bench.parked()) == ([], -1, [])
    bench.fails = {}
    await bench.consume(raws)
    assert await bench.applied() == [("a", 1), ("a", 2), ("b", 1)]


async def test_poison_is_parked_whole_and_stops_its_stream_only(bench: Bench) -> None:
    raws = topic("a", "a", "b", "a", "b")
    bench.fails = {("a", 2): ZeroDivisionError("a bug")}
    await bench.consume(raws)
    assert await bench.applied() == [("a", 1), ("b", 1), ("b", 2)]
    assert await bench.offset() == 4
    failed, behind = await bench.parked()
    assert (failed["reason"], behind["reason"]) == ("failed", "behind")
    assert "ZeroDivisionError" in failed["detail"]
    assert (failed["key"], failed["value"]) == (raws[1].key, raws[1].value)
    kept = [(name, value and base64.b64decode(value)) for name, value in json.loads(failed["headers"])]
    assert kept == list(raws[1].headers)
    later = topic("a", "a", "b", "a", "b", "a", "b")[5:]
    await bench.consume(later)
    assert await bench.applied() == [("a", 1), ("b", 1), ("b", 2), ("b", 3)], "the stream waits in later batches, too"
    assert [row["stream"] for row in await bench.parked()] == ["a", "a", "a"]


async def test_a_fold_that_calls_the_driver_wrongly_is_poison_not_a_passing_fault(bench: Bench) -> None:
    wrong = Projection("table", topics=(ENTITLEMENTS,))

    @wrong.on(SeatUnassigned)
    async def seat_unassigned(tx: Any, _event: SeatUnassigned, _envelope: Envelope) -> None:
        await tx.execute("insert into applied values ($1, $2)", "one argument only")

    await bench.consume(topic("a"), bench.consumer(wrong))
    assert [row["reason"] for row in await bench.parked()] == ["failed"]


async def test_a_zombie_finds_the_checkpoint_moved_and_does_nothing(bench: Bench) -> None:
    raws = topic("a", "a", "a")
    zombie, heir = bench.consumer(), bench.consumer()
    await bench.consume(raws[:1], zombie)
    await bench.consume(raws, heir)
    await bench.consume(raws[1:2], zombie)
    assert await bench.applied() == [("a", 1), ("a", 2), ("a", 3)]
    assert await bench.offset() == 2


async def test_a_checkpoint_that_was_set_back_under_its_consumer_is_gone_back_to(bench: Bench) -> None:
    raws, consumer = topic("a", "b", "c", "a", "d"), bench.consumer()
    await consumer.assigned([(ENTITLEMENTS, 0)])
    await bench.consume(raws[:4], consumer)
    await bench.set_back()
    done = await consumer.consume([receive(raw, TYPES) for raw in raws[4:]])
    assert (done.offsets, await bench.applied(), await bench.offset()) == ({}, [], -1), "nothing behind a hole"
    assert await consumer.assigned([(ENTITLEMENTS, 0)]) == {(ENTITLEMENTS, 0): -1}
    await bench.consume(raws, consumer)
    assert await bench.applied() == [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("d", 1)]


async def test_a_batch_from_before_a_checkpoint_was_gone_back_to_does_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is under way when somebody sees that the database was set back, and goes back to its checkpoint."""
    raws, consumer = topic("a", "b", "c", "a", "d"), bench.consumer()
    await consumer.assigned([(ENTITLEMENTS, 0)])
    await bench.consume(raws[:4], consumer)
    read = together.read_checkpoints

    async def after_that(*arguments: Any) -> Any:
        await bench.set_back()
        await consumer.assigned([(ENTITLEMENTS, 0)])
        return await read(*arguments)

    monkeypatch.setattr(together, "read_checkpoints", after_that)
    done = await consumer.consume([receive(raw, TYPES) for raw in raws[4:]])
    assert (done.offsets, await bench.applied(), await bench.offset()) == ({}, [], -1), "nothing behind a hole"


async def test_two_that_are_given_a_partition_at_once_both_learn_where_it_stands(bench: Bench) -> None:
    """The second one's statement waits for the first one's row, and has a snapshot from before it."""
    consumer = bench.consumer()
    async with bench.pool.acquire() as first:
        transaction = first.transaction()
        await transaction.start()
        await first.execute("insert into engine.checkpoints values ('test.table', $1, 1, 7)", ENTITLEMENTS)
        second = asyncio.create_task(consumer.assigned([(ENTITLEMENTS, 1)]))
        await asyncio.sleep(0.3)
        await transaction.commit()
        try:
            assert await second == {(ENTITLEMENTS, 1): 7}
        except Fault:  # it is asked again, as the feed does
            assert await consumer.assigned([(ENTITLEMENTS, 1)]) == {(ENTITLEMENTS, 1): 7}


async def test_a_reactions_commands_are_done_once(bench: Bench) -> None:
    reactions = Reactions("reactions", topics=(ENTITLEMENTS,))

    @reactions.on(SeatUnassigned)
    async def seat_unassigned(_event: SeatUnassigned, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
        return [Dispatch(COUNTER, envelope.stream, Count()), Dispatch(COUNTER, "all", Count())]

    raws = topic("a", "b", "a")
    consumer = bench.consumer(reactions)
    await consumer.assigned([(ENTITLEMENTS, 0)])
    await bench.consume(raws, consumer)
    await bench.set_back()  # as after a crash between the commands and the checkpoint
    await consumer.assigned([(ENTITLEMENTS, 0)])
    await bench.consume(raws, consumer)
    assert (await bench.log.state(COUNTER, "all")).number == 3
    assert (await bench.log.state(COUNTER, "a")).number == 2
    stored = await bench.log.store.read(0, 100)
    assert {e.envelope.causation_id for e in stored} == {(dict(raw.headers)["ce_id"] or b"").decode() for raw in raws}


async def test_a_reaction_that_asks_again_and_hears_more_does_each_streams_command_once(bench: Bench) -> None:
    """What a reaction finds in read models may grow between a first try and the next."""
    reactions = Reactions("reactions", topics=(ENTITLEMENTS,))
    known = ["b"]

    @reactions.on(SeatUnassigned)
    async def seat_unassigned(_event: SeatUnassigned, _envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
        return [Dispatch(COUNTER, key, Count()) for key in known]

    raws, consumer = topic("a"), bench.consumer(reactions)
    await consumer.assigned([(ENTITLEMENTS, 0)])
    await bench.consume(raws, consumer)
    await bench.set_back()
    await consumer.assigned([(ENTITLEMENTS, 0)])
    known[:] = ["a", "b"]
    await bench.consume(raws, consumer)
    assert await bench.parked() == []
    assert (await bench.log.state(COUNTER, "a")).number == (await bench.log.state(COUNTER, "b")).number == 1


async def test_a_reaction_that_raises_parks_its_event(bench: Bench) -> None:
    reactions = Reactions("reactions", topics=(ENTITLEMENTS,))

    @reactions.on(SeatUnassigned)
    async def seat_unassigned(_event: SeatUnassigned, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
        if envelope.stream == "a":
            raise KeyError("a bug")
        return [Dispatch(COUNTER, "all", Count())]

    consumer = bench.consumer(reactions)
    await consumer.assigned([(ENTITLEMENTS, 0)])
    await bench.consume(topic("a", "b", "a"), consumer)
    assert (await bench.log.state(COUNTER, "all")).number == 1
    assert [row["reason"] for row in await bench.parked()] == ["failed", "behind"]


async def test_reactions_to_several_streams_go_side_by_side_and_to_one_in_order(bench: Bench) -> None:
    reactions = Reactions("reactions", topics=(ENTITLEMENTS,))
    second, heard = asyncio.Event(), list[tuple[str, int | None]]()

    @reactions.on(SeatUnassigned)
    async def seat_unassigned(_event: SeatUnassigned, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
        if envelope.stream == "b":
            second.set()
        elif envelope.version == 1:
            async with asyncio.timeout(10):
                await second.wait()  # what comes later in the batch, of another stream
        heard.append((envelope.stream, envelope.version))
        return [Dispatch(COUNTER, "all", Count())]

    consumer = bench.consumer(reactions)
    await consumer.assigned([(ENTITLEMENTS, 0)])
    await bench.consume(topic("a", "a", "b", "a"), consumer)
    assert await bench.parked() == []
    assert [version for stream, version in heard if stream == "a"] == [1, 2, 3]
    assert (await bench.log.state(COUNTER, "all")).number == 4


async def test_a_passing_fault_of_one_stream_waits_for_the_others_and_nothing_is_done_twice(bench: Bench) -> None:
    reactions = Reactions("reactions", topics=(ENTITLEMENTS,))
    faulty, at_work = [True], [0]

    @reactions.on(SeatUnassigned)
    async def seat_unassigned(_event: SeatUnassigned, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
        if envelope.stream == "a" and faulty.pop():
            raise ConnectionResetError
        at_work[0] += 1
        await asyncio.sleep(0.05)
        at_work[0] -= 1
        return [Dispatch(COUNTER, envelope.stream, Count())]

    raws, consumer = topic("a", "b", "b", "c"), bench.consumer(reactions)
    await consumer.assigned([(ENTITLEMENTS, 0)])
    with pytest.raises(Fault):
        await bench.consume(raws, consumer)
    assert at_work == [0], "none is at work when the batch comes again"
    faulty.append(False)
    await bench.consume(raws, consumer)
    assert [(await bench.log.state(COUNTER, key)).number for key in "abc"] == [1, 2, 1]
    assert await bench.parked() == []
