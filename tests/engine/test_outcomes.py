"""Every record of a publisher is answered once, by the consumer that decides on its type."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import asyncpg
import pytest

from shared.eventlog.deliver.answering import UnsentOutcome
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
from tests.databases import execute_as_operator
from tests.examples.engine import COUNTER, NOON, Count

pytestmark = pytest.mark.system

ANSWERING, OTHER = (Reactions(name, topics=(INBOUND,), answers_unreadable=name == "a") for name in "ab")
FAILS: list[str] = []
"""What fails, for now."""
LIMIT: Final = {13: 0}
"""The limits of some amounts, for now."""
LOST: Final = (
    "delete from engine.outcomes",
    "delete from engine.inbound",
    "delete from engine.checkpoints",
    "delete from log.commands where refusal is not null",
    "update log.commands set fingerprint = null",
)
"""What a store that was restored from its topic lacks, and that a part of the records is processed again."""


@ANSWERING.on(CreditsPurchased)
async def counts(event: CreditsPurchased, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
    if envelope.id in FAILS:
        raise RuntimeError("a defect")
    return [Dispatch(COUNTER, event.contract_id, Count(limit=LIMIT.get(event.amount, 99)))]


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

    async def assigned(self) -> None:
        for consumer in self.consumers:
            await consumer.assigned([(inbound_topic("autodesk"), 0)])

    async def published(self) -> dict[str, tuple[str, ...]]:
        """What the topic of outcomes gets, by the ids."""
        rows = await self.pool.fetch(
            """select n, source, id, type, topic, partition, "offset", status, rule, reason, remedy, because, events,
            time from engine.outcomes"""
        )
        found = [UnsentOutcome.of(row) for row in rows]
        return {each.envelope("entitlements").id: (each.status, each.rule, *each.event().events) for each in found}

    async def outcomes(self) -> list[tuple[str, ...]]:
        rows = await self.pool.fetch('select id, status, rule from engine.outcomes order by "offset", n')
        return [tuple(row) for row in rows]


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=6)
    made = Bench(pool, Log(store, "entitlements"))
    await made.assigned()
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


async def test_after_a_restore_an_answer_is_repeated_with_its_id_and_a_refusal_is_decided_again(
    bench: Bench, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raws = [bench.raw("accepted", bought()), bench.raw("refused", bought(13)), bench.raw("unreadable", bought())]
    raws[2] = raws[2]._replace(value=b"{}")
    place = f"{inbound_topic('autodesk')}:0:"
    await bench.hear(*raws)
    before = await bench.published()
    assert list(before) == [f"{place}0:accepted", f"{place}1:rejected", f"{place}2:rejected"]
    await execute_as_operator(database, *LOST)
    await bench.assigned()
    await bench.hear(*raws)
    assert await bench.published() == before, "a reader that knows the ids drops all of them"

    monkeypatch.setitem(LIMIT, 13, 99)  # what it was refused for is different now
    await execute_as_operator(database, *LOST)
    await bench.assigned()
    await bench.hear(*raws)
    after = await bench.published()
    (later,) = after.keys() - before.keys()
    assert later == f"{place}1:accepted" and after[later][:2] == ("accepted", "") and len(after[later]) == 3
    assert {id_: after[id_] for id_ in after.keys() & before.keys()}.items() <= before.items()
