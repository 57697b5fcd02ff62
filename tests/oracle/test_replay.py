"""The replay: a fold that was skipped, done twice or undone is found, whatever the consumer's notes say."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.entitlements.projections import POOLS
from shared.eventlog.write.postgres import PostgresStore
from tests.databases import as_operator
from tests.engine.rebuilding import Bench
from tests.oracle.evidence import Evidence, read_store
from tests.oracle.replay import differences


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    bench = Bench(database, pool, store, POOLS)
    await bench.pools(5)
    await bench.feed()
    yield bench
    await store.close()
    await pool.close()


async def judged(bench: Bench) -> list[str]:
    evidence = Evidence("entitlements")
    await read_store(evidence, bench.dsn)
    for row in await bench.pool.fetch("select consumer, stream, version from engine.seen"):
        evidence.seen[row["consumer"], row["stream"]] = row["version"]
    return await differences("entitlements", [POOLS], as_operator(bench.dsn), {"entitlements": evidence})


async def test_what_was_folded_is_what_a_replay_makes(bench: Bench) -> None:
    assert await judged(bench) == []
    assert await judged(bench) == [], "it has left nothing behind"


DAMAGES = {
    "skipped": "delete from seats where (subscription_id, seat) = ('s-3', 2)",
    "skipped in the other table": "delete from pools where subscription_id = 's-1'",
    "undone": (
        "insert into seats (subscription_id, seat, account_id, assigned_by, assigned_at, event_id) "
        "values ('s-2', 1, 'a-1', 'me', now(), gen_random_uuid())"
    ),
    "altered": "update seats set account_id = 'another' where (subscription_id, seat) = ('s-4', 3)",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
async def test_what_was_not_folded_as_it_should_is_found(bench: Bench, damage: str) -> None:
    assert await bench.pool.execute(damage) in ("DELETE 1", "INSERT 0 1", "UPDATE 1")
    assert len(await judged(bench)) == 1


async def test_what_waits_is_not_expected(bench: Bench) -> None:
    await bench.pool.execute("update engine.seen set version = 1 where stream = 'pool-2'")
    await bench.pool.execute("delete from seats where subscription_id = 's-2'")
    await bench.pool.execute("update pools set assigned = 0 where subscription_id = 's-2'")
    assert await judged(bench) == []
