"""Durable timers and moved clocks, over a real database."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.deliver.timers import Cancel, Change, Set, Timers, TimerService
from shared.eventlog.write.log import Log
from shared.eventlog.write.postgres import PostgresStore
from shared.events import ClockMoved, SeatAssigned, SeatUnassigned
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS
from shared.runtime.clocks import CLOCKS
from shared.sql import with_names
from tests.databases import as_operator
from tests.examples.engine import COUNTER, NOON, Count

pytestmark = pytest.mark.system

HOUR = timedelta(hours=1)
TIMERS = Timers(topics=(ENTITLEMENTS,))


@TIMERS.on(SeatAssigned)
def seat_assigned(event: SeatAssigned, envelope: Envelope) -> Sequence[Change]:
    return [Set("count", event.subscription_id, envelope.time + HOUR, event.account_id)]


@TIMERS.on(SeatUnassigned)
def seat_unassigned(event: SeatUnassigned, _envelope: Envelope) -> Sequence[Change]:
    return [Cancel("count", event.subscription_id)]


@TIMERS.fires("count", COUNTER)
async def count(_key: str, now: Any, _reach: ReactionContext) -> Count:
    return Count(by=now.isoformat().replace(":", "."))


class Bench:
    def __init__(self, pool: Any, log: Log) -> None:
        self.pool, self.log, self.now = pool, log, NOON
        self.clocks = Clocks(lambda: self.now)
        self.service = TimerService("test", TIMERS, pool, log, self.clocks)

    async def fold(self, what: Any, event: Any) -> None:
        envelope = Envelope("e", "s", event.type(), "x", NOON, correlation_id="c")
        async with self.pool.acquire() as tx, tx.transaction():
            await what.apply(tx, event, envelope)

    async def set(self, key: str, customer: str = "customer") -> None:
        event = SeatAssigned.model_construct(  # keys that are longer than today's identifiers, too
            subscription_id=key, contract_id="c", seat=1, account_id=customer or "nobody", assigned_by="x"
        )
        await self.fold(TIMERS.projection, event)

    async def counted(self, key: str = "one") -> list[str]:
        stored = await self.log.store.read_stream(f"counter-{key}")
        return [event.envelope.actor for event in stored]

    async def move(self, customer: str, ahead: timedelta) -> None:
        moved = ClockMoved(organisation_id=customer, ahead_s=int(ahead.total_seconds()), moved_by="me")
        await self.fold(CLOCKS, moved)


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    yield Bench(pool, Log(store, "entitlements"))
    await store.close()
    await pool.close()


async def test_a_timer_fires_once_when_it_is_due(bench: Bench) -> None:
    await bench.set("one")
    assert await bench.service.fire() == 0
    bench.now += HOUR
    assert (await bench.service.fire(), await bench.service.fire()) == (1, 0)
    assert await bench.counted() == ["timer"]


async def test_a_timer_that_a_crash_left_behind_changes_nothing(bench: Bench) -> None:
    await bench.set("one")
    bench.now += HOUR
    await bench.service.fire()
    await bench.set("one")  # as a rebuilt table has it
    assert await bench.service.fire() == 1
    assert await bench.counted() == ["timer"]
    assert await bench.service.fire() == 0


@pytest.mark.parametrize("length", [20, 400, 449, 450, 480])
async def test_a_rebuilt_timer_that_has_fired_is_gone_however_long_its_key(
    bench: Bench, database: str, length: int
) -> None:
    """The statement that a rebuild ends with makes the command's id as `derived_id` does."""
    fired, waiting = "f" * length, "w" * length
    await bench.set(fired)
    bench.now += HOUR
    assert (await bench.service.fire(), await bench.counted(fired)) == (1, ["timer"])
    owner = await asyncpg.connect(as_operator(database))
    await owner.execute("create schema rebuilt; create table rebuilt.timers (like engine.timers)")
    row = "insert into rebuilt.timers values ('count', $1, $2, 'customer', 'e', 'c')"
    await owner.execute(row, fired, NOON + HOUR)
    await owner.execute(row, waiting, NOON + HOUR)
    await owner.execute(with_names(TIMERS.projection.carry_over_sql, new="rebuilt"))
    assert [each["key"] for each in await owner.fetch("select key from rebuilt.timers")] == [waiting]
    await owner.execute("drop schema rebuilt cascade")
    await owner.close()


async def test_a_cancelled_timer_never_fires(bench: Bench) -> None:
    await bench.set("one")
    gone = SeatUnassigned(subscription_id="one", contract_id="c", seat=1, account_id="a", unassigned_by="x")
    await bench.fold(TIMERS.projection, gone)
    bench.now += 2 * HOUR
    assert await bench.service.fire() == 0


async def test_a_sandboxs_clock_moves_its_own_timers_only(bench: Bench) -> None:
    await bench.set("one", customer="sandbox")
    await bench.set("two", customer="other")
    await bench.move("sandbox", 30 * HOUR)
    assert await bench.service.fire() == 1
    assert (await bench.counted("one"), await bench.counted("two")) == (["timer"], [])
    (counted,) = await bench.log.store.read_stream("counter-one")
    assert (NOON + 30 * HOUR).isoformat().replace(":", ".") in counted.data.decode(), (
        "in its own time, whatever this process knows of it"
    )
    await bench.clocks.refresh(bench.pool)
    assert bench.clocks.time_of("sandbox") == NOON + 30 * HOUR
    assert bench.clocks.time_of("other") == NOON


async def test_a_clock_moved_again_is_read_again(bench: Bench) -> None:
    for hours in (1, 2):
        await bench.move("sandbox", hours * HOUR)
        await bench.clocks.refresh(bench.pool)
        assert bench.clocks.time_of("sandbox") == NOON + hours * HOUR


async def test_one_that_can_not_be_fired_holds_up_no_other(bench: Bench) -> None:
    await bench.pool.execute("insert into engine.timers values ('unheard-of', 'k', $1, 'customer', 'e', '')", NOON)
    await bench.set("one")
    bench.now += HOUR
    assert await bench.service.fire() == 2
    assert await bench.counted() == ["timer"]
    assert await bench.service.fire() == 0
