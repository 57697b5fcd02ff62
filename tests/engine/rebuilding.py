"""A service's tables as its consumer would fold them, without Kafka: for tests of what folds them anew."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.deliver.relay import partition_of
from shared.eventlog.write.log import Log, Meta, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatAssigned, SeatPoolOpened, SeatUnassigned
from shared.events.base import Event
from shared.events.registry import topic_of
from tests.databases import fetch_as_operator
from tests.examples.engine import new_id

PARTITIONS = 6

# Writes whatever it is told to.
POOL: Stream[int, tuple[Event, ...], Event] = Stream(
    category="pool",
    initial=0,
    evolve=lambda state, _: state + 1,
    decide=lambda events, _: events,
    tenant=lambda _: "customer",
)


class Bench:
    """A store, and the live consumer of a projection over it."""

    def __init__(
        self, dsn: str, pool: Any, store: PostgresStore, projection: Projection, service: str = "entitlements"
    ) -> None:
        self.dsn, self.pool, self.store, self.projection = dsn, pool, store, projection
        self.service, self.topic = service, topic_of(service)
        self.log = Log(store, service)
        self.consumer = Consumer(service, projection, pool, self.log, Clocks(utc_now))
        self._next = dict.fromkeys(range(PARTITIONS), 0)
        self._fed = 0

    async def write(self, key: str, *events: Event) -> None:
        await self.log.execute(POOL, key, events, Meta(new_id(), "actor", utc_now()))

    async def pools(self, number: int, seats: int = 3, first: int = 0) -> None:
        """Pools with seats that are held, and one that isn't any more."""
        for n in range(first, first + number):
            await self.write(f"{n}", opened(n), *(assigned(n, seat) for seat in range(1, seats + 1)), unassigned(n, 1))

    async def feed(self, limit: int = 1_000_000) -> BatchPlan | None:
        """Gives the live consumer what is new in the store, as if from Kafka."""
        await self.consumer.assigned([(self.topic, n) for n in range(PARTITIONS)])
        done = None
        while limit > 0 and (found := await self.store.read(self._fed, min(500, limit))):
            records = []
            for stored in found:
                partition = partition_of(stored.envelope.stream, PARTITIONS)
                raw = Raw(
                    self.topic,
                    partition,
                    self._next[partition],
                    stored.envelope.stream.encode(),
                    stored.headers(),
                    stored.data,
                )
                self._next[partition] += 1
                records.append(receive(raw, self.projection.types))
            done = await self.consumer.consume(records)
            self._fed += len(found)
            limit -= len(found)
        return done

    async def rows(self, table: str, schema: str = "public") -> Sequence[str]:
        rows = await fetch_as_operator(self.dsn, f'select t::text as row from "{schema}".{table} t order by t::text')
        return [row["row"] for row in rows]


def opened(n: int) -> SeatPoolOpened:
    return SeatPoolOpened(
        subscription_id=f"s-{n}",
        contract_id="contract",
        customer="customer",
        product="product",
        product_name="Product",
        seats=100,
        starts=date(2026, 1, 1),
        ends=date(2026, 12, 31),
    )


def assigned(n: int, seat: int) -> SeatAssigned:
    return SeatAssigned(
        subscription_id=f"s-{n}", contract_id="contract", seat=seat, account_id=f"a-{seat}", assigned_by="me"
    )


def unassigned(n: int, seat: int) -> SeatUnassigned:
    return SeatUnassigned(
        subscription_id=f"s-{n}", contract_id="contract", seat=seat, account_id=f"a-{seat}", unassigned_by="me"
    )
