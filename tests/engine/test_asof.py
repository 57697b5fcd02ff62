"""Tables as of a moment, and a stream's events step by step, over a real database."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import asyncpg
import pytest

from services.entitlements.projections import POOLS
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.timers import Set, Timers
from shared.eventlog.repair.asof import as_of, drop_kept, step
from shared.eventlog.repair.scratch import CannotFold, CannotRebuild
from shared.eventlog.write.log import Meta, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatAssigned, SeatPoolResized
from shared.events.base import Event
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS
from tests.databases import as_operator
from tests.engine.rebuilding import POOL, Bench, assigned, opened, unassigned
from tests.examples.engine import NOON, new_id

pytestmark = pytest.mark.system
HERE = ("entitlements", POOLS)
NO_KAFKA = KafkaAccess(bootstrap="127.0.0.1:1")
"""None is needed where a service's own store is folded."""


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    yield Bench(database, pool, store, POOLS)
    await store.close()
    await pool.close()


async def write(bench: Bench, time: datetime, key: str, *events: Event) -> None:
    await bench.log.execute(POOL, key, events, Meta(new_id(), "actor", time))


async def schemas(bench: Bench) -> list[str]:
    rows = await bench.pool.fetch("select nspname from pg_namespace where nspname ~ '^(asof|step)_'")
    return [row["nspname"] for row in rows]


async def test_at_each_position_the_tables_are_as_they_were(bench: Bench) -> None:
    await bench.pools(4)
    for position in range(0, 21, 4):
        await bench.feed(limit=position - bench._fed)
        async with as_of(*HERE, as_operator(bench.dsn), NO_KAFKA, position=position) as past:
            assert await bench.rows("seats", past.schema) == await bench.rows("seats")
            assert await bench.rows("pools", past.schema) == await bench.rows("pools")
            assert (past.position, past.events, past.from_kept) == (position, position, None)
    assert await schemas(bench) == [], "each is dropped again"


async def test_as_of_a_time_counts_what_was_decided_by_then(bench: Bench) -> None:
    for n, second in ((1, 0), (2, 10), (3, 5)):
        await write(bench, NOON + timedelta(seconds=second), f"{n}", opened(n), assigned(n, 1))
    await write(bench, NOON + timedelta(seconds=20), "1", unassigned(1, 1))
    for second, seats in ((-1, 0), (0, 1), (4, 1), (5, 2), (10, 3), (20, 2), (99, 2)):
        async with as_of(*HERE, as_operator(bench.dsn), NO_KAFKA, time=NOON + timedelta(seconds=second)) as past:
            assert past.tables["seats"] == seats, second
    with pytest.raises(CannotRebuild, match="no time zone"):
        async with as_of(*HERE, as_operator(bench.dsn), NO_KAFKA, time=datetime(2026, 1, 1)):
            pass


async def test_kept_ones_are_where_later_ones_begin(bench: Bench) -> None:
    for n, second in ((1, 0), (2, 10), (3, 5)):
        await write(bench, NOON + timedelta(seconds=second), f"{n}", opened(n), assigned(n, 1))
    async with as_of(*HERE, as_operator(bench.dsn), NO_KAFKA, time=NOON + timedelta(seconds=5), keep=True) as first:
        assert (first.events, first.tables["seats"]) == (4, 2)
    async with as_of(*HERE, as_operator(bench.dsn), NO_KAFKA, position=2) as earlier:
        assert earlier.from_kept is None
    async with as_of(*HERE, as_operator(bench.dsn), NO_KAFKA, time=NOON + timedelta(seconds=10)) as later:
        assert (later.from_kept, later.events, later.tables["seats"]) == (first.schema, 2, 3)
    assert await schemas(bench) == [first.schema]
    await drop_kept(as_operator(bench.dsn), first.schema)
    with pytest.raises(CannotRebuild, match="No kept tables"):
        await drop_kept(as_operator(bench.dsn), first.schema)
    assert await schemas(bench) == []


async def test_what_can_not_be_asked_for(bench: Bench) -> None:
    for asked in ({}, {"position": 1, "time": utc_now()}, {"position": 1}, {"position": -1}):
        with pytest.raises(CannotRebuild):
            async with as_of(*HERE, as_operator(bench.dsn), NO_KAFKA, **asked):
                pass
    await write(bench, NOON, "1", opened(1), assigned(1, 1), assigned(1, 1))
    with pytest.raises(CannotFold, match="pool-1, version 3"):
        async with as_of(*HERE, as_operator(bench.dsn), NO_KAFKA, position=3):
            pass
    assert await schemas(bench) == []


async def test_step_by_step_each_event_says_what_it_changes(bench: Bench) -> None:
    await bench.write("1", opened(1), assigned(1, 1), assigned(1, 2), unassigned(1, 1))
    await bench.write("1", SeatPoolResized(subscription_id="s-1", contract_id="c", seats=7))
    steps = await step(POOLS, await bench.store.read_stream("pool-1"), as_operator(bench.dsn))
    found = [[(c.table, c.before is None, c.after is None) for c in each.changes] for each in steps]
    assert found == [
        [("pools", True, False)],
        [("pools", False, False), ("seats", True, False)],
        [("pools", False, False), ("seats", True, False)],
        [("pools", False, False), ("seats", False, True)],
        [("pools", False, False)],
    ]
    change = steps[4].changes[0]
    assert change.after is not None
    assert (list(change.changed), change.after["seats"]) == (["seats"], 7)
    assert await bench.rows("pools") == []
    assert await schemas(bench) == []


async def test_timers_are_stepped_through_as_well(bench: Bench) -> None:
    timers = Timers(topics=(ENTITLEMENTS,))

    @timers.on(SeatAssigned)
    def seat_assigned(event: SeatAssigned, envelope: Envelope) -> list[Set]:
        return [Set("seat", event.subscription_id, NOON, "customer")]

    await bench.write("1", opened(1), assigned(1, 1), assigned(1, 2))
    steps = await step(timers.projection, await bench.store.read_stream("pool-1"), as_operator(bench.dsn))
    assert [each.folded for each in steps] == [False, True, True]
    assert [list(change.changed)[:1] for each in steps for change in each.changes] == [["due"], ["set_by"]]
    assert await bench.pool.fetchval("select count(*) from engine.timers") == 0
