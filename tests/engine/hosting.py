"""A service's consumers in one process, over a real Kafka."""

import asyncio
import gc
import warnings
from typing import Any

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.host import ConsumerHost
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Head
from shared.events import CsnIssued
from shared.events.envelope import Envelope
from shared.events.registry import MARKETPLACE
from tests.examples.engine import CSN_BODY, head_of, next_events, write
from tests.system import parts


class Bench:
    """A store that is relayed, and a consumer of its topic with a table of what it applied."""

    def __init__(self, store: PostgresStore, pool: Any, kafka: parts.Kafka, name: str) -> None:
        self.store, self.pool, self.kafka, self.name = store, pool, kafka, name
        self.streams = {f"{name}-{n}": Head() for n in range(12)}

    def host(self, group: str = "", name: str = "") -> ConsumerHost:
        """The consumer in a process of its own.

        Args:
            group: Its group, if not one of its name.
            name: The consumer's name, if not that of the database.
        """
        service, _, own = (name or f"test.{self.name}").rpartition(".")
        table = Projection(own, topics=(MARKETPLACE,))

        @table.on(CsnIssued)
        async def csn_issued(tx: Any, _event: CsnIssued, envelope: Envelope) -> None:
            await tx.execute("insert into applied values ($1, $2)", envelope.stream, envelope.version)

        consumer = Consumer(service, table, self.pool, Log(self.store, "marketplace"), Clocks(utc_now))
        return ConsumerHost(group or consumer.name, [consumer], self.kafka.access)

    async def fill(self, rounds: int) -> None:
        for _ in range(rounds):
            writes = []
            for stream, head in self.streams.items():
                made = write(stream, head)
                made.events = next_events(stream, head, 1, CSN_BODY, service="marketplace", event_type="CsnIssued")
                writes.append(made)
            await asyncio.gather(*(self.store.append(w) for w in writes))
            self.streams |= {w.stream: head_of(w.events) for w in writes}

    async def applied(self, patience_s: float = 40) -> None:
        """Returns once everything was applied; the primary key sees to it that nothing was twice."""
        expected = sum(head.version for head in self.streams.values())
        async with asyncio.timeout(patience_s):
            while await self.pool.fetchval("select count(*) from applied") < expected:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        # Of its own: other tests leave records on this Kafka that nobody can read.
        assert await self.pool.fetch("select * from engine.parked where stream is not null") == []


async def stopped(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await forgotten()


async def forgotten() -> None:
    """A client that is stopped while it connects leaves that connection to the garbage collector, which says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
        await asyncio.sleep(0.05)
        gc.collect()
