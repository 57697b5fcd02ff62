"""Every record of a publisher is answered once, by the consumer that decides on its type."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.outcomes import WAITS
from shared.eventlog.deliver.projection import Dispatch, ReactionContext, Reactions
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.repair import parked
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import CreditsPurchased, UpdateWithdrawn
from shared.events.base import Event
from shared.events.envelope import Envelope, to_headers
from shared.events.registry import INBOUND, inbound_topic
from tests.examples.engine import COUNTER, NOON, Count

pytestmark = pytest.mark.system

ANSWERING, OTHER = (Reactions(name, topics=(INBOUND,), answers_unreadable=name == "a") for name in "ab")
FAILS: list[str] = []
"""What fails, for now."""


@ANSWERING.on(CreditsPurchased)
async def counts(event: CreditsPurchased, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    if envelope.id in FAILS:
        raise RuntimeError("a defect")
    return [Dispatch(COUNTER, event.contract_id, Count(limit=0 if event.amount == 13 else 99))]


@OTHER.on(UpdateWithdrawn)
async def withdrawn(_event: UpdateWithdrawn, _envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    return []


class Bench:
    """Two consumers of a publisher's topic, each with types of its own."""

    def __init__(self, pool: Any, log: Log) -> None:
        self.pool, self.offset = pool, 0
        self.consumers = [Consumer("test", each, pool, log, Clocks(utc_now)) for each in (ANSWERING, OTHER)]

    def raw(self, id_: str, event: Event, **envelope: Any) -> Raw:
        self.offset += 1
        made = Envelope(id_, "urn:publisher:autodesk", event.type(), "said", NOON)._replace(**envelope)
        return Raw(inbound_topic("autodesk"), 0, self.offset - 1, None, to_headers(made), event.data())

    async def hear(self, *raws: Raw) -> None:
        for consumer in self.consumers:
            await consumer.consume([receive(raw, consumer.definition.types, utc_now()) for raw in raws])

    async def outcomes(self) -> list[tuple[str, ...]]:
        rows = await self.pool.fetch('select id, status, rule from engine.outcomes order by "offset", n')
        return [tuple(row) for row in rows]


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=6)
    made = Bench(pool, Log(store, "entitlements"))
    for consumer in made.consumers:
        await consumer.assigned([(inbound_topic("autodesk"), 0)])
    yield made
    await store.close()
    await pool.close()


def bought(amount: int = 1) -> CreditsPurchased:
    return CreditsPurchased(contract_id="c", grant_id="g", amount=amount)


async def test_each_record_has_one_outcome_whoever_reads_it(bench: Bench) -> None:
    gone = UpdateWithdrawn(update_id="u", publisher="autodesk", reason="r")
    raws = [
        bench.raw("accepted", bought()),
        bench.raw("accepted", bought()),
        bench.raw("accepted", bought(2)),
        bench.raw("refused", bought(13)),
        bench.raw("withdrawn", gone),
        bench.raw("of another", bought(), source="urn:publisher:rival"),
        bench.raw("unknown", bought(), type="SomethingElse"),
        bench.raw("from 2999", gone, time=utc_now() + timedelta(hours=1)),
        bench.raw("unreadable", bought())._replace(value=b"{}"),
        bench.raw("no header", bought())._replace(headers=[]),
    ]
    await bench.hear(*raws)
    await bench.hear(*raws)
    assert await bench.outcomes() == [
        ("accepted", "accepted", ""),
        ("accepted", "accepted", ""),
        ("accepted", "rejected", "conflicting-duplicate"),
        ("refused", "rejected", "limit"),
        ("withdrawn", "accepted", ""),
        ("", "rejected", "refused"),
        ("unknown", "rejected", "unknown-type"),
        ("from 2999", "rejected", "refused"),
        ("unreadable", "rejected", "unreadable"),
        ("", "rejected", "unreadable"),
    ]
    first, again = await bench.pool.fetch("select events::text from engine.outcomes order by n limit 2")
    assert first == again and len(first["events"]) > 30, "a repeat has the first answer"


async def test_a_record_that_waited_is_answered_again_once_it_is_applied(bench: Bench) -> None:
    FAILS.append("late")
    await bench.hear(bench.raw("late", bought()))
    FAILS.clear()
    assert await bench.outcomes() == [("late", "waiting", "failed")]
    assert await bench.pool.fetchval("select reason from engine.outcomes") == WAITS
    (one,) = await parked.list_parked(bench.pool)
    assert (await parked.retry(bench.pool, bench.consumers[0], one.line, "operation")).applied == 1
    assert await bench.outcomes() == [("late", "waiting", "failed"), ("late", "accepted", "")]


async def test_a_record_that_waited_is_rejected_once_it_is_given_up_and_may_be_sent_again(bench: Bench) -> None:
    FAILS.append("doomed")
    await bench.hear(bench.raw("doomed", bought()), bench.raw("unreadable", bought())._replace(value=b"{}"))
    FAILS.clear()
    for each in await parked.list_parked(bench.pool):
        consumer = next(c for c in bench.consumers if c.name == each.consumer)
        await parked.drop(bench.pool, consumer, each, "operation")
    given_up = [("doomed", "waiting", "failed"), ("doomed", "rejected", "dropped")]
    assert await bench.outcomes() == [*given_up, ("unreadable", "rejected", "unreadable")]
    await bench.hear(bench.raw("doomed", bought(2)))
    assert (await bench.outcomes())[-1] == ("doomed", "accepted", "")
