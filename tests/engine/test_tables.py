"""What the engine's own tables promise: one suite, for PostgreSQL and for the simulation's memory."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import asyncpg
import pytest

from shared.eventlog.deliver.clocks import ClockTable, MovedClock, PostgresClocks
from shared.eventlog.deliver.plan import BatchPlan, Known, ParkedRecord, Seen
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.received import Partition, Raw, Reason, Received
from shared.eventlog.deliver.tables import (
    Asked,
    ConsumerTables,
    Facts,
    Lock,
    OwnHead,
    PartitionProgress,
    PostgresTables,
    StreamProgress,
)
from shared.eventlog.deliver.timers import Cancel, PostgresTimers, Set, TimerTable
from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Store
from shared.events import ClockMoved
from shared.events.envelope import Envelope
from shared.runtime import clocks as product
from tests.examples.engine import NOON, write
from tests.simulation.database import Pool, Tables
from tests.simulation.store import Rates
from tests.simulation.time import StillProcess
from tests.simulation.twins import engine as twin

HOUR: Final = timedelta(hours=1)
ONE, TWO = ("t", 0), ("t", 1)
HASH, OTHER = b"\1" * 32, b"\2" * 32


@dataclass
class Bench:
    """The engine's tables over a database, and a log in it."""

    pool: Any
    store: Store
    tables: Callable[[Any], ConsumerTables]
    timers: Callable[[Any], TimerTable]
    clocks: Callable[[Any], ClockTable]
    moves: Projection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ConsumerTables]:
        async with self.pool.acquire() as tx, tx.transaction():
            yield self.tables(tx)

    async def move(self, organisation: str, ahead_s: int) -> None:
        event = ClockMoved.model_construct(organisation_id=organisation, ahead_s=ahead_s, moved_by="x")
        async with self.pool.acquire() as tx, tx.transaction():
            await self.moves.apply(tx, event, Envelope("e", "s", event.type(), "x", NOON))


def in_memory() -> Bench:
    store, tables, chance = MemoryStore(), Tables(), random.Random(1)
    tables.log, rates = store, Rates(chance)
    rates.heal()
    pool = Pool(tables, StillProcess("tables", chance), chance, rates)
    return Bench(pool, store, twin.MemoryTables, twin.MemoryTimers, twin.MemoryClocks, twin.CLOCKS)


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.system)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield in_memory()
        return
    database = request.getfixturevalue("database")
    async with AsyncExitStack() as stack:
        store = await PostgresStore(database, "entitlements").open()
        stack.push_async_callback(store.close)
        pool = await stack.enter_async_context(asyncpg.create_pool(database, min_size=1, max_size=3))
        yield Bench(pool, store, PostgresTables, PostgresTimers, PostgresClocks, product.CLOCKS)


@pytest.fixture
async def tables(bench: Bench) -> ConsumerTables:
    """The tables without a transaction, with a checkpoint of the consumer `c` in two partitions."""
    tables = bench.tables(bench.pool)
    assert await tables.assign("c", [ONE, TWO]) == {ONE: -1, TWO: -1}
    return tables


async def progress(
    tables: ConsumerTables, *, lock: Lock = "none", **asked: list[Partition]
) -> Mapping[str, Mapping[Partition, PartitionProgress]]:
    """Each consumer's progress in these partitions."""
    return (await tables.facts({name: Asked(partitions) for name, partitions in asked.items()}, lock=lock)).partitions


async def streams(tables: ConsumerTables, **asked: list[str]) -> Mapping[str, Mapping[str, StreamProgress]]:
    """Each consumer's progress in these streams."""
    return (await tables.facts({name: Asked(streams=streams) for name, streams in asked.items()})).streams


def parked(
    reason: Reason, version: int | None = None, *, offset: int = 0, value: bytes = b"v", holds: bool = True
) -> ParkedRecord:
    """A record of the stream `s` that is parked for this reason; without a version, one that has none."""
    envelope = version and Envelope("e", "urn:s", "X", "s", NOON, version=version)
    raw = Raw("t", 0, offset, b"k", [("h\udcff", None), ("ce_id", b"\xff\0")], value)
    return ParkedRecord(Received(raw, envelope or None, None), reason, "why", holds)


# ── Checkpoints ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_checkpoint_stands_where_its_consumer_has_come_to(bench: Bench, tables: ConsumerTables) -> None:
    await tables.advance({"c": BatchPlan(offsets={ONE: 7})})
    assert await tables.assign("c", [ONE, TWO]) == {ONE: 7, TWO: -1}
    assert await tables.assign("d", [ONE]) == {ONE: -1}, "each consumer has its own"
    reached = await progress(tables, c=[TWO, ONE, ("u", 0)])
    assert reached["c"] == {ONE: PartitionProgress(7, False), TWO: PartitionProgress(-1, False)}


async def test_a_checkpoint_that_does_not_exist_is_not_moved(tables: ConsumerTables) -> None:
    await tables.advance({"d": BatchPlan(offsets={ONE: 7})})
    assert await progress(tables, d=[ONE]) == {"d": {}}


async def test_a_batch_that_is_rolled_back_leaves_nothing(bench: Bench, tables: ConsumerTables) -> None:
    async def broken() -> None:
        async with bench.transaction() as mine:
            await mine.advance({"c": BatchPlan(offsets={ONE: 7}, seen={"s": Seen(1, HASH)})})
            await mine.park("c", [parked("failed", 2)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken()
    assert await progress(tables, c=[ONE]) == {"c": {ONE: PartitionProgress(-1, False)}}
    assert await streams(tables, c=["s"]) == {"c": {"s": StreamProgress(None, False, False)}}


async def test_what_is_judged_by_is_read_after_a_locked_checkpoint_was_waited_for(
    bench: Bench, tables: ConsumerTables
) -> None:
    async def second() -> Facts:
        async with bench.transaction() as others:
            return await others.facts({"c": Asked([ONE], ["s"])}, [], [("s", 1)], lock="wait")

    async with bench.transaction() as mine:
        await progress(mine, c=[ONE], lock="wait")
        waiting = asyncio.create_task(second())
        assert await progress(tables, c=[ONE]) == {"c": {ONE: PartitionProgress(-1, False)}}, "nobody waits here"
        await asyncio.sleep(0.05)
        assert not waiting.done()
        known = {("s", 1): Known(HASH)}
        await mine.advance({"c": BatchPlan(offsets={ONE: 7}, seen={"s": Seen(1, HASH)}, known=known)})
    facts = await waiting
    assert facts.partitions == {"c": {ONE: PartitionProgress(7, False)}}
    assert facts.streams == {"c": {"s": StreamProgress(Seen(1, HASH), False, False)}}
    assert facts.known == known


async def test_a_locked_checkpoint_is_left_to_who_has_it_and_others_are_read(
    bench: Bench, tables: ConsumerTables
) -> None:
    await tables.assign("d", [ONE])
    async with bench.transaction() as theirs, bench.transaction() as mine:
        await progress(theirs, d=[ONE], c=[TWO], lock="wait")
        reached = await progress(mine, c=[ONE, TWO], d=[ONE], lock="skip")
        assert reached == {"c": {ONE: PartitionProgress(-1, False)}, "d": {}}


async def test_several_consumers_move_and_are_read_together(tables: ConsumerTables) -> None:
    await tables.assign("d", [ONE])
    await tables.advance(
        {
            "c": BatchPlan(offsets={ONE: 7}, seen={"s": Seen(1, HASH)}, known={("s", 1): Known(HASH)}),
            "d": BatchPlan(offsets={ONE: 5}, seen={"r": Seen(2, OTHER)}, known={("s", 1): Known(HASH)}),
        }
    )
    assert await progress(tables, d=[ONE], c=[ONE]) == {
        "d": {ONE: PartitionProgress(5, False)},
        "c": {ONE: PartitionProgress(7, False)},
    }
    nothing = StreamProgress(None, False, False)
    assert await streams(tables, c=["s", "r"], d=["r", "s"], e=[]) == {
        "c": {"s": StreamProgress(Seen(1, HASH), False, False), "r": nothing},
        "d": {"r": StreamProgress(Seen(2, OTHER), False, False), "s": nothing},
        "e": {},
    }
    assert (await tables.facts({}, [], [("s", 1)])).known == {("s", 1): Known(HASH)}


@pytest.mark.parametrize("reason", ["unreadable", "unparsable", "failed", "gap", "forged"])
async def test_only_what_cannot_be_read_may_hide_a_version(tables: ConsumerTables, reason: Reason) -> None:
    await tables.assign("d", [ONE])
    await tables.park("c", [parked(reason, holds=False)])
    hidden = reason in ("unreadable", "unparsable")
    reached = await progress(tables, c=[ONE, TWO], d=[ONE])
    assert reached == {
        "c": {ONE: PartitionProgress(-1, hidden), TWO: PartitionProgress(-1, False)},
        "d": {ONE: PartitionProgress(-1, False)},
    }


# ── Streams ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_is_seen_up_to_its_last_version(tables: ConsumerTables) -> None:
    for version in (1, 2):
        await tables.advance({"c": BatchPlan(seen={"s": Seen(version, HASH, "org")})})
    nothing = StreamProgress(None, False, False)
    assert await streams(tables, c=["s", "r"], d=["s"]) == {
        "c": {"s": StreamProgress(Seen(2, HASH), False, False), "r": nothing},
        "d": {"s": nothing},
    }


@pytest.mark.parametrize(
    ("seen", "record", "held", "blocked"),
    [
        (2, parked("failed", 3), True, True),
        (2, parked("failed", 2), True, True),
        (2, parked("failed", 4), True, False),
        (2, parked("gap", 3), True, False),
        (None, parked("failed", 1), True, True),
        (None, parked("gap", 2), True, False),
        (2, parked("failed", 3, holds=False), False, False),
        (2, parked("unreadable"), False, False),
    ],
)
async def test_a_parked_record_holds_its_stream_and_blocks_the_next_version(
    tables: ConsumerTables, seen: int | None, record: ParkedRecord, held: bool, blocked: bool
) -> None:
    if seen is not None:
        await tables.advance({"c": BatchPlan(seen={"s": Seen(seen, HASH)})})
    await tables.park("c", [record])
    found = await streams(tables, c=["s"], d=["s"])
    assert (found["c"]["s"].held, found["c"]["s"].blocked) == (held, blocked)
    assert not found["d"]["s"].held


# ── What is known ──────────────────────────────────────────────────────────────────────────────────────


async def test_the_services_own_versions_are_known_from_its_log(bench: Bench, tables: ConsumerTables) -> None:
    assert (await tables.facts({})).head == OwnHead(0, None)
    asked = write("s", number=2)
    await bench.store.append(asked)
    (first, second) = await bench.store.read_stream("s")
    assert (await tables.facts({}, [("s", 1), ("s", 2), ("s", 3), ("r", 1)], [])).known == {
        ("s", 1): Known(first.envelope.hash, 1, asked.command_id),
        ("s", 2): Known(second.envelope.hash, 2, asked.command_id),
    }
    assert (await tables.facts({})).head == OwnHead(2, None)


async def test_what_is_known_of_anothers_version_stays(tables: ConsumerTables) -> None:
    for known in (Known(HASH, record=b"r"), Known(OTHER, record=b"q")):
        await tables.advance({"c": BatchPlan(known={("s", 1): known})})
    await tables.advance({"d": BatchPlan(known={("s", 2): Known(OTHER)})})
    assert (await tables.facts({}, [], [("s", 1), ("s", 2), ("s", 3)])).known == {
        ("s", 1): Known(HASH, record=b"r"),
        ("s", 2): Known(OTHER),
    }
    assert (await tables.facts({}, [("s", 1)], [])).known == {}, "the own log does not have it"


# ── Parked records ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_record_is_parked_once_and_no_other_in_its_place(tables: ConsumerTables) -> None:
    for _ in range(2):
        await tables.park("c", [parked("failed", 1), parked("unreadable", offset=1)])
    await tables.park("d", [parked("failed", 1, value=b"w")])
    with pytest.raises(asyncpg.RaiseError):
        await tables.park("c", [parked("failed", 1, value=b"w")])


# ── Publishers' events ─────────────────────────────────────────────────────────────────────────────────


async def test_the_first_content_of_an_identity_counts(tables: ConsumerTables) -> None:
    assert await tables.content("c", b"i") is None
    assert await tables.claim("c", [(b"i", b"1"), (b"i", b"2"), (b"j", b"3")]) == {b"i": b"1", b"j": b"3"}
    assert await tables.claim("c", [(b"i", b"4")]) == {b"i": b"1"}
    assert await tables.content("c", b"i") == b"1"
    assert await tables.claim("d", [(b"i", b"4")]) == {b"i": b"4"}


async def test_a_content_without_effect_is_forgotten_and_another_is_not(tables: ConsumerTables) -> None:
    await tables.claim("c", [(b"i", b"1"), (b"j", b"2")])
    await tables.unclaim("c", [(b"i", b"1"), (b"j", b"9"), (b"k", b"1")])
    assert [await tables.content("c", identity) for identity in (b"i", b"j")] == [None, b"2"]


# ── Timers ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def timers(bench: Bench) -> TimerTable:
    return bench.timers(bench.pool)


def by(event_id: str, correlation_id: str = "") -> Envelope:
    return Envelope(event_id, "s", "X", "s", NOON, correlation_id=correlation_id)


async def due(timers: TimerTable, after: timedelta = timedelta(), limit: int = 100) -> list[str]:
    return [f"{timer.name} {timer.key}" for timer in await timers.due(NOON + after, limit)]


async def test_a_timer_is_due_from_its_time_on_the_earliest_first(timers: TimerTable) -> None:
    for name, key, hours in (("b", "x", 1), ("a", "x", 1), ("a", "w", 1), ("a", "v", 0), ("a", "z", 2)):
        await timers.set(Set(name, key, NOON + hours * HOUR, "org"), by("e"))
    assert await due(timers) == ["a v"]
    assert await due(timers, HOUR) == ["a v", "a w", "a x", "b x"]
    assert await due(timers, HOUR, limit=1) == ["a v"]


async def test_a_timer_is_replaced_and_cancelled(timers: TimerTable) -> None:
    await timers.set(Set("a", "x", NOON, "org"), by("e1", "c1"))
    await timers.set(Set("a", "x", NOON + HOUR, "org"), by("e2"))
    assert await due(timers) == []
    (timer,) = await timers.due(NOON + HOUR, 1)
    assert timer == ("a", "x", NOON + HOUR, None, 0, "e2", "")
    await timers.cancel(Cancel("a", "y"))
    await timers.cancel(Cancel("a", "x"))
    assert await due(timers, HOUR) == []


async def test_a_timer_that_was_set_again_has_not_fired(timers: TimerTable) -> None:
    for key in ("x", "y"):
        await timers.set(Set("a", key, NOON, "org"), by("e"))
    await timers.set(Set("a", "x", NOON + HOUR, "org"), by("e"))
    await timers.delete([("a", "x", NOON), ("a", "y", NOON)])
    assert await due(timers, HOUR) == ["a x"]


async def test_a_postponed_timer_keeps_the_time_it_was_first_due(timers: TimerTable) -> None:
    await timers.set(Set("a", "x", NOON, "org"), by("e", "c"))
    await timers.postpone(("a", "x", NOON), NOON + HOUR)
    await timers.postpone(("a", "x", NOON), NOON + 5 * HOUR)  # it was set to another time since
    await timers.postpone(("a", "x", NOON + HOUR), NOON + 2 * HOUR)
    assert await due(timers, HOUR) == []
    (timer,) = await timers.due(NOON + 2 * HOUR, 1)
    assert timer == ("a", "x", NOON + 2 * HOUR, NOON, 0, "e", "c")
    await timers.set(Set("a", "x", NOON, "org"), by("e"))
    (timer,) = await timers.due(NOON, 1)
    assert timer.first_due is None


async def test_a_timer_is_due_in_the_time_of_its_organisation(bench: Bench, timers: TimerTable) -> None:
    for customer in ("org", "other"):
        await timers.set(Set("a", customer, NOON + HOUR, customer), by("e"))
    await bench.move("org", 3_600)
    assert await due(timers) == ["a org"]
    (timer,) = await timers.due(NOON, 1)
    assert timer.ahead_s == 3_600


# ── Clocks ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_clocks_are_told_in_the_order_in_which_they_were_moved(bench: Bench) -> None:
    clocks = bench.clocks(bench.pool)
    assert await clocks.moved_after(0) == []
    await bench.move("b", 1)
    await bench.move("a", 2)
    assert await clocks.moved_after(0) == [MovedClock("b", 1, 1), MovedClock("a", 2, 2)]
    await bench.move("b", 3)
    assert await clocks.moved_after(0) == [MovedClock("a", 2, 2), MovedClock("b", 3, 3)]
    assert await clocks.moved_after(2) == [MovedClock("b", 3, 3)]
