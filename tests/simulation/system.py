"""The services as processes of the simulation: the product's own reactions, timers, relay, feeds and consumers.

What reactions look up is answered by twins in memory (`twins/`), and one projection a service, `mirror`, notes every
event that it is told: what it has at the end is what a replay from nothing has, or something was lost, doubled or
reordered.
"""

import asyncio
import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any, Final

from services import definitions
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.notices import Pause
from shared.eventlog.deliver.offsets import group_of
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.deliver.reader import SharedReader
from shared.eventlog.deliver.readers import Reader
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.deliver.timers import Timers, TimerService
from shared.eventlog.write.log import Log
from shared.eventlog.write.memory import MemoryStore
from shared.events import (
    Event,
)
from shared.events.envelope import Envelope
from shared.events.registry import EVENTS_ON, topic_of
from shared.runtime.service import Service as Definition
from shared.services import SERVICES
from tests.simulation.database import Pool, Tables
from tests.simulation.kafka import Access, Broker, Refetches, Subscriptions
from tests.simulation.store import Connection, Rates
from tests.simulation.time import SimulatedProcess
from tests.simulation.twins import TWINS, Twin
from tests.simulation.twins.engine import CLOCKS, MemoryClocks, MemoryTables, MemoryTimers

START: Final = datetime.fromisoformat("2026-11-23T12:00:00+00:00")


def _mirror(topic: str) -> Projection:
    mirror = Projection("mirror", topics=(topic,), tables=("mirror",))

    async def note(tx: Any, event: Event, envelope: Envelope) -> None:
        before = tx.get("mirror", envelope.stream) or {"number": 0, "chain": b""}
        chain = sha256(before["chain"] + envelope.id.encode() + event.data()).digest()
        tx.put(("mirror", envelope.stream), number=before["number"] + 1, chain=chain)

    for event_type in EVENTS_ON[topic]:
        mirror.on(event_type)(note)
    return mirror


@dataclass(frozen=True, slots=True)
class Made:
    """What a service is made of."""

    consumers: tuple[Projection | Reactions[Any], ...]
    timers: Timers | None = None


def _made(service: Definition) -> Made:
    twin = TWINS.get(service.name)
    reactions = [_over_twin(each, twin) for each in service.consumers if isinstance(each, Reactions)]
    timers = service.timers and service.timers.kept_in(MemoryTimers)
    folds = () if twin is None else twin.projections
    last = [timers.projection] if timers else []
    return Made((CLOCKS, _mirror(topic_of(service.name)), *folds, *reactions, *last), timers)


def _over_twin(reactions: Reactions[Any], twin: Twin | None) -> Reactions[Any]:
    if twin is not None:
        return reactions.asking(twin.lookups)
    assert not reactions.has_lookups, f"the lookups of {reactions.name} need a twin"
    return reactions


MADE: Final = {service.name: _made(service) for service in definitions()}

READERS: Final[Mapping[str, Reader]] = {
    f"simulation: {service}.{projection.name}": projection
    for service, twin in TWINS.items()
    for projection in twin.projections
} | {"simulation: clocks": CLOCKS}
"""What reads a topic here besides the services' own reactions and timers. A mirror notes whatever is on its topic."""


class Veil:
    """A sealer as good as its key: the real one draws nonces, which no seed chooses."""

    async def seal(self, events: Sequence[Event]) -> Sequence[Event]:
        return [self._changed(event, lambda text: base64.b64encode(text.encode()).decode()) for event in events]

    async def open(self, events: Sequence[Event]) -> Sequence[Event]:
        return [self._changed(event, lambda text: base64.b64decode(text).decode()) for event in events]

    def _changed(self, event: Event, change: Any) -> Event:
        return event.model_copy(update={name: change(getattr(event, name)) for name in event.PERSONAL_FIELDS})


@dataclass(slots=True)
class Running:
    """One process of a service, and its parts."""

    process: SimulatedProcess
    log: Log
    clocks: Clocks
    relay: Relay


@dataclass(slots=True)
class SimulatedService:
    name: str
    store: MemoryStore = field(default_factory=MemoryStore)
    tables: Tables = field(default_factory=Tables)
    running: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tables.log = self.store


class System:
    """Everything that one seed runs."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"{seed}")
        self.rates = Rates(self.chance)
        self.broker = Broker(self.chance, self.rates)
        self.services = {name: SimulatedService(name) for name in SERVICES}
        self.forged: set[tuple[str, int, int]] = set()
        """Topic, partition and offset of records that no relay wrote."""
        self._mirrored = self.chance.sample(SERVICES, 2)
        self._numbers = 0
        self._processes = 0

    def new_id(self) -> str:
        self._numbers += 1
        return str(uuid.UUID(int=self._numbers))

    def consumers(self, name: str) -> list[Projection | Reactions[Any]]:
        """What this service's processes consume with; two services have a mirror."""
        return [what for what in MADE[name].consumers if what.name != "mirror" or name in self._mirrored]

    def projections(self, name: str) -> list[Projection]:
        return [what for what in self.consumers(name) if isinstance(what, Projection)]

    def start(self, name: str) -> Running:
        """One more process of this service."""
        service, made = self.services[name], MADE[name]
        self._processes += 1
        process = SimulatedProcess(f"{name}-{self._processes}", self.chance)
        skew = timedelta(seconds=self.chance.choice((0, 0, 0, 1, -1, 3_600, -3_600)))
        process.missed = lambda: self.rebalance(name)
        loop = asyncio.get_running_loop()
        clocks = Clocks(lambda: START + timedelta(seconds=loop.time()) + skew, table=MemoryClocks)
        store = Connection(service.store, process, self.chance, self.rates)
        log = Log(
            store,
            name,
            new_id=self.new_id,
            sealer=Veil() if name == "identity" else None,
            cached_streams=self.chance.choice((2, 1_000)),
        )
        pool: Any = Pool(service.tables, process, self.chance, self.rates)
        access: Any = Access(self.broker)
        relay = Relay(store, topic_of(name), access, owner=process.name)
        process.spawn(relay.run())
        process.spawn(clocks.follow(pool, Pause()))
        if made.timers is not None:
            process.spawn(TimerService(name, made.timers, pool, log, clocks).run())
        kafka: Any = Subscriptions(self.broker, process)
        consumers = [Consumer(name, what, pool, log, clocks, tables=MemoryTables) for what in self.consumers(name)]
        refetcher: Any = Refetches(self.broker, process)
        SharedReader(group_of(name), consumers, kafka, refetcher)
        for member in kafka.members:
            process.spawn(member.fetching())
        running = Running(process, log, clocks, relay)
        service.running.append(running)
        self.rebalance(name)
        return running

    def rebalance(self, name: str) -> None:
        for group in self.broker.groups.values():
            if group.name.startswith(f"{name}."):
                group.rebalance()
