"""A store with its topic, to restore from a backup."""

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import asyncpg

from services import migrations_of
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.migrate import migrate
from shared.eventlog.repair.anchors import Anchors, topic_of_anchors
from shared.eventlog.repair.guard import Guard
from shared.eventlog.repair.restore import ServiceDefinition
from shared.eventlog.write.log import Log
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatUnassigned
from shared.events.registry import topic_of
from tests.databases import as_operator
from tests.examples.engine import COUNTER, Count, meta
from tests.remade import remade
from tests.system import parts

SERVICE = "entitlements"

EMPTY = "drop schema log cascade; drop schema engine cascade; drop schema public cascade; create schema public"

TRUNCATE = (
    "truncate log.events, log.batches, log.commands, log.claims, engine.leases, engine.checkpoints, engine.seen, "
    "counted; "
    "delete from log.head; insert into log.head default values"
)


@dataclass
class Bench:
    """One store, a Kafka of its own for the module, and the topic made anew for each test."""

    dsn: str
    access: KafkaAccess
    whole: ServiceDefinition

    @property
    def operator(self) -> str:
        """The database's URL for whoever restores it."""
        return as_operator(self.dsn)

    async def fill(self, commands: int, *, seed: int = 0, streams: int = 7) -> None:
        """Commands of one or more events, some claiming a name, some repeated."""
        chance = random.Random(seed)
        store = await PostgresStore(self.dsn, SERVICE).open()
        log = Log(store, SERVICE)
        try:
            for n in range(commands):
                name = f"n{seed}-{n}" if chance.random() < 0.1 else ""
                await log.execute(COUNTER, str(chance.randrange(streams)), Count(name=name), meta(f"c{seed}-{n}"))
        finally:
            await store.close()

    async def relay(self) -> Relay:
        """Relays what there is, and ends; answers the relay, for its alarm."""
        store = await PostgresStore(self.dsn, SERVICE).open()
        guard = Guard(store, SERVICE, topic_of(SERVICE), self.access)
        anchors = Anchors(SERVICE, store.chain_at)
        relay = Relay(store, topic_of(SERVICE), self.access, guard=guard, anchors=anchors)
        task = asyncio.create_task(relay.run())
        async with asyncio.timeout(30):
            while relay.alarm is None:
                rows = await store._fetch("select position from engine.leases where name = $1", relay.name)
                if relay.leading and rows[0]["position"] == await store.position():
                    break
                await asyncio.sleep(0.02)
        if anchors._writing is not None:
            await anchors._writing
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()
        return relay

    async def query(self, sql: str, *arguments: Any) -> list[Any]:
        db = await asyncpg.connect(self.operator)
        try:
            return await db.fetch(sql, *arguments) if arguments or sql.startswith("select") else [await db.execute(sql)]
        finally:
            await db.close()

    async def state(self) -> dict[str, list[Any]]:
        """All that a restore has to bring back."""
        found = {
            "events": "select *, data::text as bytes from log.events order by position",
            "head": "select position, chain, fenced from log.head",
            "claims": "select key, stream from log.claims order by key",
            "commands": "select id, stream, first, count from log.commands where count > 0 order by id",
            "table": "select stream, n from counted order by stream" if await self.folded() else "select 1",
        }
        return {name: [tuple(row) for row in await self.query(sql)] for name, sql in found.items()}

    async def folded(self) -> bool:
        return bool((await self.query("select to_regclass('counted') is not null as there"))[0]["there"])

    async def empty(self, *, quickly: bool = False) -> None:
        if quickly:
            await self.query(TRUNCATE)
            return
        await self.query(EMPTY)
        await migrate(self.operator, migrations_of(SERVICE))
        await self.table()

    async def table(self) -> None:
        await self.query("create table counted (stream text primary key, n int not null)")


def counting(name: str = "counting") -> Projection:
    projection = Projection(name, topics=(topic_of(SERVICE),))

    @projection.on(SeatUnassigned)
    async def seat_unassigned(tx: Any, _event: SeatUnassigned, envelope: Any) -> None:
        await tx.execute(
            "insert into counted values ($1, 1) on conflict (stream) do update set n = counted.n + 1", envelope.stream
        )

    return projection


async def a_bench(database: str, own_kafka: parts.Kafka) -> Bench:
    """An empty store, and topics that nobody has written to."""
    await remade(own_kafka.access, topic_of(SERVICE), topic_of_anchors(SERVICE))
    made = Bench(
        database,
        own_kafka.access,
        ServiceDefinition(
            service=SERVICE,
            migrations=migrations_of(SERVICE),
            streams=[COUNTER],
            projections=[counting()],
            reactions=[],
        ),
    )
    await made.table()
    return made


async def backup(bench: Bench) -> dict[str, list[Any]]:
    log = ("head", "events", "batches", "commands", "claims")
    tables = [*(f"log.{t}" for t in log), *(f"engine.{t}" for t in ("leases", "checkpoints", "seen"))]
    return {t: await bench.query(f"select * from {t}") for t in tables}


async def load(bench: Bench, saved: dict[str, list[Any]]) -> None:
    db = await asyncpg.connect(bench.operator)
    for table, rows in saved.items():
        await db.execute(f"delete from {table}")
        if rows:
            schema, _, name = table.partition(".")
            await db.copy_records_to_table(
                name, schema_name=schema, columns=list(rows[0].keys()), records=[tuple(r) for r in rows]
            )
    await db.close()
