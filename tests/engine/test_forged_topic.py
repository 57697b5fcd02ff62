"""Records that lie in a service's topic and are no events of its log: on real PostgreSQL and Kafka.

Each is intact by its own bytes, so that only its stream's chain, or its partition, tells it from an event. None keeps a
guard, a restore or a reconcile from finding what is there, and what is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.projection import Dispatch, Reactions
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.repair import resuming
from shared.eventlog.repair.guard import Guard
from shared.eventlog.repair.republish import restore_topic
from shared.eventlog.repair.restore import RestoreRefused, reconcile, restore_store
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatUnassigned
from tests.engine.forging import KINDS, PARTITIONS, TOPIC, Kind, plant
from tests.engine.restoring import SERVICE, Bench, backup, load
from tests.examples.engine import COUNTER, Count
from tests.oracle.evidence import read_topic

pytestmark = pytest.mark.system


def places_of(strange: Sequence[str]) -> set[str]:
    return {line.partition(": ")[0] for line in strange}


async def asked(bench: Bench, relayed: int = 0) -> str | None:
    """What the guard says."""
    store = await PostgresStore(bench.dsn, SERVICE).open()
    try:
        return await Guard(store, SERVICE, TOPIC, bench.access)(relayed)
    finally:
        await store.close()


async def fence(bench: Bench) -> str | None:
    found: str | None = (await bench.query("select fenced from log.head"))[0]["fenced"]
    return found


def all_but_table(state: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: rows for name, rows in state.items() if name != "table"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_a_forged_record_does_not_fence_the_store(bench: Bench, kind: Kind) -> None:
    await bench.fill(40)
    await bench.relay()
    await plant(bench, kind, kind)
    assert await asked(bench, 40) is None
    assert await fence(bench) is None
    await bench.fill(5, seed=1)
    assert (await bench.relay()).alarm is None


async def test_an_older_store_is_ahead_by_as_many_events_as_there_are(bench: Bench) -> None:
    await bench.fill(60)
    await bench.relay()
    strange = await plant(bench, *KINDS)
    saved = await backup(bench)
    await bench.fill(20, seed=1)
    await bench.relay()
    strange |= await plant(bench, *KINDS)
    await bench.fill(20, seed=2)
    await bench.relay()
    before = await bench.state()
    strange |= await plant(bench, *KINDS)
    await load(bench, saved)
    why = await asked(bench, 60) or ""
    assert "ahead of the store by 40 events: the store ends at position 60, the topic at 100" in why
    assert why in (await fence(bench) or "")

    dry = await reconcile(bench.whole, bench.operator, bench.access)
    assert (dry.before, dry.events, dry.head, places_of(dry.strange)) == (60, 40, 100, strange)
    done = await reconcile(bench.whole, bench.operator, bench.access, dry_run=False)
    assert (done.events, done.head, places_of(done.strange)) == (40, 100, strange)
    assert all_but_table(await bench.state()) == all_but_table(before)
    assert await asked(bench, 100) is None


async def test_a_store_that_went_a_way_of_its_own_is_found(bench: Bench) -> None:
    await bench.fill(60)
    saved = await backup(bench)
    await bench.fill(40, seed=1)
    await bench.relay()
    await plant(bench, *KINDS)
    await load(bench, saved)
    await bench.fill(60, seed=3)
    why = await asked(bench) or ""
    assert why.startswith("position 61 is ")
    assert "and another event in the store" in why
    with pytest.raises(RestoreRefused, match=r"has diverged from its topic at position 61.* Its 60 events"):
        await reconcile(bench.whole, bench.operator, bench.access)
    with pytest.raises(RestoreRefused, match="have different events at position 61"):
        await restore_topic(SERVICE, bench.operator, bench.access, consumers={})


async def test_a_lost_tail_is_found_and_published_again(bench: Bench) -> None:
    await bench.fill(20)
    await bench.relay()
    strange = await plant(bench, *KINDS)
    await bench.fill(20, seed=1)
    await bench.relay()
    strange |= await plant(bench, *KINDS)
    await bench.fill(20, seed=2)
    await bench.query("update engine.leases set position = 60")
    why = await asked(bench, 60) or ""
    assert f"{TOPIC} ends at position 40, though 60 were published: 20 events are missing there" in why
    assert await fence(bench) is None

    dry = await restore_topic(SERVICE, bench.operator, bench.access, consumers={})
    assert (dry.before, dry.events, places_of(dry.strange)) == (40, 20, strange)
    await restore_topic(SERVICE, bench.operator, bench.access, consumers={}, dry_run=False)
    again = await restore_topic(SERVICE, bench.operator, bench.access, consumers={})
    assert (again.before, again.events) == (60, 0)
    assert await asked(bench, 60) is None


async def test_an_empty_store_comes_back_with_equal_hashes(bench: Bench) -> None:
    await bench.fill(30)
    await bench.relay()
    strange = await plant(bench, *KINDS)
    await bench.fill(30, seed=1)
    await bench.relay()
    strange |= await plant(bench, *KINDS)
    before = await bench.state()
    await bench.empty()
    assert "ahead of the store by 60 events: the store ends at position 0" in (await asked(bench) or "")
    dry = await restore_store(bench.whole, bench.operator, bench.access)
    assert (dry.events, dry.head, places_of(dry.strange)) == (60, 60, strange)
    done = await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)
    assert (done.events, done.head, places_of(done.strange)) == (60, 60, strange)
    after = await bench.state()
    assert all_but_table(after) == all_but_table(before)
    assert sum(n for _, n in after["table"]) == 60
    again = await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)
    assert (again.events, again.folded, places_of(again.strange)) == (0, 0, strange)
    assert await asked(bench, 60) is None


async def test_reactions_go_on_after_what_the_log_proves_and_not_after_what_is_forged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a forged record says of its version and its id is not noted."""
    monkeypatch.setattr(resuming, "BATCH_RECORDS", 1)
    reactions = Reactions("echo", topics=(TOPIC,))

    @reactions.on(SeatUnassigned)
    async def echo(event: SeatUnassigned, envelope: Any, _reach: Any) -> list[Dispatch]:
        return (
            []
            if envelope.stream.startswith("counter-echo")
            else [Dispatch(COUNTER, f"echo-{envelope.stream}", Count(by=envelope.id))]
        )

    bench.whole = replace(bench.whole, reactions=[reactions])
    await bench.fill(20)
    await bench.relay()
    await plant(bench, *KINDS)
    store = await PostgresStore(bench.dsn, SERVICE).open()
    pool = await asyncpg.create_pool(bench.dsn, min_size=1, max_size=4)
    consumer = Consumer(SERVICE, reactions, pool, Log(store, SERVICE), Clocks(utc_now))
    places = [(TOPIC, n) for n in range(PARTITIONS)]
    await consumer.assigned(places)
    lying = await read_topic(TOPIC, bench.access)
    raws = [Raw(TOPIC, r.partition, r.offset, r.key, r.headers, r.value) for r in lying]
    await consumer.consume([receive(raw, reactions.types) for raw in raws], impatient=places)
    await bench.relay()
    await plant(bench, *KINDS)
    await bench.empty()
    assert (await restore_store(bench.whole, bench.operator, bench.access, dry_run=False)).moved > 0
    genuine = "select max(version) from log.events e where e.stream = s.stream and e.hash = s.hash"
    wrong = await bench.query(
        f"select stream, version from engine.seen s where consumer like $1 and version is distinct from ({genuine})",
        "%.echo",
    )
    assert wrong == []
    await pool.close()
    await store.close()
