"""Stores of all services for the verbs to work on."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from aiokafka import AIOKafkaProducer

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.write.log import Accepted, Log, Meta, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Head
from shared.events import CsnIssued, FleetOpened
from shared.events.envelope import GENESIS, chained, to_headers
from shared.events.registry import MARKETPLACE
from tests.conftest import in_a_loop
from tests.databases import as_operator
from tests.examples.engine import new_id, next_events

Stores = Mapping[str, str]

YES = ("--yes", "--reason", "a test")


async def _append(
    dsn: str, service: str, stream_id: str, *events: Any, cause: str = "", about: str = "", command: str = ""
) -> list[str]:
    """Puts these events at a stream's end as they are; their ids."""
    category, _, key = stream_id.partition("-")
    stream: Stream[Any, Any, Any] = Stream(
        category=category, initial=None, evolve=lambda _s, _e: None, decide=lambda c, _: c, tenant=lambda _: "t"
    )
    store = await PostgresStore(dsn, service).open()
    try:
        answer = await Log(store, service, sealer=_AsIs()).execute(
            stream, key, tuple(events), Meta(command or new_id(), "somebody", utc_now(), about, cause)
        )
        assert isinstance(answer, Accepted)
        return [event.id for event in answer.events]
    finally:
        await store.close()


class _AsIs:
    async def seal(self, events: Any) -> Any:
        return events

    open = seal


def append(dsn: str, service: str, stream_id: str, *events: Any, **how: str) -> list[str]:
    ids: list[str] = in_a_loop(_append(dsn, service, stream_id, *events, **how))
    return ids


def fetch(dsn: str, query: str) -> list[Any]:
    async def asked() -> list[Any]:
        db = await asyncpg.connect(as_operator(dsn))
        try:
            return list(await db.fetch(query))
        finally:
            await db.close()

    found: list[Any] = in_a_loop(asked())
    return found


def operations(dsn: str) -> list[dict[str, Any]]:
    rows = fetch(dsn, "select data::text from log.events where type = 'OperationPerformed' order by position")
    return [json.loads(row["data"]) for row in rows]


def csn(number: int) -> CsnIssued:
    return CsnIssued(csn=f"{number}", organisation_id="o", publisher="p")


def fleet(number: int) -> FleetOpened:
    """An event of distribution's that none of its consumers does anything with."""
    return FleetOpened(contract_id=f"contract-{number}", customer="customer-1")


PUBLISHERS = {
    "specversion": "1.0",
    "id": "x",
    "source": "urn:publisher:p",
    "type": "CsnIssued",
    "time": "2026-11-21T12:00:00Z",
    "subject": "1",
    "data": {"csn": "1", "organisation_id": "o", "publisher": "p"},
}


async def park(dsn: str) -> None:
    """Three events of one stream that entitlements' numbers could not fold, as its consumer parks them."""
    store, pool = (
        await PostgresStore(dsn, "entitlements").open(),
        await asyncpg.create_pool(dsn, min_size=1, max_size=2),
    )
    failing = Projection("numbers", topics=(MARKETPLACE,))

    @failing.on(CsnIssued)
    async def csn_issued(_tx: Any, event: CsnIssued, _envelope: Any) -> None:
        raise KeyError(event.csn)

    try:
        consumer = Consumer("entitlements", failing, pool, Log(store, "entitlements"), Clocks(utc_now))
        await consumer.assigned([(MARKETPLACE, 0)])
        await consumer.consume([receive(raw, failing.types) for raw in _raws("partner-1", 3)])
    finally:
        await store.close()
        await pool.close()


def _raws(stream: str, number: int) -> list[Raw]:
    raws, prevhash = [], GENESIS
    for n, event in enumerate(next_events(stream, Head(), number)):
        data = csn(5200 + n).data()
        envelope = event.envelope._replace(
            source="urn:tenure:marketplace", type="CsnIssued", position=n + 1, prevhash=prevhash
        )
        prevhash = chained(envelope, data)
        raws.append(Raw(MARKETPLACE, 0, n, stream.encode(), to_headers(envelope._replace(hash=prevhash)), data))
    return raws


def send(access: KafkaAccess, topic: str, number: int) -> None:
    async def sent() -> None:
        producer = AIOKafkaProducer(**access.client())
        await producer.start()
        for _ in range(number):
            await producer.send_and_wait(topic, b"{}", partition=0)
        await producer.stop()

    in_a_loop(sent())


def database(dsn: str, what: str, other: str = "") -> None:
    """Does something to a whole database."""
    operator, name = urlsplit(as_operator(dsn)), urlsplit(dsn).path.strip("/")

    async def done() -> None:
        db = await asyncpg.connect(urlunsplit(operator._replace(path="/postgres", query="")))
        await db.execute(what.format(name=name, other=other or f"{name}_backup"))
        await db.close()

    in_a_loop(done())
