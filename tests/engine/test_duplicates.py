"""A second event of one name: a repeat where it says the same, however it is written, and parked where it does not."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.projection import Dispatch, ReactionContext, Reactions
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.repair import parked
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import CreditsPurchased
from shared.events.envelope import Envelope, to_headers
from shared.events.registry import INBOUND
from tests.databases import execute_as_operator
from tests.examples.engine import COUNTER, NOON, Count

pytestmark = pytest.mark.system

REACTIONS = Reactions("reactions", topics=(INBOUND,))


@REACTIONS.on(CreditsPurchased)
async def counts(event: CreditsPurchased, _envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    return [Dispatch(COUNTER, event.contract_id, Count(by="a bug" if event.amount == 13 else str(event.amount)))]


class Bench:
    """A consumer of what publishers say, record by record."""

    def __init__(self, pool: Any, log: Log) -> None:
        self.pool, self.log, self.offset = pool, log, 0
        self.consumer = Consumer("test", REACTIONS, pool, log, Clocks(utc_now))

    def raw(self, value: bytes, id_: str = "one", at: datetime = NOON, key: bytes = b"k") -> Raw:
        envelope = Envelope(id_, "urn:publisher:autodesk", "CreditsPurchased", "subject", at)
        self.offset += 1
        return Raw(INBOUND, 0, self.offset - 1, key, to_headers(envelope), value)

    async def hear(self, *raws: Raw) -> None:
        await self.consumer.consume([receive(raw, REACTIONS.types) for raw in raws])

    async def counted(self, key: str = "c") -> int:
        return (await self.log.state(COUNTER, key)).number

    async def reasons(self) -> list[str]:
        return [each.reason for each in await parked.list_parked(self.pool)]


def says(**what: Any) -> bytes:
    return json.dumps({"contract_id": "c", "grant_id": "g", "amount": 1} | what).encode()


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=6)
    made = Bench(pool, Log(store, "entitlements"))
    await made.consumer.assigned([(INBOUND, 0)])
    yield made
    await store.close()
    await pool.close()


@pytest.mark.parametrize(
    "again",
    [
        says(),
        b'{"amount":1,"grant_id":"g","contract_id":"c"}',
        b'{"contract_id": "\\u0063", "grant_id":"g", "amount":1}',
    ],
)
async def test_the_same_written_otherwise_is_a_repeat(bench: Bench, again: bytes) -> None:
    await bench.hear(bench.raw(says()), bench.raw(again))
    await bench.hear(bench.raw(again, at=NOON.astimezone(UTC)))
    assert (await bench.counted(), await bench.reasons()) == (1, [])


@pytest.mark.parametrize(
    "other", [says(amount=2), says(contract_id="d"), says(account_id="x"), says(grant_id="h")], ids=str
)
@pytest.mark.parametrize("together", [True, False])
async def test_whatever_else_it_says_it_is_parked(bench: Bench, other: bytes, together: bool) -> None:
    raws = [bench.raw(says()), bench.raw(other, key=b"another"), bench.raw(says(amount=3), "two")]
    for batch in [raws] if together else [[raw] for raw in raws]:
        await bench.hear(*batch)
    assert (await bench.counted(), await bench.counted("d")) == (2, 0)
    assert await bench.reasons() == ["conflicting-duplicate"]


async def test_another_time_is_another_content(bench: Bench) -> None:
    """Rules read it: when a CSN was revoked decides what holds."""
    await bench.hear(bench.raw(says()), bench.raw(says(), at=NOON - timedelta(days=1)))
    assert await bench.reasons() == ["conflicting-duplicate"]


async def test_all_of_them_are_one_group_whatever_their_ids(bench: Bench) -> None:
    """The ids of a publisher's events are its own: a number, a reference, or words."""
    for id_ in ("one", "PO/2026-11 (second)", "7"):
        await bench.hear(bench.raw(says(), id_), bench.raw(says(amount=2), id_))
    listed = await parked.list_parked(bench.pool)
    assert len(listed) == 3 and len({each.fingerprint for each in listed}) == 1
    assert listed[0].shape == "Conflicting: urn:publisher:autodesk has sent an event * with another content before"


async def test_a_retry_parks_it_again_and_says_so_before(bench: Bench) -> None:
    await bench.hear(bench.raw(says()), bench.raw(says(contract_id="d")))
    (one,) = await parked.list_parked(bench.pool)
    tried = await parked.attempt(bench.pool, bench.consumer, one.line)
    assert tried.stopped is not None and "with another content before" in tried.stopped
    done = await parked.retry(bench.pool, bench.consumer, one.line, "operation")
    assert (done.applied, done.waiting, await bench.reasons()) == (0, 1, ["conflicting-duplicate"])
    assert await bench.counted("d") == 0


async def test_what_failed_does_not_keep_another_of_its_name_away(bench: Bench) -> None:
    await bench.hear(bench.raw(says(amount=13)))
    assert await bench.reasons() == ["failed"]
    await bench.hear(bench.raw(says(amount=1)))
    assert (await bench.counted(), await bench.reasons()) == (1, ["failed"])


async def test_an_event_of_before_these_were_noted_is_a_repeat(bench: Bench, database: str) -> None:
    await bench.hear(bench.raw(says()))
    await execute_as_operator(database, "delete from engine.inbound", "update log.commands set fingerprint = ''")
    await bench.hear(bench.raw(says()))
    assert (await bench.counted(), await bench.reasons()) == (1, [])
