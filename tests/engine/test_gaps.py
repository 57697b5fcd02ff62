"""How long gaps hold a partition up, and that they hold up nothing else. By a clock that only the test moves."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from math import ceil
from typing import Any, Final

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.feed import GAP_PATIENCE_S, IMPATIENT_S
from shared.eventlog.deliver.lane import MAX_PAUSE_S
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.reader import SharedReader
from shared.eventlog.write.log import utc_now
from shared.eventlog.write.store import Head
from shared.events import SeatUnassigned
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS
from tests.examples.engine import next_events
from tests.examples.records import BODY
from tests.simulation.database import Pool, Tables
from tests.simulation.kafka import Broker, Refetches, Subscriptions
from tests.simulation.store import Rates
from tests.simulation.time import SimulatedProcess, run
from tests.simulation.twins.engine import MemoryClocks, MemoryTables

FEW_SECONDS: Final = GAP_PATIENCE_S + 2.0
"""A gap's patience, and the last pause of those in which it is had."""


class Bench:
    """Consumers of one topic with two partitions, in a process of its own, and when each event had its effect."""

    def __init__(self, *names: str) -> None:
        self.loop, chance = asyncio.get_running_loop(), random.Random(1)
        self.rates = rates = Rates(chance)
        rates.heal()
        self.broker = Broker(chance, rates)
        self.broker.partitions = 2
        self.tables = Tables()
        self.process = SimulatedProcess("gaps", chance)
        self.sent: dict[str, float] = {}
        self.applied: dict[tuple[str, str], float] = {}
        pool: Any = Pool(self.tables, self.process, chance, rates)
        kafka: Any = Subscriptions(self.broker, self.process)
        nothing: Any = None
        refetcher: Any = Refetches(self.broker, self.process)
        clocks = Clocks(utc_now, table=MemoryClocks)
        consumers = [
            Consumer("marketplace", self._noting(name), pool, nothing, clocks, tables=MemoryTables) for name in names
        ]
        self.reader = SharedReader("marketplace.consumers", consumers, kafka, refetcher)
        for member in kafka.members:
            self.process.spawn(member.fetching())
        for group in self.broker.groups.values():
            group.rebalance()

    def _noting(self, name: str) -> Projection:
        projection = Projection(name, topics=(ENTITLEMENTS,))

        @projection.on(SeatUnassigned)
        async def note(_tx: Any, _event: SeatUnassigned, envelope: Envelope) -> None:
            self.applied[name, envelope.stream] = self.loop.time()

        return projection

    def send(self, partition: int, stream: str, version: int = 1) -> None:
        """That version of a new stream: where it is not the first, a gap that never closes."""
        before = Head(version - 1, b"\1" * 32) if version > 1 else Head()
        (event,) = next_events(stream, before, 1, BODY)
        event = event._replace(envelope=event.envelope._replace(position=1))
        self.sent[stream] = self.loop.time()
        self.broker.append(ENTITLEMENTS, partition, stream.encode(), event.headers(), event.data)

    def wait_of(self, name: str, stream: str) -> float:
        return self.applied[name, stream] - self.sent[stream]

    @property
    def gaps(self) -> int:
        return sum(row["record"].reason == "gap" for row in self.tables.of("parked"))


def history(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run(test())


def test_a_batch_of_gaps_costs_the_patience_of_one() -> None:
    async def told() -> None:
        bench = Bench("one")
        for number in range(300):
            bench.send(0, f"gap-{number}", 7)
            bench.send(0, f"good-{number}")
        await asyncio.sleep(FEW_SECONDS)
        assert bench.gaps == 300
        assert max(bench.wait_of("one", f"good-{number}") for number in range(300)) < FEW_SECONDS

    history(told)


def test_gaps_without_end_hold_a_partition_up_once_in_a_while_for_the_patience_of_one() -> None:
    """For fifteen minutes, a gap a second with a good event behind it."""

    async def told() -> None:
        bench, seconds = Bench("one"), 900
        for number in range(seconds):
            bench.send(0, f"gap-{number}", 7)
            bench.send(0, f"good-{number}")
            await asyncio.sleep(1)
        await asyncio.sleep(FEW_SECONDS)
        waits = [bench.wait_of("one", f"good-{number}") for number in range(seconds)]
        assert max(waits) < FEW_SECONDS
        assert sum(wait > 1.5 for wait in waits) <= FEW_SECONDS * ceil(seconds / IMPATIENT_S)
        assert bench.gaps == seconds

    history(told)


def test_a_gap_holds_up_neither_another_partition_nor_another_consumer() -> None:
    async def told() -> None:
        bench = Bench("one", "other")
        bench.tables.rows("seen")["seen", "marketplace.other", "gap"] = {
            "consumer": "marketplace.other",
            "stream": "gap",
            "version": 6,
            "hash": None,
        }  # for the other consumer it is none
        bench.send(0, "gap", 7)
        bench.send(0, "behind")
        bench.send(1, "beside")
        await asyncio.sleep(FEW_SECONDS)
        assert bench.wait_of("one", "behind") >= GAP_PATIENCE_S
        assert bench.wait_of("other", "behind") < 1.5
        assert bench.wait_of("one", "beside") < 1.5

    history(told)


def test_a_gap_that_is_met_after_a_long_trouble_is_waited_for_no_longer_than_any() -> None:
    """The pauses of the trouble are up to half a minute long."""

    async def told() -> None:
        bench = Bench("one")
        bench.send(0, "first")
        await asyncio.sleep(5)
        bench.rates.database = 1.0
        bench.send(0, "gap", 7)
        bench.send(0, "behind")
        await asyncio.sleep(90)
        bench.rates.heal()
        healed = bench.loop.time()
        await asyncio.sleep(MAX_PAUSE_S + FEW_SECONDS)
        assert bench.applied["one", "behind"] - healed < MAX_PAUSE_S + FEW_SECONDS

    history(told)
